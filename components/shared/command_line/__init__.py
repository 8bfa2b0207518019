"""What `brain-tumor` and `python -m serving` share: how they start, show help and refuse."""
