"""The decision threshold: chosen on validation, and nowhere else."""

import numpy as np

from components.shared.data.classes import TUMOR
from components.shared.data.groups import group_weights

# The greatest J of a few hundred images lies anywhere by chance.
STANDARD_ERRORS = 2.0
_WEIGHTS = "a group of n near-duplicates counts as sqrt(n) images"
_ROUNDING = 1e-9  # of sums of weights; 1 - 0.9 is a little less than 0.1 in binary


def threshold_rule(
    target_sensitivity: float = 0.0, usual: str = "0.5", images: str = "validation"
) -> str:
    """Says by which rule `choose_threshold` chooses, near what, and on which images."""
    if target_sensitivity:
        return (
            f"the greatest that finds at least {100 * target_sensitivity:g}% of the tumours on "
            f"{images}, halfway between neighbouring scores; {_WEIGHTS}"
        )
    return (
        f"the nearest to {usual} within {STANDARD_ERRORS:g} standard errors of the greatest "
        f"sensitivity + specificity - 1 (Youden's J) on {images}, halfway between neighbouring "
        f"scores; {_WEIGHTS}"
    )


def choose_threshold(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    target_sensitivity: float = 0.0,
    usual: float = 0.5,
) -> float:
    """Chooses where to say Brain Tumor.

    The threshold lies halfway between two neighbouring scores (or between an outermost score
    and 0 or 1), so that a rounding error in a score changes no answer. A group of near-duplicates
    weighs as much as the square root of its size: else the few largest groups would choose.

    Without a target it is the usual one, unless validation says otherwise by more than chance: the
    nearest to it within two standard errors of the greatest Youden's J.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy; both present. Of the validation part.
        scores: P(Brain Tumor), float [n] within 0..1.
        groups: Duplicate group of each image, int [n].
        target_sensitivity: Share of the tumours that has to be found, 0..1; 0 for none.
        usual: The threshold that one would take without images, 0..1: 0.5 is where a calibrated
            probability changes sides.

    Returns:
        A number within 0..1; a score that reaches it means Brain Tumor.
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
    rejected = _share_below(thresholds, scores[~tumor], weights[~tumor])
    youden = rejected - missed
    best = int(np.argmax(youden))
    error = np.hypot(
        _standard_error(missed[best], weights[tumor]),
        _standard_error(rejected[best], weights[~tumor]),
    )
    as_good = thresholds[youden >= youden[best] - STANDARD_ERRORS * error - _ROUNDING]
    return float(as_good[np.argmin(np.abs(as_good - usual))])


def _share_below(thresholds: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns which share of the weights has a score below each threshold, 0..1."""
    order = np.argsort(scores)
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    return below[np.searchsorted(scores[order], thresholds)] / below[-1]


def _standard_error(share: float, weights: np.ndarray) -> float:
    """Returns the standard error of a weighted share; unequal weights tell less.

    One more is counted on either side: that none of a few was missed does not say that none is.
    """
    effective = weights.sum() ** 2 / (weights**2).sum()
    share = (share * effective + 1) / (effective + 2)
    return float(np.sqrt(share * (1 - share) / effective))
