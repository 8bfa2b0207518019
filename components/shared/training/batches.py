"""Dataset on disk -> batches in TensorFlow, in an order that a resumed run repeats."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE

Vary = Callable[[np.ndarray], tf.Tensor]
_Batch = tuple[np.ndarray | tf.Tensor, np.ndarray, np.ndarray]
_AHEAD = 2  # batches that are made while the network trains on another


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
        self,
        indices: np.ndarray,
        weights: np.ndarray,
        seed: int,
        epoch: int,
        vary: Vary | None = None,
    ) -> tf.data.Dataset:
        """Returns one epoch of shuffled batches.

        The order depends on seed and epoch alone, so that a run resumed at an epoch sees what the
        unbroken run would have seen.

        Args:
            indices: The training part, int64 [n].
            weights: What each of these images counts for, float32 [n].
            seed: Of the run.
            epoch: From 0.
            vary: Given the images of one batch after another, and gives what to train on; both
                uint8 [b, 150, 150, 3]. None varies nothing.

        Returns:
            Batches of uint8 [b, 150, 150, 3], or of numbers, int32 [b]; of float32 [b, 1], the
            label as P(Healthy); and of the weights, float32 [b].
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(indices))
        return self._of(indices[order], weights[order], vary)

    def validation(self, indices: np.ndarray) -> tf.data.Dataset:
        """Returns the same as `training`, in the given order, all images counting alike."""
        return self._of(indices, np.ones(len(indices), np.float32))

    def _of(
        self, indices: np.ndarray, weights: np.ndarray, vary: Vary | None = None
    ) -> tf.data.Dataset:
        count = math.ceil(len(indices) / self.size)

        def made(batch: np.ndarray) -> _Batch:
            positions = indices[batch]
            labels = self.dataset.labels[positions, None].astype(np.float32)
            images = self._images(positions)
            return vary(images) if vary else images, labels, weights[batch]

        def read() -> Iterator[_Batch]:
            # Of equal size, or one image less: a last batch of what is left, of one image maybe,
            # would pull as hard as any other, and last before the weights are kept.
            batches = np.array_split(np.arange(len(indices)), count)
            # One thread makes them in order. TensorFlow's own prefetch waits for what it is asked
            # for where operations are to be deterministic.
            waiting: deque[Future[_Batch]] = deque()
            with ThreadPoolExecutor(1) as ahead:
                for batch in batches:
                    waiting.append(ahead.submit(made, batch))
                    if len(waiting) > _AHEAD:
                        yield waiting.popleft().result()
                for last in waiting:
                    yield last.result()

        there = self.on_device is not None
        shapes = (None,) if there else (None, *SHAPE), (None, 1), (None,)
        types = tf.int32 if there else tf.uint8, tf.float32, tf.float32
        running: Iterator[_Batch] = iter(())

        def following(number: np.ndarray) -> _Batch:
            nonlocal running
            if number == 0:
                running = read()
            return next(running)

        def batch(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            found = tf.numpy_function(following, [number], types)
            return tuple(map(tf.ensure_shape, found, shapes))

        # `from_generator` lets the C library give memory back as soon as it is free, for the whole
        # process; a training step of `compact` then takes a sixth longer.
        batches = tf.data.Dataset.range(count).map(batch)
        options = tf.data.Options()
        # The autotuner tunes nothing here, and its thread sleeps for up to 10 s before it lets an
        # epoch end.
        options.autotune.enabled = False
        return batches.prefetch(_AHEAD).with_options(options)

    def _images(self, positions: np.ndarray) -> np.ndarray:
        if self.on_device is None:
            return self.dataset.read(positions)
        return np.searchsorted(self.on_device, positions).astype(np.int32)
