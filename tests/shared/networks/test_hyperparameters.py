"""What a training is told, handed on whole."""

from dataclasses import replace
from typing import Any

import pytest

from components.shared.errors import UserError
from components.shared.networks.hyperparameters import Hyperparameters, Training

TRAINING = Training(network=Hyperparameters("reference", dense=64), epochs=5, patience=2)


def test_its_settings_are_every_value_by_name() -> None:
    assert TRAINING.settings == {
        "architecture": "reference",
        "learning_rate": 0.00025,
        "dropout": 0.3,
        "dense": 64,
        "augmentation": True,
        "pretrained_weights": "",
        "ensemble": 1,
        "mirror": False,
        "epochs": 5,
        "patience": 2,
        "batch_size": 32,
        "seed": 0,
    }


def test_nothing_is_told_by_position() -> None:
    told: Any = Training
    with pytest.raises(TypeError, match="positional"):
        told(Hyperparameters(), 16, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": -3}, "epochs is -3: give at least 1"),
        ({"ensemble": -1}, "ensemble is -1: give at least 1"),
        ({"patience": -9}, "patience is -9: give at least 0"),
        ({"batch_size": 0}, "batch_size is 0: give at least 1"),
    ],
    ids=str,
)
def test_a_number_that_trains_nothing(changed: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        replace(TRAINING, **changed)
