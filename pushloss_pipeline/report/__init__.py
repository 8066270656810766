"""The report: plain values in, one self-contained HTML page out."""
