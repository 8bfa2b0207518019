"""The names in a registered model's folder, that writer and readers share. It imports nothing."""

NAME = "brain-tumor"  # of the model; the registry's versions lie under it

# Files
SAVED_MODEL = "saved_model.pb"
VARIABLES = "variables"  # a folder
METADATA = "metadata.json"
LABELS = "labels.json"
CARD = "model_card.md"
DRIFT = "drift.json"  # versions older than it lack it
WEIGHTS = "weights.npy"  # of the network alone; versions older than it lack it
SMOKE, EXPECTED = "smoke", "expected.json"  # a folder, and the file of answers in it
KNOWN_FILES, KNOWN_IMAGES = "known_files.txt", "known_images.npy"  # of the model's own dataset
SUMS = "SHA256SUMS"
SIGNATURE = "model.sig"

# Signatures of the SavedModel
SERVING = "serving_default"
EXPLAIN = "explain"

# Tensors of both signatures; the heat map is of EXPLAIN alone
INPUT = "images"  # uint8 [n, 150, 150, 3]
PROBABILITY = "probability_healthy"  # float32 [n], 0..1
SCORE = "in_distribution_score"  # float32 [n]; versions older than the check lack it
HEATMAP = "heatmap"  # float32 [n, h, w], 0..1
FEATURES = "features"  # float32 [n, 8]; versions older than it lack it
FEATURES_COUNT = 8

# What each signature answers with at least
REQUIRED = {SERVING: frozenset({PROBABILITY}), EXPLAIN: frozenset({PROBABILITY, HEATMAP})}
UNSURE = "unsure"  # an outcome that is no class
