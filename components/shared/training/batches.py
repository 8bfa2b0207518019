"""Dataset on disk -> batches in TensorFlow, in an order that a resumed run repeats."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE


@dataclass(frozen=True)
class Batches:
    """Makes the batches of a training.

    Attributes:
        dataset: Where the pixels are.
        size: Images of a batch, at most.
        on_device: Which images the devices have, sorted positions, int64 [m]; batches then name
            these by number and hold no pixels. None: the devices have none.
    """

    dataset: ImageDataset
    size: int
    on_device: np.ndarray | None = None

    def training(
        self, indices: np.ndarray, weights: np.ndarray, seed: int, epoch: int
    ) -> tf.data.Dataset:
        """Returns one epoch of shuffled batches.

        The order depends on seed and epoch alone, so that a run resumed at an epoch sees what the
        unbroken run would have seen.

        Args:
            indices: The training part, int64 [n].
            weights: What each of these images counts for, float32 [n].
            seed: Of the run.
            epoch: From 0.

        Returns:
            Batches of uint8 [b, 150, 150, 3], or of numbers, int32 [b]; of float32 [b, 1], the
            label as P(Healthy); and of the weights, float32 [b].
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(indices))
        return self._of(indices[order], weights[order])

    def validation(self, indices: np.ndarray) -> tf.data.Dataset:
        """Returns the same as `training`, in the given order, all images counting alike."""
        return self._of(indices, np.ones(len(indices), np.float32))

    def _of(self, indices: np.ndarray, weights: np.ndarray) -> tf.data.Dataset:
        count = math.ceil(len(indices) / self.size)

        def read() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            # Of equal size, or one image less: a last batch of what is left, of one image maybe,
            # would pull as hard as any other, and last before the weights are kept.
            for batch in np.array_split(np.arange(len(indices)), count):
                positions = indices[batch]
                labels = self.dataset.labels[positions, None].astype(np.float32)
                yield self._images(positions), labels, weights[batch]

        there = self.on_device is not None
        signature = (
            tf.TensorSpec((None,) if there else (None, *SHAPE), tf.int32 if there else tf.uint8),
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

    def _images(self, positions: np.ndarray) -> np.ndarray:
        if self.on_device is None:
            return self.dataset.read(positions)
        return np.searchsorted(self.on_device, positions).astype(np.int32)
