"""Gradients of a network's head, written out: a forward graph that any runtime can run."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from components.shared.networks.features import made_by

# What a layer read, what it gave, and the gradient of the latter -> the gradients of the former.
_Rule = Callable[[Any, Sequence[Any], Any, Any], Sequence[Any]]


def gradient(
    maps: keras.KerasTensor, decisive: keras.KerasTensor
) -> Callable[[Any], tuple[Any, Callable[[Any], Any]]]:
    """Makes a function that answers with a tensor and with what gives its gradients.

    Args:
        maps: Where the gradients are wanted.
        decisive: What is computed from them, float [n, c].

    Returns:
        A function from the values of `maps` to those of `decisive`, and to a function from the
        gradient of something by `decisive`, float32 [n, c], to its gradient by `maps`.

    Raises:
        NotImplementedError: A layer between the two has no rule here.
    """
    nodes = _nodes_between(maps, decisive)
    for node in nodes:
        _check_has_rule(node.operation)
    tensors = [maps, *(node.output_tensors[0] for node in nodes)]
    values_of = keras.Model(maps, tensors[1:])

    def answer(features: Any) -> tuple[Any, Callable[[Any], Any]]:
        found = [features, *keras.tree.flatten(values_of(features, training=False))]
        values = {id(t): ops.cast(v, "float32") for t, v in zip(tensors, found, strict=True)}

        def back(upstream: Any) -> Any:
            gradients = {id(decisive): upstream}
            for node in reversed(nodes):
                read = [values[id(tensor)] for tensor in node.input_tensors]
                given = node.output_tensors[0]
                rule = _RULES[type(node.operation)]
                parts = rule(node.operation, read, values[id(given)], gradients[id(given)])
                for tensor, part in zip(node.input_tensors, parts, strict=True):
                    before = gradients.get(id(tensor))
                    gradients[id(tensor)] = part if before is None else before + part
            return gradients[id(maps)]

        return values[id(decisive)], back

    return answer


def _check_has_rule(layer: Any) -> None:
    name = type(layer).__name__
    if isinstance(layer, layers.Dense) and layer.activation not in _ACTIVATIONS:
        name += f" of {layer.activation.__name__}"
    elif type(layer) in _RULES:
        return
    raise NotImplementedError(
        f"{name} in the head of a network has no gradient in {__name__}: write its rule there"
    )


def _nodes_between(start: keras.KerasTensor, end: keras.KerasTensor) -> list[Any]:
    """Returns the uses of layers that make one tensor from another, in the order of computing."""
    found: list[Any] = []
    seen = {id(start)}

    def visit(tensor: keras.KerasTensor) -> None:
        if id(tensor) in seen:
            return
        seen.add(id(tensor))
        node = made_by(tensor)
        for before in node.input_tensors:
            visit(before)
        found.append(node)

    visit(end)
    return found


def _average_pooling(layer: Any, read: Sequence[Any], given: Any, upstream: Any) -> Sequence[Any]:
    _, height, width, _ = read[0].shape
    return [ops.ones_like(read[0]) * (upstream / (height * width))[:, None, None, :]]


def _max_pooling(layer: Any, read: Sequence[Any], given: Any, upstream: Any) -> Sequence[Any]:
    greatest = ops.cast(ops.equal(read[0], given[:, None, None, :]), "float32")
    share = upstream / ops.sum(greatest, axis=(1, 2))  # several may be the greatest
    return [greatest * share[:, None, None, :]]


def _concatenate(layer: Any, read: Sequence[Any], given: Any, upstream: Any) -> Sequence[Any]:
    ends, place = [], 0
    for part in read[:-1]:
        place += part.shape[-1]
        ends.append(place)
    return ops.split(upstream, ends, axis=-1)


def _dense(layer: Any, read: Sequence[Any], given: Any, upstream: Any) -> Sequence[Any]:
    if layer.activation is keras.activations.relu:
        upstream = upstream * ops.cast(given > 0, "float32")
    return [upstream @ ops.transpose(ops.cast(layer.kernel, "float32"))]


def _batch_normalization(
    layer: Any, read: Sequence[Any], given: Any, upstream: Any
) -> Sequence[Any]:
    return [upstream * layer.gamma * ops.rsqrt(layer.moving_variance + layer.epsilon)]


_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)
_RULES: dict[type, _Rule] = {
    layers.GlobalAveragePooling2D: _average_pooling,
    layers.GlobalMaxPooling2D: _max_pooling,
    layers.Concatenate: _concatenate,
    layers.Dense: _dense,
    layers.BatchNormalization: _batch_normalization,
    layers.Dropout: lambda layer, read, given, upstream: [upstream],
    layers.Flatten: lambda layer, read, given, upstream: [
        ops.reshape(upstream, (-1, *read[0].shape[1:]))
    ],
}
