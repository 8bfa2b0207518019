"""An average answers as its parts do in the mean, and is a model like any other."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import expit, logit

from components.shared.evaluation.predictor import apply_temperature, open_model, predict_tumor
from components.shared.images.decode import SHAPE
from components.shared.networks.average import averaged, first_member, first_weights
from components.shared.networks.compact import compact_cnn
from components.shared.networks.gradcam import gradcam
from components.shared.networks.reference import reference_cnn

IMAGES = np.random.default_rng(4).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
BOTH = pytest.mark.parametrize(
    "make", [compact_cnn, lambda: reference_cnn(dense=8)], ids=["compact", "reference"]
)


def _networks(make: Callable[[], keras.Model], count: int) -> list[keras.Model]:
    networks = []
    for seed in range(count):
        keras.utils.set_random_seed(seed)
        model = make()
        kernel, _ = model.layers[-1].get_weights()
        model.layers[-1].set_weights([kernel, np.array([0.3 * seed - 0.2])])
        networks.append(model)
    return networks


def _logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return logit(model.predict(images, verbose=0)[:, 0].astype(np.float64))


@pytest.mark.parametrize(
    ("make", "count", "mirrored"),
    [(compact_cnn, 3, False), (compact_cnn, 1, True), (lambda: reference_cnn(dense=8), 2, True)],
    ids=["ensemble", "mirrored", "both"],
)
def test_the_logit_is_the_mean(
    tmp_path: Path, make: Callable[[], keras.Model], count: int, mirrored: bool
) -> None:
    networks = _networks(make, count)
    views = [IMAGES, IMAGES[:, :, ::-1]] if mirrored else [IMAGES]
    expected = np.mean([_logits(each, view) for each in networks for view in views], axis=0)
    model = averaged(networks, mirrored)
    assert model.name == networks[0].name
    np.testing.assert_allclose(_logits(model, IMAGES), expected, atol=1e-4)

    # It is saved, opened, calibrated and asked as any model is.
    model.save(tmp_path / "model.keras")
    opened = open_model(tmp_path)
    apply_temperature(opened, 0.5)
    scores = predict_tumor(opened, [(np.arange(5), IMAGES)], 5)
    np.testing.assert_allclose(scores, expit(-expected / 0.5), atol=1e-4)


def test_of_one_network_nothing_is_made() -> None:
    (network,) = _networks(compact_cnn, 1)
    assert averaged([network]) is network
    assert first_member(network) is network


@BOTH
def test_the_first_network_explains(make: Callable[[], keras.Model]) -> None:
    networks = _networks(make, 2)
    model = averaged(networks, mirrored=True)
    plain = first_member(model)
    np.testing.assert_allclose(_logits(plain, IMAGES), _logits(networks[0], IMAGES) / 2, atol=0.2)
    probability, heat, *_ = gradcam(model)(IMAGES)
    np.testing.assert_allclose(probability, model.predict(IMAGES, verbose=0)[:, 0], atol=1e-5)
    alone = gradcam(networks[0])(IMAGES).heatmap
    same = (np.asarray(probability) > 0.5) == (_logits(networks[0], IMAGES) > 0)
    assert same.any()
    np.testing.assert_allclose(np.asarray(heat)[same], np.asarray(alone)[same], atol=1e-3)


def test_the_first_network_can_be_trained_on() -> None:
    make = lambda: reference_cnn(dense=8)  # noqa: E731
    networks = _networks(make, 3)
    for model in (averaged(networks, mirrored=True), networks[0]):
        again = make()
        again.set_weights(first_weights(model))
        # The bias is the mean of all.
        biases = [each.layers[-1].get_weights()[1] for each in (model, networks[0])]
        expected = _logits(networks[0], IMAGES) + biases[0] - biases[1]
        np.testing.assert_allclose(_logits(again, IMAGES), expected, atol=1e-4)
