"""Eight measures of a binary classifier, for many weightings of the same images at once.

A bootstrap resample is nothing but a weight for each image: how often its group was drawn. So
the point estimate and all resamples go through the same code, one row of weights each.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from components.dataset import TUMOR
from components.errors import UserError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(_Strict):
    """A measure on one part, with its 95% bootstrap interval over duplicate groups."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Scores(_Strict):
    """The eight measures of one predictor on one part; the positive class is Brain Tumor."""

    accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    auroc: Interval
    auprc: Interval
    mcc: Interval
    brier: Interval
    ece: Interval


class RocCurve(_Strict):
    """Points of a ROC curve, from (0, 0) to (1, 1): few, and finite."""

    fpr: tuple[FiniteFloat, ...]
    tpr: tuple[FiniteFloat, ...]
    threshold: tuple[FiniteFloat, ...]


MEASURES = tuple(Scores.model_fields)
LOWER_IS_BETTER = frozenset({"brier", "ece"})
BINS = 15
FEW_GROUPS = 10  # below, an interval says nothing
MIN_SAMPLES = 100  # below, the ends of a 95% interval are a handful of resamples
_CHUNK = 2_000_000  # weights held at once: 16 MB, whatever the dataset's size


class Predictor(NamedTuple):
    """What a predictor said of some images, and where it draws the line."""

    scores: np.ndarray  # P(Brain Tumor), float64 [n]
    threshold: float

    def on(self, rows: np.ndarray) -> "Predictor":
        """Returns the same predictor on some of the images."""
        return Predictor(self.scores[rows], self.threshold)


def measure(
    labels: np.ndarray, scores: np.ndarray, threshold: float, weights: np.ndarray
) -> np.ndarray:
    """Computes the eight measures; Brain Tumor is the positive class.

    AUROC counts a tie as half; AUPRC is the average precision; the expected calibration error
    has 15 bins of equal width; MCC is 0 where a row or column of the confusion matrix is empty,
    as in scikit-learn.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy.
        scores: P(Brain Tumor), float [n] within 0..1.
        threshold: Brain Tumor is said where the score reaches it.
        weights: float64 [b, n], not negative; in every row both classes weigh something.

    Returns:
        float64 [b, 8], in the order of `MEASURES`.
    """
    # From here on one column is one distinct score, the greatest first.
    values, column_of = np.unique(-scores, return_inverse=True)
    values = -values
    order = np.argsort(column_of, kind="stable")
    starts = np.searchsorted(column_of[order], np.arange(len(values)))
    ordered = weights[:, order]
    total = np.add.reduceat(ordered, starts, axis=1)
    ordered *= labels[order] == TUMOR
    positive = np.add.reduceat(ordered, starts, axis=1)
    negative = total - positive

    tp_at, fp_at = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    positives, negatives = tp_at[:, -1], fp_at[:, -1]
    auroc = (negative * (tp_at - positive / 2)).sum(axis=1) / (positives * negatives)
    seen = tp_at + fp_at
    precision = np.divide(tp_at, seen, out=np.zeros_like(seen), where=seen > 0)
    auprc = (positive * precision).sum(axis=1) / positives

    called = int(np.searchsorted(-values, -threshold, side="right"))  # columns called tumour
    tp = tp_at[:, called - 1] if called else np.zeros_like(positives)
    fp = fp_at[:, called - 1] if called else np.zeros_like(negatives)
    fn, tn = positives - tp, negatives - fp
    images = positives + negatives
    spread = np.sqrt((tp + fp) * (tn + fn) * positives * negatives)
    mcc = np.divide(tp * tn - fp * fn, spread, out=np.zeros_like(spread), where=spread > 0)

    brier = (positive @ (1 - values) ** 2 + negative @ values**2) / images
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    gaps = (positive - total * values) @ (bins[:, None] == np.arange(BINS)).astype(float)
    ece = np.abs(gaps).sum(axis=1) / images
    return np.stack(
        [(tp + tn) / images, tp / positives, tn / negatives, auroc, auprc, mcc, brier, ece], axis=1
    )


