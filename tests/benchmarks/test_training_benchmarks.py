"""The benchmarks that train: what they keep to go on with is of the right fold, seed and code."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from benchmarks import ablation, averaging, distillation
from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import SHAPE
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.network import Network
from components.shared.networks.recipe import FOR_UNSEEN


def _small(_: Hyperparameters) -> keras.Model:
    images = keras.Input(SHAPE, dtype="uint8")
    pooled = layers.AveragePooling2D(50)(layers.Rescaling(1 / 255)(images))
    return keras.Model(images, layers.Dense(1, "sigmoid")(layers.Flatten()(pooled)))


def test_another_split_or_seed_is_trained_anew(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    network = Network(_small, FOR_UNSEEN)

    def train(split: Split, seed: int) -> np.ndarray:
        (model,) = averaging.trained(dataset, split, 1, seed, 1, tmp_path, network)
        return np.concatenate([weights.ravel() for weights in model.get_weights()])

    first = train(split, 0)
    assert "epoch" in capsys.readouterr().out
    np.testing.assert_array_equal(train(split, 0), first)
    assert "epoch" not in capsys.readouterr().out  # it was kept
    fewer = split.model_copy(update={"train": split.train[1:]})
    assert not np.array_equal(train(fewer, 0), first)
    assert not np.array_equal(train(split, 1), first)
    assert {path.suffix for path in tmp_path.iterdir()} == {".keras"}


@pytest.mark.parametrize(
    ("module", "option"),
    [(ablation, "--folds"), (averaging, "--fold"), (distillation, "--fold")],
    ids=["ablation", "averaging", "distillation"],
)
@pytest.mark.parametrize("fold", ["0", "6", "one"])
def test_there_are_folds_1_to_5(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, module, option: str, fold: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", option, fold])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 2
    assert option in capsys.readouterr().err
