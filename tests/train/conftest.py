"""A network of the reference's interface that trains in a moment."""

import keras
import pytest
from keras import layers

from components.hyperparameters import Hyperparameters
from components.images import SHAPE


def tiny_cnn(dropout: float = 0.3, dense: int = 128) -> keras.Model:
    """Has every kind of layer whose state a resumed run must find again."""
    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.AveragePooling2D(10),
            layers.Conv2D(4, 3, padding="same"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(dense // 16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
            layers.Dense(1, activation="sigmoid", dtype="float32"),
        ],
        name="tiny",
    )


def build_tiny(values: Hyperparameters) -> keras.Model:
    return tiny_cnn(values.dropout, values.dense)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.train.fit.build", build_tiny)
