"""What several networks have in common: the input, and the answer."""

import keras
from keras import layers, ops

from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import INPUT, PROBABILITY


def images() -> keras.KerasTensor:
    """Returns the input, uint8 [n, 150, 150, 3]."""
    return keras.Input(SHAPE, dtype="uint8", name=INPUT)


def grey(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Makes float32 [n, 150, 150, 1] within -1..1 of uint8 [n, 150, 150, 3]."""
    # By slices: a 1x1 convolution of three channels takes longer.
    colours = [ops.cast(colour, "float32") for colour in ops.split(pixels, 3, axis=-1)]
    return layers.Rescaling(1 / 127.5, offset=-1)(layers.Average()(colours))


def unsure_answer() -> layers.Layer:
    """Returns an answer that starts near one half.

    Pretrained features are large; a head that is sure from the start would undo them.
    """
    return answer(keras.initializers.RandomNormal(stddev=0.001))


def answer(initial: str | keras.Initializer = "glorot_uniform") -> layers.Layer:
    """Returns the last layer: P(Healthy), float32 [n, 1].

    It is float32 whatever the policy: a probability rounded to 8 bits is no probability.

    Args:
        initial: Where its weights start.
    """
    return layers.Dense(1, "sigmoid", dtype="float32", kernel_initializer=initial, name=PROBABILITY)
