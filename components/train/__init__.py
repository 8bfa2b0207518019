"""Train: the final model, its best epoch chosen on the validation part."""
