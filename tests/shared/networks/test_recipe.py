"""The reference trains as it was published; the rest for unseen images."""

from dataclasses import fields, replace
from typing import get_args

import keras
import pytest

from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.optimizer import FusedAdam
from components.shared.networks.recipe import AS_PUBLISHED, FOR_UNSEEN
from components.shared.networks.reference import REFERENCE
from components.shared.networks.table import Architecture, network


def test_which_architecture_is_trained_how() -> None:
    published = {name for name in get_args(Architecture) if network(name).recipe is AS_PUBLISHED}
    assert published == {"reference", "xception"}
    assert all(network(name).recipe is FOR_UNSEEN for name in ("compact", "efficientnet"))


def test_the_reference_keeps_its_learning_rate() -> None:
    optimizer = AS_PUBLISHED.optimizer(REFERENCE, epochs=10, steps=7)
    assert type(optimizer) is FusedAdam
    assert float(optimizer.learning_rate) == pytest.approx(REFERENCE.learning_rate)


@pytest.mark.parametrize("epochs", [1, 2, 8, 60])
def test_the_rate_rises_and_falls_whatever_the_length(epochs: int) -> None:
    steps = 11
    values = Hyperparameters(learning_rate=0.002)
    falling = replace(FOR_UNSEEN, warm_up=1)
    schedule = falling.optimizer(values, epochs, steps)._learning_rate
    rates = [float(schedule(step)) for step in range(epochs * steps + 1)]
    peak = max(rates)
    assert peak == pytest.approx(0.002, rel=0.05)
    assert rates[0] == pytest.approx(0.0001)
    assert rates[-1] == pytest.approx(0.00001)
    top = rates.index(peak)
    assert 0 < top <= max(2, epochs / 5) * steps
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_decay_and_schedule_are_two_things() -> None:
    values = Hyperparameters()
    constant = FOR_UNSEEN.optimizer(values, 10, 7)
    assert isinstance(constant, keras.optimizers.AdamW)
    assert float(constant.learning_rate) == pytest.approx(values.learning_rate)
    plain = replace(FOR_UNSEEN, weight_decay=0.0, warm_up=1).optimizer(values, 10, 7)
    assert type(plain) is FusedAdam
    assert isinstance(plain._learning_rate, keras.optimizers.schedules.CosineDecay)
    assert constant.global_clipnorm == plain.global_clipnorm == FOR_UNSEEN.clip_norm > 0
    assert AS_PUBLISHED.optimizer(REFERENCE, 10, 7).global_clipnorm is None


@pytest.mark.parametrize("name", get_args(Architecture))
def test_what_is_searched_is_a_hyperparameter(name: str) -> None:
    space = network(name).recipe.space
    assert set(space) < {field.name for field in fields(Hyperparameters)}
    assert "learning_rate" in space
    assert all(len(set(choices)) == len(choices) > 1 for choices in space.values())
