"""A batch on several devices: each computes a part of it, and the result is that of the whole.

Keras' own steps under `MirroredStrategy` would train otherwise than one device does: gradients are
clipped before they are added up, batch normalization sees a part alone, a short part counts as much
as a long one, and each device draws the same random numbers for its first image.
"""

import threading
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import layers


class _Part(NamedTuple):
    """Which images of a batch a device has; int32 scalars."""

    start: tf.Tensor
    end: tf.Tensor
    whole: tf.Tensor


# Each device's step is traced in a thread of its own.
_traced = threading.local()


class InParts(keras.Sequential):
    """A model that several devices train together, made and compiled under their strategy.

    Each device is given the whole batch, and takes its part.
    """

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains on this device's part of a batch."""
        images, labels, weights = _taken(data)
        with tf.GradientTape() as tape:
            answers = self(images, training=True)
            loss = self.compute_loss(images, labels, answers, weights)
            # The loss is the mean of the part, by the number of devices.
            mean = loss * tf.distribute.get_strategy().num_replicas_in_sync
            self._loss_tracker.update_state(mean, sample_weight=tf.shape(labels)[0])
            share = tf.cast(tf.shape(labels)[0] / _traced.part.whole, loss.dtype)
            scaled = self.optimizer.scale_loss(mean * share)
        gradients = tape.gradient(scaled, self.trainable_weights)
        together = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
        self.optimizer.apply(together, self.trainable_weights)
        return self.compute_metrics(images, labels, answers)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Measures this device's part of a batch."""
        return super().test_step(_taken(data))


class OfWholeBatch(layers.Layer):
    """A random layer that draws for the whole batch, and varies this device's part of it.

    Args:
        layer: Takes each image alone, but for its random numbers.
    """

    def __init__(self, layer: layers.Layer) -> None:  # noqa: D107
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Applies the layer."""
        part = getattr(_traced, "part", None)
        if not training or part is None:
            return self.layer(inputs, training=training)
        rest = [[0, 0]] * (len(inputs.shape) - 1)
        padded = tf.pad(inputs, [[part.start, part.whole - part.end], *rest])
        return self.layer(padded, training=training)[part.start : part.end]


def of_whole_batches(model: keras.Model) -> keras.Model:
    """Lets dropout and batch normalization of a model see whole batches.

    Args:
        model: To train; its layers are changed.

    Returns:
        A model of the same weights.
    """

    def changed(layer: layers.Layer) -> layers.Layer:
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True
        return OfWholeBatch(layer) if isinstance(layer, layers.Dropout) else layer

    return keras.models.clone_model(model, clone_function=changed)


def _taken(data: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Takes this device's part of a batch; parts differ by one image at most."""
    images, labels, weights = data
    context = tf.distribute.get_replica_context()
    number, devices = context.replica_id_in_sync_group, context.num_replicas_in_sync
    whole = tf.shape(labels)[0]
    start, end = whole * number // devices, whole * (number + 1) // devices
    _traced.part = _Part(start, end, whole)
    return images[start:end], labels[start:end], weights[start:end]
