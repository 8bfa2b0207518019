"""Whether the model beats a floor, said plainly."""

from typing import NamedTuple, Protocol

import numpy as np

from components.metrics import LOWER_IS_BETTER, MEASURES, Scores

FLOORS = {"metadata_floor": "metadata-only floor", "nearest_neighbour_floor": "1-NN floor"}
NAMES = {
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "mcc": "MCC",
    "brier": "Brier score",
    "ece": "calibration error",
}


class Compared(Protocol):
    """The model's measures, and those of a floor under each name of `FLOORS`."""

    @property
    def model(self) -> Scores:
        """Of the model."""


class Lead(NamedTuple):
    """How far the model is ahead of a floor in one measure; positive where it is better."""

    floor: str
    measure: str
    value: float
    low: float
    high: float


def leads(result: Compared, samples: np.ndarray) -> list[Lead]:
    """Compares the model with each floor, on the same resamples.

    Args:
        result: The predictors on the same images.
        samples: Their resamples: model, metadata floor, 1-NN floor; float64 [3, b, 8].

    Returns:
        A lead for each floor and measure, with the 95% interval of the paired difference.
    """
    found = []
    for floor, drawn in zip(FLOORS, samples[1:], strict=True):
        lows, highs = np.percentile(samples[0] - drawn, [2.5, 97.5], axis=0)
        for measure, low, high in zip(MEASURES, lows, highs, strict=True):
            scores = getattr(result, floor)
            value = getattr(result.model, measure).value - getattr(scores, measure).value
            if measure in LOWER_IS_BETTER:
                value, low, high = -value, -high, -low
            found.append(Lead(floor, measure, value, float(low), float(high)))
    return found


def sentences(found: list[Lead]) -> tuple[list[str], list[str]]:
    """Says where the model stands against the floors on the held-out part.

    Args:
        found: Leads on the held-out part.

    Returns:
        What speaks against the model (it does not beat a floor, or by no more than chance), and
        what speaks for it.
    """
    against, for_it = [], []
    for floor, name in FLOORS.items():
        here = [lead for lead in found if lead.floor == floor]
        behind = [lead for lead in here if lead.value <= 0]
        unsure = [lead for lead in here if lead.value > 0 >= lead.low]
        ahead = [lead for lead in here if lead.value > 0 and lead.low > 0]
        if behind:
            against.append(f"does not beat the {name} in {_listed(behind, 'any of the eight')}")
        if unsure:
            against.append(
                f"leads the {name} in {_listed(unsure)}, by no more than chance can give"
            )
        if ahead:
            for_it.append(f"beats the {name} in {_listed(ahead)}")
    return against, for_it


def _listed(found: list[Lead], every: str = "all eight") -> str:
    if len(found) == len(MEASURES):
        return f"{every} measures"
    names = [NAMES[lead.measure] for lead in found]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
