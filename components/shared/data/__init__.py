"""The ingested dataset: its files, classes and groups."""
