"""The two classes, by which images are labelled and answers are given."""

CLASSES = ("Brain Tumor", "Healthy")
TUMOR, HEALTHY = 0, 1  # positions in CLASSES, and labels
