"""The two classes, by which images are labelled and answers are given, and what is neither."""

CLASSES = ("Brain Tumor", "Healthy")
TUMOR, HEALTHY = 0, 1  # positions in CLASSES, and labels

# The label of images of neither class. Nothing is trained on them: a model should flag them.
STRANGER, STRANGERS = 2, "no brain MRI"
