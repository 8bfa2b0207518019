"""Batch normalization, once trained, is a scale and a shift that a convolution can do itself."""

from typing import Any

import keras
import numpy as np
from keras import layers


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model of the same answers without the normalizations that follow a convolution.

    Args:
        model: Trained. It stays as it is.

    Returns:
        A model of the same layers, but for the normalizations; each convolution before one got a
        bias. It cannot be trained on as the given one could. The given one where there is none.
    """
    normalized = {
        layer.input._keras_history.operation.name: layer
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization) and _follows_convolution(layer)
    }
    if not normalized:
        return model
    # A Sequential model would be cloned as one, without asking `call`.
    graph = keras.Model(model.inputs, model.outputs, name=model.name)
    dropped = {layer.name for layer in normalized.values()}

    def clone(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        if layer.name in normalized:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: layers.Layer, *inputs: Any, **arguments: Any) -> Any:
        return inputs[0] if layer.name in dropped else layer(*inputs, **arguments)

    folded = keras.models.clone_model(graph, clone_function=clone, call_function=call)
    for layer in (layer for layer in folded.layers if layer.weights):
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in normalized:
            weights = _scaled(weights, normalized[layer.name])
        layer.set_weights(weights)
    return folded


def _follows_convolution(layer: layers.Layer) -> bool:
    before = layer.input._keras_history.operation
    return (
        type(before) is layers.Conv2D
        and before.activation is keras.activations.linear
        and len(before._outbound_nodes) == 1
    )


def _scaled(weights: list[np.ndarray], norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Returns kernel and bias of a convolution that does what its normalization did."""
    kernel, bias = weights if len(weights) == 2 else (weights[0], 0.0)
    gamma, beta, mean, variance = (weight.astype(np.float64) for weight in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)  # [channels], the kernel's last axis
    return [kernel * scale, (bias - mean) * scale + beta]
