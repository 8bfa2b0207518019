"""The reference implementation's network, trained as it trained it."""

import keras
from keras import layers

from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.input_and_answer import answer, images
from components.shared.networks.network import Network
from components.shared.networks.recipe import AS_PUBLISHED

PARAMETERS = 11_243_457
# The values that its search found.
REFERENCE = Hyperparameters("reference", 0.0001, 0.2, 128, augmentation=False)


def reference_cnn(dropout: float = 0.3, dense: int = 128) -> keras.Model:
    """Builds the reference implementation's CNN.

    ReLU stands after the pooling it preceded there: the greatest of four numbers is the same
    before and after a monotonic function, so the outputs are the same and a quarter of the
    activations is computed. Rescaling to 0..1 is the first layer.

    Args:
        dropout: Share of units dropped after each hidden dense layer, 0..1.
        dense: Units of the first dense layer; the second has half as many.

    Returns:
        The model. With the default `dense` it has 11,243,457 parameters, 384 of them not
        trainable.
    """
    return keras.Sequential(
        [
            images(),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, padding="same", name="conv_1"),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Conv2D(64, 3, padding="same", name="conv_2"),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Flatten(),
            *head(dropout, dense),
        ],
        name="reference",
    )


def head(dropout: float, dense: int) -> list[layers.Layer]:
    """Returns the layers behind the flattened maps.

    Args:
        dropout: Share of units dropped after each hidden dense layer, 0..1.
        dense: Units of the first dense layer; the second has half as many.
    """
    return [
        layers.Dense(dense, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(dropout),
        layers.Dense(dense // 2, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(dropout),
        answer(),
    ]


NETWORK = Network(lambda values: reference_cnn(values.dropout, values.dense), AS_PUBLISHED)
