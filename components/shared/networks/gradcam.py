"""Grad-CAM: where in the image the evidence for the model's answer lies."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from components.shared.networks.average import first_member
from components.shared.networks.backward import gradient
from components.shared.networks.features import early_maps, made_from, opened, with_features


class Explained(NamedTuple):
    """An answer with its reason.

    Attributes:
        probability: P(Healthy), float32 [n].
        heatmap: For the more probable class, float32 [n, h, w] within 0..1.
        late: The model's late features, [n, k], see `components.shared.networks.features`.
        early: Its early maps, [n, h, w, c].
    """

    probability: tf.Tensor
    heatmap: tf.Tensor
    late: tf.Tensor
    early: tf.Tensor


def gradcam(model: keras.Model) -> Callable[[tf.Tensor], Explained]:
    """Makes a function that answers and explains.

    The features are the last ones that still have a place in the image; their gradients are
    taken of the logit, not of the probability, which is flat where the model is sure. Gradients
    are not averaged over the image first (the variant known as HiResCAM): after a `Flatten`
    every place has weights of its own, and their average leaves many maps empty. What remains
    is averaged over about an eighth of the image's side, so that it reads as a region. Of an
    average (see `components.shared.networks.average`) the first network explains, for the image as
    it is.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; its last layer is a
            dense one with a sigmoid.

    Returns:
        A function of uint8 [n, 150, 150, 3]. It can be traced by `tf.function`.
    """
    plain = first_member(model)
    head = plain.layers[-1]
    inner = opened(plain)
    decisive = made_from(inner.outputs[0])
    maps = decisive
    while len(maps.shape) != 4:
        maps = made_from(maps)
    features_of = keras.Model(inner.inputs[0], [maps, early_maps(decisive)])
    decide = gradient(maps, decisive)
    answered = with_features(model)
    window = max(1, maps.shape[1] // 8) | 1  # odd, so that nothing moves

    def explain(images: tf.Tensor) -> Explained:
        features, early = features_of(images, training=False)
        late, back = decide(features)
        logits = late @ head.kernel + head.bias
        probability = tf.sigmoid(logits)
        if plain is not model:
            probability, late, _ = answered(images, training=False)
        sign = tf.where(probability > 0.5, 1.0, -1.0)  # of the more probable class
        gradients = back(sign * tf.transpose(head.kernel))
        places = tf.reduce_sum(gradients * tf.cast(features, tf.float32), axis=-1, keepdims=True)
        heat = tf.nn.relu(tf.nn.avg_pool2d(places, window, strides=1, padding="SAME")[..., 0])
        peak = tf.reduce_max(heat, axis=(1, 2), keepdims=True)
        return Explained(probability[:, 0], tf.math.divide_no_nan(heat, peak), late, early)

    return explain
