"""Operations of TensorFlow that OpenVINO cannot read by itself, or reads as something slow.

Versions that were registered while heat maps were made of gradients have two of gradients in their
graphs, which are about shapes alone. TensorFlow's documentation of the raw operations says what
they do.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from openvino.frontend import NodeContext


def _broadcast_gradient_args(node: "NodeContext") -> list[Any]:
    """Returns over which axes the gradients of two broadcast operands are summed.

    These are the axes where an operand has a length of 1. An axis where both have it is summed
    too, which changes nothing.
    """
    from openvino import opset13 as op

    shapes = [op.convert(node.get_input(i), "i64") for i in range(2)]
    lengths = [op.squeeze(op.shape_of(shape), _vector(0)) for shape in shapes]
    rank = op.maximum(*lengths)
    axes = []
    for shape, length in zip(shapes, lengths, strict=True):
        missing = op.unsqueeze(op.subtract(rank, length), _scalar(0))
        padded = op.concat([op.broadcast(_scalar(1), missing), shape], 0)
        ones = op.squeeze(op.non_zero(op.equal(padded, _scalar(1))), _vector(0))
        axes.append(op.convert(ones, "i32").output(0))
    return axes


def _concat_offset(node: "NodeContext") -> list[Any]:
    """Returns where each operand of a concatenation begins in the result."""
    from openvino import opset13 as op

    shapes = [op.convert(node.get_input(i), "i64") for i in range(1, node.get_input_size())]
    rank = op.squeeze(op.shape_of(shapes[0]), _vector(0))
    axis = op.mod(op.add(op.convert(node.get_input(0), "i64"), rank), rank)  # -1 is the last
    along = op.convert(op.equal(op.range(_scalar(0), rank, _scalar(1), "i64"), axis), "i64")
    begin = op.multiply(along, _scalar(0))
    offsets = []
    for shape in shapes:
        offsets.append(op.convert(begin, "i32").output(0))
        begin = op.add(begin, op.multiply(shape, along))
    return offsets


def _reverse(node: "NodeContext") -> list[Any]:
    """Returns a tensor with some axes reversed.

    OpenVINO's own reading is an operation for sequences, which takes a twentieth of an answer.
    """
    from openvino import opset13 as op

    axes = op.convert(node.get_input(1), "i64")
    each = op.shape_of(axes)
    last, before_first = (op.broadcast(_scalar(end), each) for end in (-1, np.iinfo(np.int64).min))
    return [op.slice(node.get_input(0), last, before_first, last, axes).output(0)]


def _scalar(value: int) -> Any:
    from openvino import opset13 as op

    return op.constant(np.array(value, np.int64))


def _vector(*values: int) -> Any:
    from openvino import opset13 as op

    return op.constant(np.array(values, np.int64))


CONVERSIONS: dict[str, Callable[["NodeContext"], list[Any]]] = {
    "BroadcastGradientArgs": _broadcast_gradient_args,
    "ConcatOffset": _concat_offset,
    "ReverseV2": _reverse,
}
