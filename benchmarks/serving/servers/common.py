"""What the compared servers share, so that only the serving differs between them.

`BENCHMARK_MODEL` is the folder of the SavedModel, `BENCHMARK_PORT` where to listen.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from components.shared.images.decode import SHAPE, decode
from components.shared.model_folder.contract import NAME as NAME
from components.shared.model_folder.contract import PROBABILITY, SERVING

LARGEST_BATCH = 16
WAIT_SECONDS = 0.002
REFERENCE_SEED = 0  # of the untrained network that the reference's service answers with


def port() -> int:
    """Returns where to listen."""
    return int(os.environ["BENCHMARK_PORT"])


def cores() -> int:
    """Returns how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


class Model:
    """The SavedModel's `serving_default` signature, warmed, behind the project's decoder."""

    def __init__(self) -> None:
        """Loads it, and runs batches of every size once, because the first of each is slow."""
        import tensorflow as tf

        self._loaded = tf.saved_model.load(os.environ["BENCHMARK_MODEL"])
        self._signature = self._loaded.signatures[SERVING]
        self._constant = tf.constant
        self._threads = ThreadPoolExecutor(cores())
        for size in range(1, LARGEST_BATCH + 1):
            self.answer(np.zeros((size, *SHAPE), np.uint8))

    def decode(self, files: Sequence[bytes]) -> np.ndarray:
        """Decodes image files, on all cores.

        Args:
            files: Their bytes.

        Returns:
            uint8 [n, 150, 150, 3].
        """
        if len(files) == 1:
            return decode(files[0]).pixels[None]
        return np.stack([decoded.pixels for decoded in self._threads.map(decode, files)])

    def answer(self, images: np.ndarray) -> list[float]:
        """Runs the model.

        Args:
            images: uint8 [n, 150, 150, 3].

        Returns:
            P(Brain Tumor) of each.
        """
        healthy = self._signature(images=self._constant(images))[PROBABILITY]
        return [1.0 - probability for probability in healthy.numpy().tolist()]
