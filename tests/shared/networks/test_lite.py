"""ImageNet's weights, as they are used, compute what was published with them."""

import io
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from components.shared.errors import UserError
from components.shared.networks import lite as carried
from components.shared.networks.lite import EVERY_BLOCK, LITE0, Lite, lite

RNG = np.random.default_rng(11)


def _network(blocks: Collection[int], **how: Any) -> keras.Model:
    grey = keras.Input((150, 150, 1))
    return keras.Model(grey, lite(grey, blocks, **how))


def test_the_reduced_stem_is_a_reduction_and_the_published_stem() -> None:
    weights = carried._read_weights(LITE0)
    # Smooth in one direction and not in the other.
    grey = np.cumsum(RNG.normal(size=(1, 150, 150, 1)), axis=1).astype(np.float32)
    grey /= np.abs(grey).max()
    # The joined kernel begins a pixel before the published one would.
    later = np.pad(grey, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
    reduced = ops.image.resize(np.repeat(grey, 3, axis=-1), (100, 100), interpolation="bilinear")
    published = ops.conv(
        reduced, weights["_conv_stem.weight"].transpose(2, 3, 1, 0), strides=2, padding="same"
    )
    stem = layers.BatchNormalization(epsilon=1e-3)
    stem.build(published.shape)
    stem.set_weights(
        [weights[f"_bn0.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    )
    expected = ops.relu6(stem(published))
    network = _network([0], reduced=True)
    found = keras.Model(network.inputs[0], network.layers[1].output)(later)
    assert found.shape == (1, 50, 50, 32)
    inside = np.s_[:, 1:-1, 1:-1]
    np.testing.assert_allclose(np.asarray(found)[inside], np.asarray(expected)[inside], atol=1e-4)


def test_every_block_is_as_published() -> None:
    network = _network(EVERY_BLOCK)
    assert network.output_shape == (None, 5, 5, 1280)
    weights = {name: w for name, w in carried._read_weights(LITE0).items() if "fc" not in name}
    kernels = [weight for weight in weights.values() if weight.ndim == 4]
    biases = [weight for name, weight in weights.items() if name.endswith("running_mean")]
    assert len(kernels) == len(biases) == 49
    two_colours = weights["_conv_stem.weight"].size * 2 // 3  # added to the third
    everything = sum(weight.size for weight in (*kernels, *biases))
    assert network.count_params() == everything - two_colours


def test_a_block_computes_what_its_parts_with_normalizations_compute() -> None:
    weights = carried._read_weights(LITE0)
    network = _network([0, 1, 2])
    (add,) = [layer for layer in network.layers if isinstance(layer, layers.Add)]
    inputs = keras.Model(network.inputs[0], add.input)
    grey = RNG.uniform(-1, 1, (2, 150, 150, 1)).astype(np.float32)
    before, residual = (np.asarray(part) for part in inputs(grey))

    def normalized(maps: np.ndarray, name: str) -> np.ndarray:
        scale, shift, mean, variance = (
            weights[f"_blocks.2.{name}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (maps - mean) / np.sqrt(variance + 1e-3) * scale + shift

    def kernel(name: str) -> np.ndarray:
        return weights[f"_blocks.2.{name}.weight"]

    maps = before @ kernel("_expand_conv")[:, :, 0, 0].T
    maps = np.clip(normalized(maps, "_bn0"), 0, 6)
    within = kernel("_depthwise_conv").transpose(2, 3, 0, 1)
    maps = np.asarray(ops.depthwise_conv(maps.astype(np.float32), within, padding="same"))
    maps = np.clip(normalized(maps, "_bn1"), 0, 6)
    maps = normalized(maps @ kernel("_project_conv")[:, :, 0, 0].T, "_bn2")
    np.testing.assert_allclose(residual, maps, atol=1e-3)


def test_blocks_that_only_add_can_be_left_out() -> None:
    network = _network((0, 1, 3, 5, 6, 8, 9), reduced=True)
    assert network.output_shape == (None, 7, 7, 112)
    assert network.trainable_weights == network.weights


def test_larger_ones_have_the_published_channels_and_repeats() -> None:
    lite2 = Lite("", "", "", width=1.1, depth=1.2)
    stages = [(16, 1), (24, 3), (48, 3), (88, 4), (120, 4), (208, 5), (352, 1)]
    expected = [channels for channels, repeats in stages for _ in range(repeats)]
    assert [block.channels for block in lite2.blocks] == expected


def test_what_is_frozen_is_not_trained() -> None:
    network = _network([0, 1, 3], frozen=1)
    kept = [layer for layer in network.layers if layer.weights and not layer.trainable]
    assert len(kept) == 3  # the stem, and block 0, which does not expand
    assert len(network.trainable_weights) == 2 * 6


def test_without_the_package_it_says_what_to_install() -> None:
    missing = LITE0._replace(package="no_such_package")
    with pytest.raises(UserError, match=r"install no-such-package 0\.1\.0") as error:
        _network([0], of=missing)
    assert "\n" not in str(error.value)


def test_other_weights_are_refused_unread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / LITE0.file).write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    monkeypatch.setattr(carried.resources, "files", lambda package: tmp_path)
    with pytest.raises(UserError, match="has changed; install"):
        _network([0])


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load"])
def test_a_pickle_runs_nothing(name: str) -> None:
    module, function = name.rsplit(".", 1)
    hostile = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    with pytest.raises(pickle.UnpicklingError, match=f"{name} has no place"):
        carried._Unpickler(io.BytesIO(hostile)).load()
