"""The decision threshold: chosen on validation, and nowhere else."""

import numpy as np

from components.dataset import TUMOR

RULE = (
    "greatest sensitivity + specificity - 1 (Youden's J) on validation, halfway between "
    "neighbouring scores; of equals the one nearest to 0.5"
)


def choose_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Chooses where to say Brain Tumor.

    The threshold lies halfway between two neighbouring scores (or between an outermost score
    and 0 or 1), so that a rounding error in a score changes no answer.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy; both present. Of the validation part.
        scores: P(Brain Tumor), float [n] within 0..1.

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
    spared = np.searchsorted(ranked_healthy, thresholds)
    # Youden's J times both class sizes: whole numbers, so equals are exactly equal.
    benefit = spared * len(ranked_tumor) - missed * len(ranked_healthy)
    best = thresholds[benefit == benefit.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])
