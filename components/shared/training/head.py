"""The last layer, fitted again once the features are learned."""

import keras
import numpy as np
import tensorflow as tf

from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE
from components.shared.training.penalized import centring_offset, penalized_fit

ENOUGH = 20_000  # images; a few hundred weights need no more, and memory is bounded
_BATCH = 64


def refit_head(
    model: keras.Model, dataset: ImageDataset, rows: np.ndarray, weights: np.ndarray
) -> None:
    """Fits the last layer again, in place, by logistic regression with a strong penalty.

    A network that nearly knows its training images weighs features by what still tells the last of
    them apart, which does not hold on images of another origin. The penalty spreads the weight over
    all features that tell the classes apart.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy); its last layer is a dense one with a
            sigmoid. Unchanged where the images are of one class.
        dataset: The images.
        rows: The training part, int64 [n].
        weights: What each of these counts for, float32 [n].
    """
    rows, weights = _enough(rows, weights)
    if _of_one_class(labels := dataset.labels[rows]):
        return
    head = model.layers[-1]
    (kernel,) = head.get_weights()[0].T
    kernel, bias = penalized_fit(_features(model, dataset, rows), labels, weights, kernel)
    head.set_weights([kernel[:, None], np.array([bias])])


def centre_head(
    model: keras.Model, dataset: ImageDataset, rows: np.ndarray, weights: np.ndarray
) -> None:
    """Moves the last layer's bias, in place, to where it belongs on images not learned from.

    A network that knows its training images says nothing there about which class it prefers when it
    is in doubt.

    Args:
        model: As `refit_head` takes it. Unchanged where the images are of one class.
        dataset: The images.
        rows: The validation part, int64 [n].
        weights: What each of these counts for, float32 [n].
    """
    rows, weights = _enough(rows, weights)
    if _of_one_class(labels := dataset.labels[rows]):
        return
    head = model.layers[-1]
    kernel, bias = head.get_weights()
    logits = _features(model, dataset, rows) @ kernel[:, 0] + bias[0]
    head.set_weights([kernel, bias + centring_offset(logits, labels, weights)])


def _of_one_class(labels: np.ndarray) -> bool:
    return len(set(labels.tolist())) < 2


def _enough(rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(rows) <= ENOUGH:
        return rows, weights
    some = np.sort(np.random.default_rng(0).choice(len(rows), ENOUGH, replace=False))
    return rows[some], weights[some]


def _features(model: keras.Model, dataset: ImageDataset, rows: np.ndarray) -> np.ndarray:
    """Computes what the last layer sees, float64 [n, features]."""
    features_of = keras.Model(model.inputs[0], model.layers[-1].input)

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.uint8)])
    def compute(pixels: tf.Tensor) -> tf.Tensor:
        return features_of(pixels, training=False)

    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    found = [compute(dataset.read(batch)).numpy() for batch in batches]
    return np.concatenate(found).astype(np.float64)
