"""The last layer, fitted again once the features are learned."""

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE

ENOUGH = 20_000  # images; a few hundred weights need no more, and memory is bounded
PENALTY = 1.0  # on the weights of standardized features, beside the mean log loss
_BATCH = 64


def refit_head(
    model: keras.Model, dataset: ImageDataset, rows: np.ndarray, weights: np.ndarray
) -> None:
    """Fits the last layer again, in place, by logistic regression with a strong penalty.

    A network that nearly knows its training images weighs features by what still tells the last of
    them apart, which does not hold on images of another origin. The penalty spreads the weight over
    all features that tell the classes apart. The logits keep their standard deviation, so that the
    answers are as sure as before.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy); its last layer is a dense one with a
            sigmoid. Unchanged where the images are of one class.
        dataset: The images.
        rows: The training part, int64 [n].
        weights: What each of these counts for, float32 [n].
    """
    if len(rows) > ENOUGH:
        some = np.sort(np.random.default_rng(0).choice(len(rows), ENOUGH, replace=False))
        rows, weights = rows[some], weights[some]
    labels = dataset.labels[rows]
    if len(set(labels.tolist())) < 2:
        return
    features = _features(model, dataset, rows)
    head = model.layers[-1]
    deviation = (features @ head.get_weights()[0]).std()
    scale = np.sqrt(features.var(axis=0) + 1e-3 * features.var(axis=0).mean() + 1e-12)
    regression = LogisticRegression(C=1 / (PENALTY * len(rows)), max_iter=1000)
    regression.fit(features / scale, labels, sample_weight=weights)
    kernel = regression.coef_[0] / scale
    factor = deviation / (features @ kernel).std()
    head.set_weights([factor * kernel[:, None], factor * regression.intercept_])


def _features(model: keras.Model, dataset: ImageDataset, rows: np.ndarray) -> np.ndarray:
    """Computes what the last layer sees, float64 [n, features]."""
    features_of = keras.Model(model.inputs[0], model.layers[-1].input)

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.uint8)])
    def compute(pixels: tf.Tensor) -> tf.Tensor:
        return features_of(pixels, training=False)

    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    found = [compute(dataset.read(batch)).numpy() for batch in batches]
    return np.concatenate(found).astype(np.float64)
