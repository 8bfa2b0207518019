"""Images that stay on the devices that train, so that a batch is a list of numbers."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from keras import layers

from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE

IMAGE_BYTES = int(np.prod(SHAPE))
_CHUNK = 1024  # images that are in the machine's memory at once


class OnDevice(layers.Layer):
    """From the numbers of images to their pixels.

    Args:
        dataset: The images.
        rows: Which of them, sorted positions, int64 [n].
        devices: Names of the devices that get them, in the order of the strategy's.
    """

    def __init__(self, dataset: ImageDataset, rows: np.ndarray, devices: Sequence[str]) -> None:  # noqa: D107
        super().__init__(name="on_device")
        self._copies = tuple(_copied(dataset, rows, device) for device in devices)

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        """Looks images up.

        Args:
            numbers: int32 [b].

        Returns:
            uint8 [b, 150, 150, 3].
        """
        context = tf.distribute.get_replica_context()
        device = tf.get_static_value(context.replica_id_in_sync_group) if context else 0
        words = tf.gather(self._copies[device], numbers)
        return tf.reshape(tf.bitcast(words, tf.uint8), (-1, *SHAPE))


def _copied(dataset: ImageDataset, rows: np.ndarray, device: str) -> tf.Variable:
    """Copies images to a device, a chunk at a time.

    Four bytes are one float32 there: for uint8 TensorFlow has no such lookup on GPUs.
    """
    with tf.device(device):
        copy = tf.Variable(tf.zeros((len(rows), IMAGE_BYTES // 4)), trainable=False)
        for start in range(0, len(rows), _CHUNK):
            chunk = dataset.read(rows[start : start + _CHUNK]).reshape(-1, IMAGE_BYTES)
            numbers = np.arange(start, start + len(chunk))
            copy.scatter_update(tf.IndexedSlices(chunk.view(np.float32), numbers))
    return copy
