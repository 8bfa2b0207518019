"""The written-out gradients of a head are those of TensorFlow's own differentiation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from components.shared.networks.backward import gradient

MAPS = (5, 4, 6)
FEATURES = np.random.default_rng(1).normal(size=(3, *MAPS)).astype("float32").round(1)  # with ties


def pooled(maps: keras.KerasTensor) -> keras.KerasTensor:
    both = [layers.GlobalAveragePooling2D()(maps), layers.GlobalMaxPooling2D()(maps)]
    return layers.Dropout(0.5)(layers.Concatenate()(both))


def averaged(maps: keras.KerasTensor) -> keras.KerasTensor:
    return layers.GlobalAveragePooling2D()(maps)


def flat(maps: keras.KerasTensor) -> keras.KerasTensor:
    hidden = layers.Dense(7, activation="relu")(layers.Flatten()(maps))
    return layers.Dense(4)(layers.BatchNormalization()(hidden))


def used_twice(maps: keras.KerasTensor) -> keras.KerasTensor:
    hidden = layers.Dense(5)(layers.GlobalMaxPooling2D()(maps))
    return layers.Concatenate()([hidden, layers.Dense(3, activation="relu")(hidden)])


@pytest.mark.parametrize("head", [averaged, pooled, flat, used_twice])
def test_gradients_are_those_of_a_tape(head) -> None:
    keras.utils.set_random_seed(3)
    maps = keras.Input(MAPS)
    decisive = head(maps)
    for weight in keras.Model(maps, decisive).weights:
        weight.assign(
            np.random.default_rng(2).uniform(0.5, 1.5, weight.shape)
            - 0.8 * ("kernel" in weight.path)
        )
    towards = tf.random.stateless_normal((3, decisive.shape[1]), seed=(4, 5))

    found, back = gradient(maps, decisive)(FEATURES)

    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        expected = keras.Model(maps, decisive)(features, training=False)
        evidence = tf.reduce_sum(expected * towards)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(back(towards), tape.gradient(evidence, features), atol=1e-5)


@pytest.mark.parametrize("layer", [layers.LayerNormalization(), layers.Dense(2, "tanh")])
def test_a_layer_without_a_rule_is_named(layer: layers.Layer) -> None:
    maps = keras.Input(MAPS)
    decisive = layer(layers.GlobalAveragePooling2D()(maps))
    with pytest.raises(NotImplementedError, match=r"LayerNormalization|tanh"):
        gradient(maps, decisive)
