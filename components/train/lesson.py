"""A network as it is trained: its images varied, and its labels told by teachers too."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

TAUGHT = 0.7  # of what is learned, how much are the teachers' answers; the rest is the label


class Lesson(keras.Model):
    """A network with what acts in training only; called, it is the network alone.

    A larger network judges unseen images better and takes too long to be served. Asked about every
    varied image, it hands its judgement on to a smaller one, which takes no longer to answer than
    before. Answers are also softer than labels: an odd image, or a wrong label, is not learned by
    heart.

    Args:
        network: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1].
        augmentation: From such images to varied ones; None leaves them as they are.
        teachers: Other networks, whose mean counts; none learns from labels alone.
    """

    def __init__(  # noqa: D107
        self,
        network: keras.Model,
        augmentation: layers.Layer | None = None,
        teachers: Sequence[keras.Model] = (),
    ) -> None:
        super().__init__(name=f"lesson_{network.name}")
        self.network = network
        self.augmentation = augmentation
        # In a function, because Keras would count a teacher's weights as this model's.
        self.taught = bool(teachers)
        self.told = lambda images: ops.stop_gradient(
            ops.mean(ops.stack([teacher(images, training=False) for teacher in teachers]), axis=0)
        )

    def build(self, images_shape: tuple) -> None:
        """Does nothing: the network comes built."""

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the network's answers."""
        return self.network(images, training=training)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Learns from a batch of images, labels [n, 1] and weights [n]."""
        images, labels, weights = data
        if self.augmentation is not None:
            images = self.augmentation(images, training=True)
        return super().train_step((images, labels, weights))

    def compute_loss(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor,
        training: bool = True,
    ) -> tf.Tensor:
        """Returns the loss; in training, against the teachers' answers to the varied images too."""
        if training and self.taught:
            y = (1 - TAUGHT) * y + TAUGHT * self.told(x)
        return super().compute_loss(x, y, y_pred, sample_weight, training)
