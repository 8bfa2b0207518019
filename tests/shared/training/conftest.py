"""A network of the reference's interface that trains in a moment."""

import keras
import pytest
from keras import layers

from components.shared.images.decode import SHAPE
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.network import Network
from components.shared.networks.table import network


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


def tiny_network(architecture: str) -> Network:
    """Is trained as the network of a name is trained."""
    return Network(build_tiny, network(architecture).recipe)


@pytest.fixture
def tiny() -> Network:
    return tiny_network("reference")
