"""The evaluate step: what the model is worth, beside two baselines."""
