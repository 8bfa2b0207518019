"""The default: a small network, most of it pretrained, for images that it has not seen."""

from collections.abc import Collection

import keras
from keras import layers, ops

from components.shared.networks.input_and_answer import grey, images, unsure_answer
from components.shared.networks.lite import LITE0, Lite, lite
from components.shared.networks.network import Network
from components.shared.networks.recipe import FOR_UNSEEN

BLOCKS = range(11)


def compact_cnn(
    dropout: float = 0.3, blocks: Collection[int] = BLOCKS, of: Lite = LITE0
) -> keras.Model:
    """Builds a CNN of 0.7 M parameters for images it has not seen.

    Its trunk is the first eleven blocks of EfficientNet-Lite0 with ImageNet's weights, down to maps
    of 7x7 places. It looks at grey: colour is of the file and not of the brain. The mean and the
    greatest activation of each channel decide, and how unlike they are to those mirrored: a healthy
    brain's halves are much alike.

    Args:
        dropout: Share of the pooled channels dropped, 0..1.
        blocks: Of the EfficientNet-Lite's, by number from 0.
        of: Which EfficientNet-Lite.

    Returns:
        The model.

    Raises:
        UserError: The package that carries ImageNet's weights is missing or changed.
    """
    pixels = images()
    maps = lite(grey(pixels), blocks, reduced=True, of=of)
    unlike = ops.absolute(ops.subtract(maps, ops.flip(maps, axis=2)))
    both = layers.Concatenate()([maps, unlike])
    pooled = [layers.GlobalAveragePooling2D()(both), layers.GlobalMaxPooling2D()(both)]
    features = layers.Dropout(dropout)(layers.Concatenate()(pooled))
    return keras.Model(pixels, unsure_answer()(features), name="compact")


NETWORK = Network(lambda values: compact_cnn(values.dropout), FOR_UNSEEN)
