"""The networks. One function an architecture, and the table that names them."""

from collections.abc import Callable, Collection

import keras
from keras import layers, ops

from components.efficientnet import EVERY_BLOCK, lite0
from components.errors import UserError
from components.hyperparameters import Hyperparameters
from components.images import SHAPE
from components.model_folder.contract import PROBABILITY

REFERENCE_PARAMETERS = 11_243_457
COMPACT_BLOCKS = (0, 1, 3, 5, 6, 8, 9)


def build(values: Hyperparameters) -> keras.Model:
    """Builds the network that some hyperparameters name.

    Args:
        values: Architecture, dropout, dense and pretrained weights are used.

    Returns:
        A model from uint8 [n, 150, 150, 3] to float32 [n, 1], the probability of `Healthy`; its
        last layer is a dense one with a sigmoid, and its name the architecture's.

    Raises:
        UserError: There is no such architecture, or its pretrained weights cannot be had.
    """
    if values.architecture not in ARCHITECTURES:
        raise UserError(
            f"'{values.architecture}' is no architecture; give one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[values.architecture](values)


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
            _images(),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, padding="same", name="conv_1"),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Conv2D(64, 3, padding="same", name="conv_2"),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Flatten(),
            *_reference_head(dropout, dense),
        ],
        name="reference",
    )


def compact_cnn(dropout: float = 0.3, blocks: Collection[int] = COMPACT_BLOCKS) -> keras.Model:
    """Builds a CNN of 0.4 M parameters for images it has not seen.

    Its trunk is seven of the first eleven blocks of EfficientNet-Lite0 with ImageNet's weights,
    down to maps of 7x7 places. It looks at grey: colour is of the file and not of the brain. The
    mean and the greatest activation of each channel decide, and how unlike they are to those
    mirrored: a healthy brain's halves are much alike.

    Args:
        dropout: Share of the pooled channels dropped, 0..1.
        blocks: Of EfficientNet-Lite0's, by number from 0.

    Returns:
        The model.

    Raises:
        UserError: The package that carries ImageNet's weights is missing or changed.
    """
    images = _images()
    maps = lite0(_grey(images), blocks, reduced=True)
    unlike = ops.absolute(ops.subtract(maps, ops.flip(maps, axis=2)))
    both = layers.Concatenate()([maps, unlike])
    pooled = [layers.GlobalAveragePooling2D()(both), layers.GlobalMaxPooling2D()(both)]
    features = layers.Dropout(dropout)(layers.Concatenate()(pooled))
    return keras.Model(images, _unsure_answer()(features), name="compact")


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
    images = _images()
    maps = lite0(_grey(images), EVERY_BLOCK, frozen=5)
    features = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(images, _unsure_answer()(features), name="efficientnet")


def xception(dropout: float, dense: int, pretrained_weights: str) -> keras.Model:
    """Builds the ImageNet Xception, frozen, under the reference's head.

    Args:
        dropout: Share of units dropped after each hidden dense layer, 0..1.
        dense: Units of the first dense layer; the second has half as many.
        pretrained_weights: Weights file of `keras.applications.Xception(include_top=False)`;
            empty to get it from keras.applications.

    Returns:
        The model.

    Raises:
        UserError: The weights cannot be had, or are another network's.
    """
    try:
        backbone = keras.applications.Xception(
            include_top=False, weights=None if pretrained_weights else "imagenet", input_shape=SHAPE
        )
        if pretrained_weights:
            backbone.load_weights(pretrained_weights)
    except Exception as error:  # h5py, Keras and the network each have errors of their own
        reason = (str(error).strip().split("\n", 1)[0] or type(error).__name__).rstrip(".")
        where = pretrained_weights or "keras.applications"
        raise UserError(
            f"xception: cannot get ImageNet weights from {where}: {reason}; give "
            "pretrained_weights the file of Xception's weights without top"
        ) from error
    backbone.trainable = False
    return keras.Sequential(
        [
            _images(),
            layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            layers.Flatten(),
            *_reference_head(dropout, dense),
        ],
        name="xception",
    )


ARCHITECTURES: dict[str, Callable[[Hyperparameters], keras.Model]] = {
    "compact": lambda values: compact_cnn(values.dropout),
    "efficientnet": lambda values: efficientnet(values.dropout),
    "reference": lambda values: reference_cnn(values.dropout, values.dense),
    "xception": lambda values: xception(values.dropout, values.dense, values.pretrained_weights),
}


def _images() -> keras.KerasTensor:
    return keras.Input(SHAPE, dtype="uint8", name="images")


def _grey(images: keras.KerasTensor) -> keras.KerasTensor:
    """Makes float32 [n, 150, 150, 1] within -1..1 of images."""
    # By slices: a 1x1 convolution of three channels takes longer.
    colours = [ops.cast(colour, "float32") for colour in ops.split(images, 3, axis=-1)]
    return layers.Rescaling(1 / 127.5, offset=-1)(layers.Average()(colours))


def _reference_head(dropout: float, dense: int) -> list[layers.Layer]:
    return [
        layers.Dense(dense, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(dropout),
        layers.Dense(dense // 2, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(dropout),
        _answer(),
    ]


def _unsure_answer() -> layers.Layer:
    # Pretrained features are large; a head that is sure from the start would undo them.
    return _answer(keras.initializers.RandomNormal(stddev=0.001))


def _answer(initial: str | keras.Initializer = "glorot_uniform") -> layers.Layer:
    # float32 whatever the policy: a probability rounded to 8 bits is no probability.
    return layers.Dense(1, "sigmoid", dtype="float32", kernel_initializer=initial, name=PROBABILITY)
