"""The default network for many models at once; every array has an axis of models in front."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Weights = dict[str, dict[str, Any]]
MIXED = (0, 1, 3)  # blocks after which the statistics of two images may be mixed


def initial(packed: Sequence[np.ndarray], blocks: Sequence[int]) -> Weights:
    """Names the weights of one model.

    Args:
        packed: Of `compact_cnn` with all eleven blocks, in Keras' order.
        blocks: Which of them to keep.

    Returns:
        Kernels and biases by block.
    """
    arrays = iter(packed)
    kernel, bias = next(arrays), next(arrays)
    weights: Weights = {"stem": {"kernel": kernel[:, :, 0].reshape(-1, kernel.shape[-1])}}
    weights["stem"]["bias"] = bias
    for number in range(max(blocks) + 1):
        block = {}
        if number:  # the first block does not expand
            block["expand"], block["expand_bias"] = next(arrays)[0, 0], next(arrays)
        block["within"], block["within_bias"] = next(arrays)[..., 0], next(arrays)
        block["project"], block["project_bias"] = next(arrays)[0, 0], next(arrays)
        if number in blocks:
            weights[f"block_{number}"] = block
    channels = 4 * block["project"].shape[1]
    weights["answer"] = {"kernel": np.zeros((channels, 1), np.float32), "bias": np.zeros(1)}
    return jax.tree.map(lambda array: np.asarray(array, np.float32), weights)


def features(
    weights: Weights,
    images: jax.Array,
    strides: Mapping[int, int],
    mixing: tuple[jax.Array, jax.Array] | None = None,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """Computes what the answer is made of.

    Args:
        weights: As `initial` names them, of [models, ...].
        images: 0..255, [models, batch, height, width].
        strides: Of each block of the whole network, by number.
        mixing: A key, and the probability of mixing statistics, [models]; None mixes none.
        dtype: Of the activations.

    Returns:
        float32 [models, batch, features].
    """
    weights = jax.tree.map(lambda array: array.astype(dtype), weights)
    maps = ((images / 127.5 - 1)[..., None]).astype(dtype)
    patches = jnp.concatenate([tap for _, _, tap in _taps(maps, 5, 3)], axis=-1)
    maps = _pointwise(patches, weights["stem"]["kernel"], weights["stem"]["bias"], relu=True)
    for number, stride in strides.items():
        if f"block_{number}" not in weights:
            continue
        block, before = weights[f"block_{number}"], maps
        if "expand" in block:
            maps = _pointwise(maps, block["expand"], block["expand_bias"], relu=True)
        kernel = block["within"]
        summed = sum(
            tap * kernel[:, None, None, None, row, column]
            for row, column, tap in _taps(maps, kernel.shape[1], stride)
        )
        maps = jnp.clip(summed + block["within_bias"][:, None, None, None], 0, 6)
        maps = _pointwise(maps, block["project"], block["project_bias"])
        if maps.shape == before.shape:  # all of a stage but its first
            maps = before + maps
        if mixing and number in MIXED:
            key, probability = mixing
            maps = _statistics_mixed(maps, jax.random.fold_in(key, number), probability)
            maps = maps.astype(dtype)
    maps = maps.astype(jnp.float32)
    both = jnp.concatenate([maps, jnp.abs(maps - maps[:, :, :, ::-1])], axis=-1)
    return jnp.concatenate([both.mean(axis=(2, 3)), both.max(axis=(2, 3))], axis=-1)


def logits(weights: Weights, found: jax.Array) -> jax.Array:
    """Returns the logit of P(Healthy) of features, [models, batch]."""
    kernel, bias = weights["answer"]["kernel"], weights["answer"]["bias"]
    return jnp.einsum("mbc,mcd->mbd", found, kernel)[..., 0] + bias


def _pointwise(
    maps: jax.Array, kernel: jax.Array, bias: jax.Array, relu: bool = False
) -> jax.Array:
    result = jnp.einsum("mbhwc,mcd->mbhwd", maps, kernel) + bias[:, None, None, None]
    return jnp.clip(result, 0, 6) if relu else result


def _taps(maps: jax.Array, size: int, stride: int) -> Iterator[tuple[int, int, jax.Array]]:
    """Yields each place of a kernel and what it is multiplied with, padded as Keras' `same`."""
    height, width = (math.ceil(length / stride) for length in maps.shape[2:4])

    def padding(length: int) -> tuple[int, int]:
        total = max((math.ceil(length / stride) - 1) * stride + size - length, 0)
        return total // 2, total - total // 2

    around = ((0, 0), (0, 0), padding(maps.shape[2]), padding(maps.shape[3]), (0, 0))
    maps = jnp.pad(maps, around)
    for row in range(size):
        for column in range(size):
            rows = slice(row, row + (height - 1) * stride + 1, stride)
            columns = slice(column, column + (width - 1) * stride + 1, stride)
            yield row, column, maps[:, :, rows, columns]


def _statistics_mixed(maps: jax.Array, key: jax.Array, probability: jax.Array) -> jax.Array:
    """Moves the statistics of some batches' images towards another's (MixStyle)."""
    models, batch = maps.shape[:2]
    whether, share_key = jax.random.split(key)
    mean = jax.lax.stop_gradient(maps.mean(axis=(2, 3), keepdims=True))
    spread = jax.lax.stop_gradient(
        jnp.sqrt(maps.var(axis=(2, 3), keepdims=True) + 1e-5)  # so that none is divided by 0
    )
    share = jax.random.beta(share_key, 0.1, 0.1, (models, batch, 1, 1, 1))
    drawn = jax.random.uniform(whether, (models, 1, 1, 1, 1))
    on = drawn < probability[:, None, None, None, None]
    share = jnp.where(on, jnp.maximum(share, 1 - share), 1)
    other_mean, other_spread = jnp.roll(mean, 7, axis=1), jnp.roll(spread, 7, axis=1)
    wanted_spread = share * spread + (1 - share) * other_spread
    return (maps - mean) / spread * wanted_spread + share * mean + (1 - share) * other_mean
