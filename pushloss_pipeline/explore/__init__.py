"""The explorer: a notebook on the views, served on loopback; needs marimo."""
