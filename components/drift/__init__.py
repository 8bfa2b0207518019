"""Drift: what the predictor is asked, compared with what its model was measured on."""
