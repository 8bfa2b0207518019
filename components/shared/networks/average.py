"""Several answers averaged into one: of networks, and of an image and its mirror image."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from components.shared.model_folder.contract import PROBABILITY

_MEMBER = "member"


def averaged(members: Sequence[keras.Model], mirrored: bool = False) -> keras.Model:
    """Makes one model whose logit is the mean of others' logits.

    A head is linear up to its sigmoid, so the mean of its answers is its answer to the mean, and
    the heads of several networks are one wide head: what comes out is a model like any other, that
    is calibrated, exported and served as such.

    Args:
        members: Each from uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; its last layer is a
            dense one with a sigmoid.
        mirrored: Whether each is asked about the mirror image as well.

    Returns:
        A model of the same kind; the single member itself where there is nothing to average.
    """
    if len(members) == 1 and not mirrored:
        return members[0]
    images = keras.Input(members[0].input_shape[1:], dtype="uint8", name="images")
    features = []
    for number, member in enumerate(members):
        features_of = keras.Model(
            member.inputs[0], member.layers[-1].input, name=f"{_MEMBER}_{number}"
        )
        found = features_of(images)
        if mirrored:
            found = layers.Average()([found, features_of(ops.flip(images, axis=2))])
        features.append(found)
    everything = layers.Concatenate()(features) if len(features) > 1 else features[0]
    head = layers.Dense(1, activation="sigmoid", dtype="float32", name=PROBABILITY)
    model = keras.Model(images, head(everything), name=members[0].name)
    weights = [member.layers[-1].get_weights() for member in members]
    kernel = ops.concatenate([kernel for kernel, _ in weights]) / len(members)
    head.set_weights([kernel, sum(bias for _, bias in weights) / len(members)])
    return model


def first_member(model: keras.Model) -> keras.Model:
    """Returns the first network of an average, asked plainly; any other model as it is.

    Args:
        model: As `averaged` makes it, or any other.
    """
    parts = [layer for layer in model.layers if layer.name == f"{_MEMBER}_0"]
    if not parts:
        return model
    (features_of,) = parts
    head = layers.Dense(1, activation="sigmoid", dtype="float32")
    plain = keras.Model(features_of.inputs, head(features_of.outputs[0]), name=model.name)
    kernel, bias = model.layers[-1].get_weights()
    head.set_weights([kernel[: features_of.output_shape[-1]], bias])
    return plain


def first_weights(model: keras.Model) -> list[np.ndarray]:
    """Returns the weights of the first network of an average, or those of any other model.

    Args:
        model: As `averaged` makes it, or any other.

    Returns:
        All arrays, in the order of the network as it is built: its logits are those of the network
        alone, but for the bias, which is the mean.
    """
    members = sum(layer.name.startswith(f"{_MEMBER}_") for layer in model.layers)
    *others, kernel, bias = first_member(model).get_weights()
    return [*others, kernel * max(1, members), bias]
