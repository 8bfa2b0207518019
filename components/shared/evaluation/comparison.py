"""Whether the model beats a floor, said plainly."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from components.shared.evaluation.metrics import MEASURES, Interval, Scores
from components.shared.evaluation.predictors import FLOORS, MODEL, Compared

_COUNTS = {8: "eight", 9: "nine", 10: "ten"}
_COUNT = _COUNTS.get(len(MEASURES), str(len(MEASURES)))


class Lead(NamedTuple):
    """How far the model is ahead of a floor in one measure; positive where it is better."""

    floor: str
    measure: str
    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """How far one predictor is ahead of another in a measure; positive where it is better."""

    measure: str
    value: float
    low: float
    high: float


def differences(
    one: Mapping[str, Interval], other: Mapping[str, Interval], samples: np.ndarray
) -> list[Difference]:
    """Compares two predictors on the same images, in the measures that both have.

    Args:
        one: Measures by name.
        other: The other's.
        samples: The first's resamples less the other's on the same draws, float64 [b, measures].

    Returns:
        A difference for each measure, with the 95% interval of the paired difference.
    """
    found = []
    drawn = np.percentile(samples, [2.5, 97.5], axis=0)
    for (name, measure), (low, high) in zip(MEASURES.items(), drawn.T.tolist(), strict=True):
        if name not in one or name not in other:
            continue
        value = one[name].value - other[name].value
        if measure.lower_is_better:
            value, low, high = -value, -high, -low
        found.append(Difference(name, value, low, high))
    return found


def leads(result: Compared[Scores], samples: Mapping[str, np.ndarray]) -> list[Lead]:
    """Compares the model with each floor, on the same resamples.

    Args:
        result: The predictors on the same images.
        samples: Their resamples by predictor, float64 [b, measures].

    Returns:
        A lead for each floor and measure, with the 95% interval of the paired difference.
    """
    ours = dict(result.model)
    return [
        Lead(floor, *difference)
        for floor in FLOORS
        for difference in differences(ours, dict(result.of(floor)), samples[MODEL] - samples[floor])
    ]


def sentences(found: list[Lead]) -> tuple[list[str], list[str]]:
    """Says where the model stands against the floors on the held-out part.

    Args:
        found: Leads on the held-out part.

    Returns:
        What speaks against the model (it does not beat a floor, or by no more than chance), and
        what speaks for it.
    """
    against, for_it = [], []
    for floor, kind in FLOORS.items():
        here = [lead for lead in found if lead.floor == floor]
        behind = [lead for lead in here if lead.value <= 0]
        unsure = [lead for lead in here if lead.value > 0 >= lead.low]
        ahead = [lead for lead in here if lead.value > 0 and lead.low > 0]
        if behind:
            against.append(
                f"does not beat the {kind.name} in {_listed(behind, f'any of the {_COUNT}')}"
            )
        if unsure:
            against.append(
                f"leads the {kind.name} in {_listed(unsure)}, but chance alone may explain it"
            )
        if ahead:
            for_it.append(f"beats the {kind.name} in {_listed(ahead)}")
    return against, for_it


def _listed(found: list[Lead], every: str = f"all {_COUNT}") -> str:
    if len(found) == len(MEASURES):
        return f"{every} measures"
    names = [MEASURES[lead.measure].name for lead in found]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def floors_by_accuracy(compared: Compared[Scores]) -> list[tuple[str, str]]:
    """Returns title and accuracy of each floor, as people read them, the best first."""
    best_first = sorted(FLOORS, key=lambda name: -compared.of(name).accuracy.value)
    text = MEASURES["accuracy"].text
    return [(FLOORS[name].title, text(compared.of(name).accuracy.value)) for name in best_first]
