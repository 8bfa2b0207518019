"""What a network sees of an image on the way to its answer: computed for that in any case."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

PLACES = 20  # a side, at least, of the early maps: enough to tell a rim from what is within


class Features(NamedTuple):
    """An answer and what it was made of.

    Attributes:
        probability: P(Healthy), float32 [n, 1].
        late: What the last layer decides by, [n, k]; of an average (see
            `components.shared.networks.average`) that of all its networks.
        early: The last maps of at least 20x20 places, [n, h, w, c]; of an average those of its
            first network.
    """

    probability: tf.Tensor
    late: tf.Tensor
    early: tf.Tensor


def with_features(model: keras.Model) -> keras.Model:
    """Makes a model that gives its features beside its answer, in one pass.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; its last layer is a
            dense one.

    Returns:
        A model whose three outputs are those of `Features`, in this order.
    """
    probability = opened(model).outputs[0]
    late = made_from(probability)
    return keras.Model(model.inputs[0], [probability, late, early_maps(late)])


def early_maps(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the last maps of at least 20x20 places that a tensor was made from.

    Args:
        tensor: Of an opened model, made from its images.
    """
    while len(tensor.shape) != 4 or min(tensor.shape[1:3]) < PLACES:
        node = made_by(tensor)
        if isinstance(node.operation, keras.Model):
            maps: keras.KerasTensor = node.output_tensors[1]
            return maps
        tensor = made_from(tensor)
    return tensor


def made_from(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Returns what a layer made a tensor from, the first of it.

    Args:
        tensor: Of a model.
    """
    first: keras.KerasTensor = made_by(tensor).input_tensors[0]
    return first


def made_by(tensor: keras.KerasTensor) -> Any:
    """Returns the use of a layer that made a tensor; a layer can stand in many models.

    `layer.input` would be of whichever model the layer was first put into.

    Args:
        tensor: Of a model.

    Returns:
        Keras' node, with `operation`, `input_tensors` and `output_tensors`.
    """
    layer, node, _ = tensor._keras_history
    return layer._inbound_nodes[node]


def opened(model: keras.Model) -> keras.Model:
    """Lets the first of the models that are layers of a model give its early maps too.

    The first network of an average is one, and so is a backbone.

    Args:
        model: Whose layers are shared with what is returned.

    Returns:
        A model that answers the same; `model` itself where none of its layers is a model.
    """
    inner = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
    if inner is None:
        return model
    answer = inner.outputs[0]
    telling = keras.Model(inner.inputs, [answer, early_maps(answer)], name=inner.name)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        return telling(*inputs)[0] if layer is inner else layer(*inputs, **options)

    return keras.models.clone_model(
        keras.Model(model.inputs, model.outputs),  # also of a Sequential, which cannot be cloned so
        input_tensors=model.inputs,
        clone_function=lambda layer: layer,  # the same weights
        call_function=call,
    )
