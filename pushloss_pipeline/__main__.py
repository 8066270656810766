"""`python -m pushloss_pipeline` is the command `pushloss`."""

from pushloss_pipeline.cli import main

main()
