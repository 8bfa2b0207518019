"""The network. One function an architecture."""

import keras
from keras import layers

from components.images import SHAPE

PARAMETERS = 11_243_457


def reference_cnn(dropout: float = 0.3, dense: int = 128) -> keras.Model:
    """Builds the reference implementation's CNN.

    ReLU stands after the pooling it preceded there: the greatest of four numbers is the same
    before and after a monotonic function, so the outputs are the same and a quarter of the
    activations is computed. Rescaling to 0..1 is the first layer.

    Args:
        dropout: Share of units dropped after each hidden dense layer, 0..1.
        dense: Units of the first dense layer; the second has half as many.

    Returns:
        A model from uint8 [n, 150, 150, 3] to float32 [n, 1], the probability of `Healthy`.
        With the default `dense` it has 11,243,457 parameters, 384 of them not trainable.
    """
    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8", name="images"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, padding="same", name="conv_1"),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Conv2D(64, 3, padding="same", name="conv_2"),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(dense, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
            layers.Dense(dense // 2, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
            # float32 whatever the policy: a probability rounded to 8 bits is no probability.
            layers.Dense(1, activation="sigmoid", dtype="float32", name="probability_healthy"),
        ],
        name="reference",
    )
