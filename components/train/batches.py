"""Dataset on disk -> batches in TensorFlow, in an order that a resumed run repeats."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from components.dataset import ImageDataset
from components.images import SHAPE

BATCH_SIZE = 32


def training_batches(
    dataset: ImageDataset, indices: np.ndarray, seed: int, epoch: int
) -> tf.data.Dataset:
    """Returns one epoch of shuffled batches.

    The order depends on seed and epoch alone, so that a run resumed at an epoch sees what the
    unbroken run would have seen.

    Args:
        dataset: Where the pixels are.
        indices: The training part, int64 [n].
        seed: Of the run.
        epoch: From 0.

    Returns:
        Batches of uint8 [b, 150, 150, 3] and float32 [b, 1], the label as P(Healthy).
    """
    return _batches(dataset, np.random.default_rng([seed, epoch]).permutation(indices))


def validation_batches(dataset: ImageDataset, indices: np.ndarray) -> tf.data.Dataset:
    """Returns the same as `training_batches`, in the given order."""
    return _batches(dataset, indices)


def _batches(dataset: ImageDataset, indices: np.ndarray) -> tf.data.Dataset:
    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for positions, pixels in dataset.batches(indices, BATCH_SIZE):
            yield pixels, dataset.labels[positions, None].astype(np.float32)

    count = -(-len(indices) // BATCH_SIZE)
    signature = (
        tf.TensorSpec((None, *SHAPE), tf.uint8),
        tf.TensorSpec((None, 1), tf.float32),
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
