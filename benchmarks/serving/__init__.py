"""This predictor beside the reference implementation's service and the peers, see `__main__`."""
