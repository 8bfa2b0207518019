"""Near-duplicates: which images show the same picture, within a dataset and between two."""
