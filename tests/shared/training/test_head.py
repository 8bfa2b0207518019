"""The last layer that is fitted again."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import expit

from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import SHAPE
from components.shared.training import head
from components.shared.training.penalized import PENALTY


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
