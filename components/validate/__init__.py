"""The validate step: what a model is worth on images of other sources."""
