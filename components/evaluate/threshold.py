"""The decision threshold: chosen on validation, and nowhere else."""

import numpy as np

from components.dataset import TUMOR

_ROUNDING = 1e-9  # (1 - 0.9) * 10 is a little less than 1 in binary


def threshold_rule(target_sensitivity: float = 0.0) -> str:
    """Says by which rule `choose_threshold` chooses."""
    if target_sensitivity:
        return (
            f"the greatest that finds at least {100 * target_sensitivity:g}% of the tumours on "
            "validation, halfway between neighbouring scores"
        )
    return (
        "greatest sensitivity + specificity - 1 (Youden's J) on validation, halfway between "
        "neighbouring scores; of equals the one nearest to 0.5"
    )


def choose_threshold(
    labels: np.ndarray, scores: np.ndarray, target_sensitivity: float = 0.0
) -> float:
    """Chooses where to say Brain Tumor.

    The threshold lies halfway between two neighbouring scores (or between an outermost score
    and 0 or 1), so that a rounding error in a score changes no answer.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy; both present. Of the validation part.
        scores: P(Brain Tumor), float [n] within 0..1.
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
    ranked_tumor, ranked_healthy = np.sort(scores[tumor]), np.sort(scores[~tumor])
    missed = np.searchsorted(ranked_tumor, thresholds)
    if target_sensitivity:
        may_miss = (1 - target_sensitivity) * len(ranked_tumor) + _ROUNDING
        return float(thresholds[missed <= may_miss].max(initial=0.0))
    spared = np.searchsorted(ranked_healthy, thresholds)
    # Youden's J times both class sizes: whole numbers, so equals are exactly equal.
    benefit = spared * len(ranked_tumor) - missed * len(ranked_healthy)
    best = thresholds[benefit == benefit.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])
