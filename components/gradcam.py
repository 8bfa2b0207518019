"""Grad-CAM: where in the image the evidence for the model's answer lies."""

from collections.abc import Callable

import keras
import tensorflow as tf


def gradcam(model: keras.Model) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Makes a function that answers and explains.

    The features are the last ones that still have a place in the image; their gradients are
    taken of the logit, not of the probability, which is flat where the model is sure. Gradients
    are not averaged over the image first (the variant known as HiResCAM): after a `Flatten`
    every place has weights of its own, and their average leaves many maps empty. What remains
    is averaged over about an eighth of the image's side, so that it reads as a region.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; its last layer is a
            dense one with a sigmoid.

    Returns:
        A function from uint8 [n, 150, 150, 3] to P(Healthy), float32 [n], and heat maps for the
        more probable class, float32 [n, h, w] within 0..1. It can be traced by `tf.function`.
    """
    head = model.layers[-1]
    spatial = [layer for layer in model.layers if len(layer.output.shape) == 4][-1]
    features_of = keras.Model(model.inputs[0], spatial.output)
    rest = model.layers[model.layers.index(spatial) + 1 : -1]
    window = max(1, spatial.output.shape[1] // 8) | 1  # odd, so that nothing moves

    def explain(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = features_of(images, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(features)
            hidden = features
            for layer in rest:
                hidden = layer(hidden, training=False)
            logits = tf.cast(hidden, tf.float32) @ head.kernel + head.bias
            evidence = tf.abs(logits)  # the logit of whichever class is more probable
        gradients = tape.gradient(evidence, features)
        places = tf.reduce_sum(tf.cast(gradients * features, tf.float32), axis=-1, keepdims=True)
        heat = tf.nn.relu(tf.nn.avg_pool2d(places, window, strides=1, padding="SAME")[..., 0])
        peak = tf.reduce_max(heat, axis=(1, 2), keepdims=True)
        return tf.sigmoid(logits)[:, 0], tf.math.divide_no_nan(heat, peak)

    return explain
