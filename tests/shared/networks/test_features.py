"""What a network sees is that of its own pass, for every network and average."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from components.shared.images.decode import SHAPE
from components.shared.networks.average import averaged
from components.shared.networks.compact import compact_cnn
from components.shared.networks.efficientnet import efficientnet
from components.shared.networks.features import with_features
from components.shared.networks.gradcam import gradcam
from components.shared.networks.reference import reference_cnn

IMAGES = np.random.default_rng(5).integers(0, 256, (2, *SHAPE), dtype=np.uint8)


def _on_a_backbone() -> keras.Model:
    """A network within a network, as Xception is under the reference's head."""
    pixels = keras.Input(SHAPE)
    maps = layers.Conv2D(4, 3, strides=5, activation="relu")(pixels)
    backbone = keras.Model(pixels, layers.MaxPooling2D(10)(maps))
    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            layers.Rescaling(1 / 255),
            backbone,
            layers.Flatten(),
            layers.Dense(1, "sigmoid"),
        ]
    )


def _two_references() -> keras.Model:
    return averaged([reference_cnn(dense=8), reference_cnn(dense=8)], mirrored=True)


@pytest.mark.parametrize(
    ("make", "late", "early"),
    [
        (compact_cnn, 448, (25, 25, 144)),
        (lambda: reference_cnn(dense=8), 4, (37, 37, 64)),
        (efficientnet, 1280, (38, 38, 144)),
        (_two_references, 8, (37, 37, 64)),
        (_on_a_backbone, 36, (30, 30, 4)),
    ],
    ids=["compact", "reference", "efficientnet", "average", "backbone"],
)
def test_the_answer_stays_and_the_features_explain_it(
    make: Callable[[], keras.Model], late: int, early: tuple[int, int, int]
) -> None:
    model = make()
    expected = np.asarray(model(IMAGES, training=False))
    probability, decisive, maps = (np.asarray(v) for v in with_features(model)(IMAGES))
    np.testing.assert_allclose(probability, expected, atol=1e-6)
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(1 / (1 + np.exp(-(decisive @ kernel + bias))), expected, atol=1e-5)
    assert decisive.shape == (2, late)
    assert maps.shape == (2, *early)
    explained = gradcam(model)(IMAGES)
    np.testing.assert_allclose(explained.late, decisive, atol=1e-4)
    np.testing.assert_allclose(explained.early, maps, atol=1e-4)


def test_an_averages_early_maps_are_its_first_networks() -> None:
    networks = [reference_cnn(dense=8), reference_cnn(dense=8)]
    *_, maps = with_features(averaged(networks, mirrored=True))(IMAGES)
    *_, alone = with_features(networks[0])(IMAGES)
    np.testing.assert_allclose(maps, alone, atol=1e-5)
