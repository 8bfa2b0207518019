"""Answers from a registered model; knows of the pipeline only the image decoder."""
