"""Dataset on disk -> batches in TensorFlow, in an order that a resumed run repeats."""

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE

BATCH_SIZE = 32


def training_batches(
    dataset: ImageDataset, indices: np.ndarray, weights: np.ndarray, seed: int, epoch: int
) -> tf.data.Dataset:
    """Returns one epoch of shuffled batches.

    The order depends on seed and epoch alone, so that a run resumed at an epoch sees what the
    unbroken run would have seen.

    Args:
        dataset: Where the pixels are.
        indices: The training part, int64 [n].
        weights: What each of these images counts for, float32 [n].
        seed: Of the run.
        epoch: From 0.

    Returns:
        Batches of uint8 [b, 150, 150, 3], float32 [b, 1], the label as P(Healthy), and the
        weights, float32 [b].
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(indices))
    return _batches(dataset, indices[order], weights[order])


def validation_batches(dataset: ImageDataset, indices: np.ndarray) -> tf.data.Dataset:
    """Returns the same as `training_batches`, in the given order, all images counting alike."""
    return _batches(dataset, indices, np.ones(len(indices), np.float32))


def _batches(dataset: ImageDataset, indices: np.ndarray, weights: np.ndarray) -> tf.data.Dataset:
    count = math.ceil(len(indices) / BATCH_SIZE)

    def read() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        # Of equal size, or one image less: a last batch of what is left, of one image maybe, would
        # pull as hard as any other, and last before the weights are kept.
        for batch in np.array_split(np.arange(len(indices)), count):
            positions = indices[batch]
            labels = dataset.labels[positions, None].astype(np.float32)
            yield dataset.read(positions), labels, weights[batch]

    signature = (
        tf.TensorSpec((None, *SHAPE), tf.uint8),
        tf.TensorSpec((None, 1), tf.float32),
        tf.TensorSpec((None,), tf.float32),
    )
    batches = tf.data.Dataset.from_generator(read, output_signature=signature)
    options = tf.data.Options()
    # The autotuner tunes nothing here, and its thread sleeps for up to 10 s before it lets an
    # epoch end.
    options.autotune.enabled = False
    return (
        batches.apply(tf.data.experimental.assert_cardinality(count))
        .prefetch(4)
        .with_options(options)
    )