def bootstrap(
    labels: np.ndarray,
    groups: np.ndarray,
    predictors: Sequence[Predictor],
    samples: int,
    seed: int,
) -> np.ndarray:
    """Measures predictors on resamples of the duplicate groups.

    Every resample draws as many groups as there are, with replacement, and takes each one's
    images whole; one that holds a single class is drawn again, because half of the measures
    mean nothing there. All predictors see the same resamples, so their differences can be
    taken row by row.

    Args:
        labels: int [n], both classes present.
        groups: int [n].
        predictors: Each with n scores.
        samples: Number of resamples.
        seed: Of the draws.

    Returns:
        float64 [predictors, samples, 8].
    """
    rng = np.random.default_rng(seed)
    _, group_of = np.unique(groups, return_inverse=True)
    count = int(group_of.max()) + 1
    tumor = np.bincount(group_of, labels == TUMOR, minlength=count)
    healthy = np.bincount(group_of, labels != TUMOR, minlength=count)
    rows = max(1, min(samples, _CHUNK // len(labels)))
    result = np.empty((len(predictors), samples, len(MEASURES)))
    done = 0
    while done < samples:
        draws = np.stack([_draw(rng, count) for _ in range(min(rows, samples - done))])
        draws = draws[(draws @ tumor > 0) & (draws @ healthy > 0)]
        weights = draws[:, group_of]
        for predictor, measured in zip(predictors, result, strict=True):
            measured[done : done + len(draws)] = measure(labels, *predictor, weights)
        done += len(draws)
    return result


def _draw(rng: np.random.Generator, count: int) -> np.ndarray:
    """Returns how often each of `count` groups comes in one resample, float64 [count]."""
    return np.bincount(rng.integers(count, size=count), minlength=count).astype(float)


def share(hits: np.ndarray, groups: np.ndarray, samples: int, seed: int) -> Interval:
    """Measures how many of some images are hits, of one class or of both.

    Args:
        hits: bool [n], n > 0.
        groups: int [n]; a resample draws them whole.
        samples: Number of resamples.
        seed: Of the draws.

    Returns:
        The share with its 95% percentile interval; of a single group, the interval is a point.
    """
    rng = np.random.default_rng(seed)
    _, group_of = np.unique(groups, return_inverse=True)
    counts = np.stack([np.bincount(group_of, hits), np.bincount(group_of)], axis=1)
    drawn = np.stack([_draw(rng, len(counts)) @ counts for _ in range(samples)])
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return Interval(value=float(np.mean(hits)), low=float(low), high=float(high))


def point_estimate(labels: np.ndarray, predictor: Predictor) -> np.ndarray:
    """Returns the eight measures with each image counted once, float64 [8]."""
    return measure(labels, *predictor, np.ones((1, len(labels))))[0]


def with_intervals(values: np.ndarray, samples: np.ndarray) -> Scores:
    """Puts 95% percentile intervals beside the measures.

    Args:
        values: The point estimate, float64 [8].
        samples: Its resamples, float64 [b, 8].

    Returns:
        The measures by name.
    """
    lows, highs = np.percentile(samples, [2.5, 97.5], axis=0)
    return Scores(
        **{
            name: Interval(value=float(value), low=float(low), high=float(high))
            for name, value, low, high in zip(MEASURES, values, lows, highs, strict=True)
        }
    )


def confusion(
    labels: np.ndarray, scores: np.ndarray, threshold: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the confusion matrix: rows true, columns predicted, Brain Tumor first."""
    tumor, called = labels == TUMOR, scores >= threshold
    return (
        (int(np.sum(tumor & called)), int(np.sum(tumor & ~called))),
        (int(np.sum(~tumor & called)), int(np.sum(~tumor & ~called))),
    )


def roc(labels: np.ndarray, scores: np.ndarray, points: int = 200) -> RocCurve:
    """Returns the ROC curve, thinned to at most `points` points; every number is finite."""
    from sklearn.metrics import roc_curve  # takes seconds to import; readers of results need it not

    fpr, tpr, threshold = roc_curve(labels == TUMOR, scores)
    threshold = np.minimum(threshold, 1.0)  # scikit-learn starts from infinity
    keep = np.unique(np.linspace(0, len(fpr) - 1, min(points, len(fpr))).round().astype(int))
    return RocCurve(
        fpr=tuple(fpr[keep].tolist()),
        tpr=tuple(tpr[keep].tolist()),
        threshold=tuple(threshold[keep].tolist()),
    )


def require_both_classes(labels: np.ndarray, part: str) -> None:
    """Raises UserError where a part lacks one of the classes: nothing can be measured there."""
    tumor = int(np.sum(labels == TUMOR))
    if tumor in (0, len(labels)):
        lacking = "Healthy" if tumor else "Brain Tumor"
        raise UserError(
            f"the {part} part has no {lacking} image among {len(labels)}: "
            "split again with a larger share, or add images of that class"
        )
