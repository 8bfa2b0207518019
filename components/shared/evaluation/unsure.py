"""Where a model had better say "unsure": the scores between which it would be wrong too often.

This is selective classification, by conformal risk control over groups of images: see
docs/decisions/unsure.md for what it promises and what not.
"""

import math
from typing import NamedTuple

import numpy as np

from components.shared.data.classes import TUMOR
from components.shared.data.groups import group_weights
from components.shared.evaluation.metrics import Interval, share
from components.shared.evaluation.results import Answered
from components.shared.reports.numbers import percent

NEVER_UNSURE = "It never says unsure"  # how a card says so
USUAL_COVERAGE = 0.9  # at which errors of models are compared
_ROUNDING = 1e-9  # of sums of weights


class Range(NamedTuple):
    """The answer is unsure where low <= P(Brain Tumor) < high; the threshold lies between them."""

    low: float
    high: float

    def answers(self, scores: np.ndarray) -> np.ndarray:
        """Returns whether each score, P(Brain Tumor), gets an answer, bool [n]."""
        return (scores < self.low) | (scores >= self.high)


class RiskCoverage(NamedTuple):
    """What would be answered, and how much of it wrongly, from the surest images on."""

    coverage: np.ndarray  # share of the images that are answered, float64 [k], rising
    error: np.ndarray  # share of these answers that are wrong, float64 [k]


def doubt(scores: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Returns how probable it is that each answer is wrong, if the scores are calibrated.

    Args:
        scores: P(Brain Tumor), float [n] within 0..1.
        threshold: A score that reaches it means Brain Tumor; one for all, or float [n].

    Returns:
        float64 [n] within 0..1.
    """
    return np.where(scores >= threshold, 1 - scores, scores)


def choose_range(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    target_error: float,
) -> Range | None:
    """Chooses between which scores the answer is unsure, so that few of the answers are wrong.

    It answers as many images as it may. Each group counts once, because the images of a group are
    one piece of evidence. One wrong answer more than validation has is counted, which makes the
    bound hold for a group that is not among these: without it a model that validation finds no
    error of would have none.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy. Of the validation part.
        scores: P(Brain Tumor), calibrated, float [n] within 0..1.
        groups: Group of each image, int [n].
        threshold: A score that reaches it means Brain Tumor.
        target_error: Share of the answers that may be wrong, 0..1.

    Returns:
        The range, empty where all may be answered; None where no range keeps to that error.
    """
    doubts = doubt(scores, threshold)
    wrong = (scores >= threshold) != (labels == TUMOR)
    values, answered, mistaken = _cumulated(doubts, wrong, group_weights(groups, 1))
    within = np.flatnonzero(mistaken + 1 <= target_error * (answered + 1) + _ROUNDING)
    if not len(within):
        return None
    last = int(within[-1])
    if last == len(values) - 1:
        return Range(threshold, threshold)
    # Halfway to the next, so that a rounding error in a score changes no answer.
    limit = float(values[last] + values[last + 1]) / 2
    return Range(min(limit, threshold), max(1 - limit, threshold))


def fewest_groups(target_error: float) -> int:
    """Returns how many groups validation needs at least, all answered rightly."""
    return math.ceil(1 / target_error - 1 - _ROUNDING)


def no_range_sentence(target_error: float, groups: int) -> str:
    """Says why a model never answers "unsure".

    Args:
        target_error: Share of the answers that may be wrong, 0..1.
        groups: How many there are to fit a range on.
    """
    needed = fewest_groups(target_error)
    why = (
        f"a range that keeps errors at {percent(target_error)} needs at least {needed:,} groups of "
        f"images to be fitted on, and there are only {groups:,}"
        if groups < needed
        else f"no range of scores keeps to an error of {percent(target_error)} on the {groups:,} "
        "groups to fit it on"
    )
    return f"{NEVER_UNSURE}: {why}."


def measure_answers(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float | np.ndarray,
    answered: np.ndarray,
    *,
    samples: int,
    seed: int,
) -> Answered:
    """Measures a model that leaves some images unanswered.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy.
        scores: P(Brain Tumor), float [n].
        groups: Group of each image, int [n]; a resample draws them whole.
        threshold: A score that reaches it means Brain Tumor; one for all, or float [n].
        answered: Which images get an answer, bool [n].
        samples: Resamples behind each interval.
        seed: Of the resamples.

    Returns:
        How many get an answer and how many of the answers are wrong.
    """
    tumor, called = labels == TUMOR, scores >= threshold
    wrong = called != tumor
    error, group_error = None, None
    if answered.any():
        weights = group_weights(groups, 1)[answered]
        error = share(wrong[answered], groups[answered], samples, seed)
        group_error = float(weights @ wrong[answered] / weights.sum())

    def outcomes(true: np.ndarray) -> tuple[int, int, int]:
        sure = true & answered
        return (
            int(np.sum(sure & called)),
            int(np.sum(true & ~answered)),
            int(np.sum(sure & ~called)),
        )

    return Answered(
        coverage=share(answered, groups, samples, seed),
        error=error,
        group_error=group_error,
        outcomes=(outcomes(tumor), outcomes(~tumor)),
    )


def risk_coverage(
    labels: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray
) -> RiskCoverage:
    """Returns the error at every coverage, the surest images first and each counted once.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy.
        scores: P(Brain Tumor), float [n].
        threshold: A score that reaches it means Brain Tumor; one for all, or float [n].
    """
    wrong = (scores >= threshold) != (labels == TUMOR)
    _, answered, mistaken = _cumulated(doubt(scores, threshold), wrong, np.ones(len(scores)))
    return RiskCoverage(answered / len(scores), mistaken / answered)


def error_at_coverage(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float | np.ndarray,
    *,
    samples: int,
    seed: int,
    coverage: float = USUAL_COVERAGE,
) -> Interval:
    """Measures which share of the answers is wrong where the surest images are answered.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy.
        scores: P(Brain Tumor), float [n].
        groups: Group of each image, int [n]; a resample draws them whole.
        threshold: A score that reaches it means Brain Tumor; one for all, or float [n].
        samples: Resamples behind the interval.
        seed: Of the resamples.
        coverage: Share of the images that are answered, 0..1.
    """
    surest = np.argsort(doubt(scores, threshold), kind="stable")
    surest = surest[: math.ceil(coverage * len(scores))]
    wrong = (scores >= threshold) != (labels == TUMOR)
    return share(wrong[surest], groups[surest], samples, seed)


def _cumulated(
    doubts: np.ndarray, wrong: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the distinct doubts, rising, and the weights of all and of the wrong up to each."""
    values, column = np.unique(doubts, return_inverse=True)
    return (
        values,
        np.cumsum(np.bincount(column, weights)),
        np.cumsum(np.bincount(column, weights * wrong)),
    )
