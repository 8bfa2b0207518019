"""The decision threshold: chosen on validation, and nowhere else."""

import numpy as np

from components.dataset import TUMOR
from components.groups import group_weights

_ROUNDING = 1e-9  # of sums of weights; 1 - 0.9 is a little less than 0.1 in binary


def threshold_rule(target_sensitivity: float = 0.0) -> str:
    """Says by which rule `choose_threshold` chooses."""
    if target_sensitivity:
        return (
            f"the greatest that finds at least {100 * target_sensitivity:g}% of the tumours on "
            "validation, halfway between neighbouring scores; an image counts "
            "1 / sqrt(near-duplicates)"
        )
    return (
        "greatest sensitivity + specificity - 1 (Youden's J) on validation, halfway between "
        "neighbouring scores; of equals the one nearest to 0.5; an image counts "
        "1 / sqrt(near-duplicates)"
    )


def choose_threshold(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    target_sensitivity: float = 0.0,
) -> float:
    """Chooses where to say Brain Tumor.

    The threshold lies halfway between two neighbouring scores (or between an outermost score
    and 0 or 1), so that a rounding error in a score changes no answer. A group of near-duplicates
    weighs as much as the square root of its size, as where the temperature is fitted: else the
    few largest groups would choose.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy; both present. Of the validation part.
        scores: P(Brain Tumor), float [n] within 0..1.
        groups: Duplicate group of each image, int [n].
        target_sensitivity: Share of the tumours that has to be found, 0..1; 0 weighs sensitivity
            and specificity alike.

    Returns:
        A number within 0..1; Brain Tumor is said where the score reaches it.
    """
    tumor = labels == TUMOR
    values = np.unique(np.concatenate([[0.0], scores, [1.0]]))
    lower, upper = values[:-1], values[1:]
    middle = (lower + upper) / 2
    thresholds = np.where(middle > lower, middle, upper)  # neighbouring floats have no middle
    weights = group_weights(groups)
    missed = _share_below(thresholds, scores[tumor], weights[tumor])
    if target_sensitivity:
        may_miss = 1 - target_sensitivity + _ROUNDING
        return float(thresholds[missed <= may_miss].max(initial=0.0))
    youden = _share_below(thresholds, scores[~tumor], weights[~tumor]) - missed
    best = thresholds[youden >= youden.max() - _ROUNDING]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _share_below(thresholds: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns which share of the weights has a score below each threshold, 0..1."""
    order = np.argsort(scores)
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    return below[np.searchsorted(scores[order], thresholds)] / below[-1]
