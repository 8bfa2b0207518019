"""Folding normalizations away changes no answer."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from components.fold import fold_batch_norm
from components.images import SHAPE
from components.model import compact_cnn, reference_cnn

IMAGES = np.random.default_rng(4).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def _as_if_trained(model: keras.Model) -> keras.Model:
    """Gives normalizations other numbers than the zeros and ones of new ones."""
    rng = np.random.default_rng(6)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 2, gamma.shape),
                    rng.normal(size=beta.shape),
                    rng.normal(size=mean.shape),
                    rng.uniform(0.1, 2, variance.shape),
                ]
            )
    return model


def _normalizations(model: keras.Model) -> int:
    return sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)


@pytest.mark.parametrize(
    ("make", "remaining"), [(compact_cnn, 0), (reference_cnn, 2)], ids=["compact", "reference"]
)
def test_the_answers_stay(make: Callable[[], keras.Model], remaining: int) -> None:
    keras.utils.set_random_seed(8)
    model = _as_if_trained(make())
    expected = model.predict(IMAGES, verbose=0)
    folded = fold_batch_norm(model)
    assert len(np.unique(expected)) > 1
    np.testing.assert_allclose(folded.predict(IMAGES, verbose=0), expected, atol=1e-5)
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), expected)
    assert _normalizations(folded) == remaining
    assert folded.name == model.name


def test_only_what_follows_a_convolution_alone_is_folded() -> None:
    images = keras.Input((8, 8, 3))
    active = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(images))
    shared = layers.Conv2D(4, 3)(images)
    both = layers.Add()([active, layers.BatchNormalization()(shared), shared])
    biased = layers.BatchNormalization()(layers.Conv2D(2, 1, bias_initializer="ones")(both))
    model = _as_if_trained(keras.Model(images, biased))
    folded = fold_batch_norm(model)
    assert _normalizations(folded) == 2
    some = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        folded.predict(some, verbose=0), model.predict(some, verbose=0), atol=1e-4
    )


def test_a_sequential_model_is_folded_too() -> None:
    stack = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(1)]
    model = _as_if_trained(keras.Sequential([keras.Input((8, 8, 3)), *stack], name="stack"))
    folded = fold_batch_norm(model)
    assert _normalizations(folded) == 0
    assert folded.name == "stack"
    some = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        folded.predict(some, verbose=0), model.predict(some, verbose=0), atol=1e-5
    )
