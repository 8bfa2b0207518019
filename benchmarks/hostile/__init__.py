"""The predictor under attack."""
