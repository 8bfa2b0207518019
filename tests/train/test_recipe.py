"""The reference trains as it was published; the rest for unseen images."""

from typing import get_args

import pytest

from components.hyperparameters import REFERENCE, Architecture, Hyperparameters
from components.train.optimizer import FusedAdam
from components.train.recipe import AS_PUBLISHED, FOR_UNSEEN, recipe_of


def test_which_architecture_is_trained_how() -> None:
    published = {name for name in get_args(Architecture) if recipe_of(name) is AS_PUBLISHED}
    assert published == {"reference", "xception"}
    assert recipe_of("compact") is recipe_of("a fourth") is FOR_UNSEEN


def test_the_reference_keeps_its_learning_rate() -> None:
    optimizer = AS_PUBLISHED.optimizer(REFERENCE, epochs=10, steps=7)
    assert type(optimizer) is FusedAdam
    assert float(optimizer.learning_rate) == pytest.approx(REFERENCE.learning_rate)


@pytest.mark.parametrize("epochs", [1, 2, 8, 60])
def test_the_rate_rises_and_falls_whatever_the_length(epochs: int) -> None:
    steps = 11
    values = Hyperparameters(learning_rate=0.002)
    schedule = FOR_UNSEEN.optimizer(values, epochs, steps)._learning_rate
    rates = [float(schedule(step)) for step in range(epochs * steps + 1)]
    peak = max(rates)
    assert peak == pytest.approx(0.002, rel=0.05)
    assert rates[0] == pytest.approx(0.0001)
    assert rates[-1] == pytest.approx(0.00001)
    top = rates.index(peak)
    assert 0 < top <= max(2, epochs / 5) * steps
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
