"""The last layer that is fitted again."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import expit

from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import SHAPE
from components.shared.training import head
from components.shared.training.penalized import PENALTY, centring_offset


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input(SHAPE, dtype="uint8")
    pooled = layers.AveragePooling2D(50)(layers.Rescaling(1 / 255)(images))
    features = layers.Flatten()(pooled)
    return keras.Model(images, layers.Dense(1, "sigmoid")(features))


def _features(model: keras.Model, dataset: ImageDataset, rows: np.ndarray) -> np.ndarray:
    features_of = keras.Model(model.inputs[0], model.layers[-1].input)
    return features_of(dataset.read(rows)).numpy().astype(np.float64)


def test_it_is_where_the_penalized_loss_is_least(
    model: keras.Model, dataset: ImageDataset, split: Split
) -> None:
    """There the gradient is 0, whatever found it."""
    rows = split.part("train")
    weights = np.random.default_rng(0).uniform(0.5, 2, len(rows)).astype(np.float32)
    found, labels = _features(model, dataset, rows), dataset.labels[rows]
    before = (found @ model.layers[-1].get_weights()[0]).std()
    head.refit_head(model, dataset, rows, weights)

    kernel, bias = model.layers[-1].get_weights()
    logits = (found @ kernel + bias)[:, 0]
    assert logits.std() == pytest.approx(before, rel=1e-4)  # as sure as before
    scale = np.sqrt(found.var(axis=0) + 1e-3 * found.var(axis=0).mean())

    def gradient(factor: float) -> np.ndarray:
        error = weights * (expit(logits / factor) - labels)
        penalty = PENALTY * kernel[:, 0] * scale / factor
        return (error @ (found / scale)) / len(rows) + penalty

    # The logits were stretched by one factor.
    factors = np.geomspace(0.01, 100, 4000)
    lengths = [np.linalg.norm(gradient(factor)) for factor in factors]
    assert min(lengths) < 0.01 * np.linalg.norm(weights @ (found / scale) / len(rows))


def test_some_images_are_enough(
    model: keras.Model, dataset: ImageDataset, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    plain = ImageDataset.read

    def spying(self: ImageDataset, rows: np.ndarray) -> np.ndarray:
        read.extend(np.asarray(rows).tolist())
        return plain(self, rows)

    monkeypatch.setattr(ImageDataset, "read", spying)
    monkeypatch.setattr(head, "ENOUGH", 30)
    rows = split.part("train")
    head.refit_head(model, dataset, rows, np.ones(len(rows), np.float32))
    assert len(read) == len(set(read)) == 30
    assert set(read) < set(rows.tolist())


def test_one_class_says_nothing(model: keras.Model, dataset: ImageDataset, split: Split) -> None:
    rows = split.part("train")
    rows = rows[dataset.labels[rows] == 1]
    before = model.layers[-1].get_weights()
    head.refit_head(model, dataset, rows, np.ones(len(rows), np.float32))
    np.testing.assert_array_equal(model.layers[-1].get_weights()[0], before[0])


@pytest.mark.parametrize("shift", [-1.5, 0.0, 0.7])
@pytest.mark.parametrize("stretch", [0.5, 2.0])
def test_a_shift_of_logits_is_found_whatever_their_stretch(shift: float, stretch: float) -> None:
    rng = np.random.default_rng(4)
    true = rng.normal(0.3, 2, 20_000)
    labels = (rng.uniform(size=true.size) < expit(true)).astype(int)
    offset = centring_offset(stretch * (true + shift), labels, np.ones(true.size))
    assert offset == pytest.approx(-stretch * shift, abs=0.1 * stretch)


def test_classes_that_lie_apart_meet_in_the_middle_and_nonsense_moves_nothing() -> None:
    labels, weights = np.repeat([0, 1], 50), np.ones(100)
    apart = np.where(labels, 5.0, -1.0)
    assert centring_offset(apart, labels, weights) == pytest.approx(-2, abs=0.05)
    assert centring_offset(-apart, labels, weights) == 0
    assert centring_offset(np.ones(100), labels, weights) == 0


def test_the_bias_alone_is_centred(model: keras.Model, dataset: ImageDataset, split: Split) -> None:
    rows = split.part("validation")
    weights = np.ones(len(rows), np.float32)
    head.refit_head(model, dataset, split.part("train"), np.ones(len(split.part("train"))))
    kernel, bias = model.layers[-1].get_weights()
    logits = (_features(model, dataset, rows) @ kernel + bias)[:, 0]
    head.centre_head(model, dataset, rows, weights)
    moved = model.layers[-1].get_weights()
    np.testing.assert_array_equal(moved[0], kernel)
    expected = centring_offset(logits, dataset.labels[rows], weights)
    assert moved[1][0] - bias[0] == pytest.approx(expected, abs=1e-4)
