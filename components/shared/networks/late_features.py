"""What a network's last layer decides by: its late features."""

from typing import Any

import keras


def with_late_features(model: keras.Model) -> keras.Model:
    """Makes a model that gives its late features beside its answer, in one pass.

    Args:
        model: From uint8 [n, 150, 150, 3] to P(Healthy), float32 [n, 1]; its last layer is a
            dense one.

    Returns:
        A model of two outputs: P(Healthy), and what the last layer makes it of, [n, k]; of an
        average (see `components.shared.networks.average`) those of all its networks.
    """
    return keras.Model(model.inputs[0], [model.outputs[0], made_from(model.outputs[0])])


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
