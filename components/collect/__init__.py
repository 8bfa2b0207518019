"""Collect: what the folds say together, and which labels they doubt."""
