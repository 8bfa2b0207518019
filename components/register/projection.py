"""A few numbers that sum an image up as the network sees it: they show when images change."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from components.shared.data.dataset import ImageDataset, Split
from components.shared.model_folder.contract import FEATURES_COUNT
from components.shared.networks.features import with_features

_MAX_IMAGES = 4000
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Projection:
    """The first principal components of the late features, each of unit variance in training.

    Attributes:
        mean: Of the late features, float32 [k].
        weights: float32 [k, 8]; a column is 0 where the training images do not fill it.
    """

    mean: np.ndarray
    weights: np.ndarray

    def project(self, late: tf.Tensor) -> tf.Tensor:
        """Sums images up, in TensorFlow operations that can go into a graph.

        Args:
            late: Their late features, [n, k].

        Returns:
            float32 [n, 8].
        """
        return (tf.cast(late, tf.float32) - self.mean) @ self.weights


def fit_projection(
    model: keras.Model, dataset: ImageDataset, split: Split, seed: int = 0
) -> Projection:
    """Finds the principal components of the train part's late features.

    Takes some 4,000 images at most, however large the dataset is.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1].
        dataset: The images.
        split: Its parts.
        seed: Decides which images are taken.

    Returns:
        The projection.
    """
    rng = np.random.default_rng(seed)
    train = rng.permutation(split.part("train"))[:_MAX_IMAGES]
    seen = with_features(model)
    late_of = keras.Model(seen.inputs[0], seen.outputs[1])
    batches = dataset.batches(train, _BATCH)
    return principal_components(
        np.concatenate([late_of.predict_on_batch(images) for _, images in batches])
    )


def principal_components(late: np.ndarray) -> Projection:
    """Finds the principal components of late features, float32 [m, k]."""
    mean = late.mean(axis=0, dtype=np.float64)
    centred = late - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(late))
    variances, directions = variances[::-1], directions[:, ::-1]  # the greatest first
    filled = variances[:FEATURES_COUNT] > 1e-9 * max(variances.max(initial=0), 1e-9)
    kept = directions[:, :FEATURES_COUNT][:, filled]
    # A direction and its opposite are the same component: the greatest weight is above 0.
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    weights = np.zeros((late.shape[1], FEATURES_COUNT))
    weights[:, np.flatnonzero(filled)] = kept / np.sqrt(variances[:FEATURES_COUNT][filled])
    return Projection(mean.astype(np.float32), weights.astype(np.float32))
