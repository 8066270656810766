"""What Dagster sees of the pipeline."""
