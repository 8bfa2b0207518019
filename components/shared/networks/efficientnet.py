"""The whole EfficientNet-Lite0, for images that it has not seen."""

import keras
from keras import layers

from components.shared.networks.input_and_answer import grey, images, unsure_answer
from components.shared.networks.lite import EVERY_BLOCK, lite
from components.shared.networks.network import Network
from components.shared.networks.recipe import FOR_UNSEEN


def efficientnet(dropout: float = 0.3) -> keras.Model:
    """Builds the whole EfficientNet-Lite0 with ImageNet's weights, for grey images in full size.

    Its first five blocks keep their weights.

    Args:
        dropout: Share of the pooled channels dropped, 0..1.

    Returns:
        The model, of 3.4 M parameters.

    Raises:
        UserError: The package that carries ImageNet's weights is missing or changed.
    """
    pixels = images()
    maps = lite(grey(pixels), EVERY_BLOCK, frozen=5)
    features = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(pixels, unsure_answer()(features), name="efficientnet")


NETWORK = Network(lambda values: efficientnet(values.dropout), FOR_UNSEEN)
