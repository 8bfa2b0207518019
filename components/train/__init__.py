"""Train: the final model, its best epoch or the mean of its last ones."""
