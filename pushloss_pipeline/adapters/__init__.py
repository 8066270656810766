"""One outside thing per file; plain values in, plain values out."""
