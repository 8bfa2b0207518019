"""The pipeline, and what compiles, submits and runs it."""
