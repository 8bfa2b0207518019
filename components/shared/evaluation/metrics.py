"""The measures of a binary classifier, for many weightings of the same images at once.

A bootstrap resample is nothing but a weight for each image: how often its group was drawn. So
the point estimate and all resamples go through the same code, one row of weights each.

`Scores` is the table of the measures: a field is a measure, and its annotation says all there is to
know of it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import FiniteFloat, model_validator

from components.shared.data.classes import HEALTHY, TUMOR
from components.shared.errors import UserError
from components.shared.reports.numbers import decimal, percent
from components.shared.strict import Strict

Z = 1.959964  # half the width of a 95% interval, in standard deviations
INTERVALS = (
    "Where the resamples reach the end of a scale, such as 0% or 100%, or are all equal, they "
    "say too little. There the interval is Wilson's, with as many answers as there are groups."
)  # for people, below figures
BINS = 15  # of the calibration error
FEW_GROUPS = 10  # below, an interval says nothing
MIN_SAMPLES = 100  # below, the ends of a 95% interval are a handful of resamples
_BOTH = (TUMOR, HEALTHY)
_ROUNDING = 1e-9  # of means of folds
_CHUNK = 2_000_000  # weights held at once: 16 MB, whatever the dataset's size


class Interval(Strict):
    """A measure on one part, with its 95% interval over groups of near-duplicates."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Ranking:
    """Images by their score, under many weightings at once; Brain Tumor is the positive class.

    A column is a distinct score, the greatest first; a row is a weighting.

    Attributes:
        values: The scores, float64 [k].
        positive: Weight of the tumours of each score, float64 [b, k].
        negative: Weight of the healthy images of each score, float64 [b, k].
        total: Weight of both, float64 [b, k].
        tp_at: True positives, were the threshold at each score, float64 [b, k].
        fp_at: False positives, were the threshold at each score, float64 [b, k].
        positives: Weight of all tumours, float64 [b].
        negatives: Weight of all healthy images, float64 [b].
        images: Weight of all, float64 [b].
        tp: True positives at the threshold, float64 [b]; so fp, fn and tn.
    """

    def __init__(
        self, labels: np.ndarray, scores: np.ndarray, threshold: float, weights: np.ndarray
    ) -> None:
        """Sorts the images; the arguments are those of `measure`."""
        values, column_of = np.unique(-scores, return_inverse=True)
        self.values = -values
        order = np.argsort(column_of, kind="stable")
        starts = np.searchsorted(column_of[order], np.arange(len(values)))
        ordered = weights[:, order]
        self.total = np.add.reduceat(ordered, starts, axis=1)
        ordered *= labels[order] == TUMOR
        self.positive = np.add.reduceat(ordered, starts, axis=1)
        self.negative = self.total - self.positive
        self.tp_at = np.cumsum(self.positive, axis=1)
        self.fp_at = np.cumsum(self.negative, axis=1)
        self.positives, self.negatives = self.tp_at[:, -1], self.fp_at[:, -1]
        self.images = self.positives + self.negatives
        called = int(np.searchsorted(values, -threshold, side="right"))  # columns called tumour
        none = np.zeros_like(self.positives)
        self.tp = self.tp_at[:, called - 1] if called else none
        self.fp = self.fp_at[:, called - 1] if called else none
        self.fn, self.tn = self.positives - self.tp, self.negatives - self.fp

    @cached_property
    def precision_at(self) -> np.ndarray:
        """Precision, were the threshold at each score, float64 [b, k]."""
        return _divide(self.tp_at, self.tp_at + self.fp_at)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides, with 0 where nothing is."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _auroc(of: Ranking) -> np.ndarray:
    won = (of.negative * (of.tp_at - of.positive / 2)).sum(axis=1)  # a tie is half
    return won / (of.positives * of.negatives)


def _mcc(of: Ranking) -> np.ndarray:
    called, spared = of.tp + of.fp, of.tn + of.fn
    spread = np.sqrt(called * spared * of.positives * of.negatives)
    return _divide(of.tp * of.tn - of.fp * of.fn, spread)


def _brier(of: Ranking) -> np.ndarray:
    return (of.positive @ (1 - of.values) ** 2 + of.negative @ of.values**2) / of.images


def _calibration_error(of: Ranking) -> np.ndarray:
    bins = np.minimum((of.values * BINS).astype(int), BINS - 1)
    gaps = (of.positive - of.total * of.values) @ (bins[:, None] == np.arange(BINS)).astype(float)
    return np.abs(gaps).sum(axis=1) / of.images


@dataclass(frozen=True)
class Measure:
    """Describes a measure.

    Attributes:
        name: As people call it within a sentence.
        meaning: For people, in a few words.
        formula: From a ranking to the measure of each weighting, float64 [b].
        is_share: Whether people read it as a percentage.
        lower_is_better: Else greater is better.
        at_threshold: Whether the answers at the threshold decide it, else the scores.
        needs: Classes without images of which it means nothing.
        lowest: The lower end of its scale; the upper one is 1.
    """

    name: str
    meaning: str
    formula: Callable[[Ranking], np.ndarray]
    is_share: bool = False
    lower_is_better: bool = False
    at_threshold: bool = False
    needs: tuple[int, ...] = ()
    lowest: float = 0.0

    @property
    def title(self) -> str:
        """The name at the beginning of a line."""
        return self.name[0].upper() + self.name[1:]

    def text(self, number: float) -> str:
        """Returns a value as people read it."""
        return percent(number) if self.is_share else decimal(number)

    def texts(self, interval: Interval) -> tuple[str, str]:
        """Returns a value and its interval as people read them."""
        low, high = self.text(interval.low), self.text(interval.high)
        return self.text(interval.value), f"{low} to {high}"


class Scores(Strict):
    """The measures of one predictor on one part; the positive class is Brain Tumor."""

    accuracy: Annotated[
        Interval,
        Measure(
            "accuracy",
            "right answers",
            lambda of: (of.tp + of.tn) / of.images,
            is_share=True,
            at_threshold=True,
        ),
    ]
    sensitivity: Annotated[
        Interval,
        Measure(
            "sensitivity",
            "tumours found",
            lambda of: of.tp / of.positives,
            is_share=True,
            at_threshold=True,
            needs=(TUMOR,),
        ),
    ]
    specificity: Annotated[
        Interval,
        Measure(
            "specificity",
            "healthy images recognised",
            lambda of: of.tn / of.negatives,
            is_share=True,
            at_threshold=True,
            needs=(HEALTHY,),
        ),
    ]
    auroc: Annotated[
        Interval,
        Measure("AUROC", "ranks tumours above healthy; 0.5 is chance", _auroc, needs=_BOTH),
    ]
    auprc: Annotated[
        Interval,
        Measure(
            "AUPRC",
            "average precision",
            lambda of: (of.positive * of.precision_at).sum(axis=1) / of.positives,
            needs=_BOTH,
        ),
    ]
    mcc: Annotated[
        Interval,
        Measure(
            "MCC",
            "correlation of answer and truth; 0 is chance",
            _mcc,
            at_threshold=True,
            needs=_BOTH,
            lowest=-1.0,
        ),
    ]
    brier: Annotated[
        Interval,
        Measure(
            "Brier score",
            "squared error of the probability; lower is better",
            _brier,
            lower_is_better=True,
        ),
    ]
    ece: Annotated[
        Interval,
        Measure(
            "calibration error",
            f"expected, over {BINS} bins; lower is better",
            _calibration_error,
            lower_is_better=True,
        ),
    ]

    def of(self, measure: str) -> Interval:
        """Returns the value of a measure by its name in `MEASURES`."""
        found: Interval = getattr(self, measure)
        return found


MEASURES: dict[str, Measure] = {
    name: next(fact for fact in field.metadata if isinstance(fact, Measure))
    for name, field in Scores.model_fields.items()
}
_COLUMNS = {name: column for column, name in enumerate(MEASURES)}


def column(name: str) -> int:
    """Returns where a measure stands in the last axis of an array of all measures."""
    return _COLUMNS[name]


class RocCurve(Strict):
    """Points of a ROC curve, from (0, 0) to (1, 1): few, and finite."""

    fpr: tuple[FiniteFloat, ...]
    tpr: tuple[FiniteFloat, ...]
    threshold: tuple[FiniteFloat, ...]


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
    """Computes the measures; Brain Tumor is the positive class.

    AUROC counts a tie as half; AUPRC is the average precision; the expected calibration error
    has 15 bins of equal width; MCC is 0 where a row or column of the confusion matrix is empty,
    as in scikit-learn.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy.
        scores: P(Brain Tumor), float [n] within 0..1.
        threshold: A score that reaches it means Brain Tumor.
        weights: float64 [b, n], not negative; in every row each class that has images weighs
            something.

    Returns:
        float64 [b, 8], in the order of `MEASURES`; NaN where a class that a measure needs has no
        image.
    """
    ranking = Ranking(labels, scores, threshold, weights)
    there, unknown = set(labels.tolist()), np.full(len(weights), np.nan)
    return np.stack(
        [
            measure.formula(ranking) if there.issuperset(measure.needs) else unknown
            for measure in MEASURES.values()
        ],
        axis=1,
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
    images whole; one that lacks a class that the images have is drawn again, because half of the
    measures mean nothing there. All predictors see the same resamples, so their differences can be
    taken row by row.

    Args:
        labels: int [n], of both classes or of one.
        groups: int [n].
        predictors: Each with n scores.
        samples: Number of resamples.
        seed: Of the draws.

    Returns:
        float64 [predictors, samples, 8]; NaN as in `measure`.
    """
    rng = np.random.default_rng(seed)
    _, group_of = np.unique(groups, return_inverse=True)
    count = int(group_of.max()) + 1
    of_class = np.stack(
        [np.bincount(group_of, labels == label, minlength=count) for label in np.unique(labels)],
        axis=1,
    )
    rows = max(1, min(samples, _CHUNK // len(labels)))
    result = np.empty((len(predictors), samples, len(MEASURES)))
    done = 0
    while done < samples:
        draws = np.stack([_draw(rng, count) for _ in range(min(rows, samples - done))])
        draws = draws[(draws @ of_class > 0).all(axis=1)]
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
        The share with its 95% interval, as in `interval`.
    """
    rng = np.random.default_rng(seed)
    _, group_of = np.unique(groups, return_inverse=True)
    counts = np.stack([np.bincount(group_of, hits), np.bincount(group_of)], axis=1)
    drawn = np.stack([_draw(rng, len(counts)) @ counts for _ in range(samples)])
    return interval(float(np.mean(hits)), drawn[:, 0] / drawn[:, 1], len(counts))


def interval(value: float, samples: np.ndarray, groups: int, lowest: float = 0.0) -> Interval:
    """Returns a measure with its 95% interval.

    It is the percentile interval of the resamples. Where that reaches an end of the scale, or is a
    point, the resamples say too little: of 77 groups that are all right every resample is all
    right. There it is Wilson's interval of a share of so many independent answers. It suits each
    measure here, which is a mean of values between the ends of its scale, because no such mean
    varies more than a share.

    Args:
        value: The measure.
        samples: Its resamples, float64 [b].
        groups: How many groups of images it is of.
        lowest: The lower end of the scale; the upper one is 1.
    """
    low, high = np.percentile(samples, [2.5, 97.5])
    if low <= lowest + _ROUNDING or high >= 1 - _ROUNDING or high - low <= _ROUNDING:
        width = 1 - lowest
        low, high = wilson((value - lowest) / width, groups)
        low, high = lowest + width * low, lowest + width * high
    return Interval(value=value, low=float(low), high=float(high))


def wilson(share: float, answers: int) -> tuple[float, float]:
    """Returns the ends of Wilson's 95% interval of a share.

    Args:
        share: Of the answers, 0..1.
        answers: How many, independent of each other.

    Returns:
        Such as 0.953 and 1.0 of all of 77 answers.
    """
    share = min(max(share, 0.0), 1.0)  # a mean of folds may be 1 and a rounding error
    square = Z**2 / answers
    middle = (share + square / 2) / (1 + square)
    reach = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # Rounding errors must not leave the scale, or an interval would begin at -0.0%.
    return max(min(middle - reach, share), 0.0), min(max(middle + reach, share), 1.0)


def point_estimate(labels: np.ndarray, predictor: Predictor) -> np.ndarray:
    """Returns the measures with each image counted once, float64 [8]."""
    return measure(labels, *predictor, np.ones((1, len(labels))))[0]


def with_intervals(
    values: np.ndarray, samples: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> Scores:
    """Puts 95% intervals beside the measures.

    Args:
        values: The point estimate, float64 [8].
        samples: Its resamples, float64 [b, 8].
        labels: Of the images measured, int [n].
        groups: Of the same, int [n].

    Returns:
        The measures by name.
    """
    return Scores(**intervals(values, samples, labels, groups))


def intervals(
    values: np.ndarray, samples: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> dict[str, Interval]:
    """Puts 95% intervals, as in `interval`, beside those measures that are no NaN.

    A measure of one class is of the groups that hold images of it; one that needs both classes is
    of as many groups as the class with fewer has.

    Args:
        values: The point estimate, float64 [8].
        samples: Its resamples, float64 [b, 8].
        labels: Of the images measured, int [n].
        groups: Of the same, int [n].

    Returns:
        The measures by their names in `MEASURES`.
    """
    every = len(np.unique(groups))
    holding = [len(np.unique(groups[labels == label])) for label in _BOTH]
    return {
        name: interval(
            float(value),
            drawn,
            min((holding[label] for label in measure.needs), default=every),
            measure.lowest,
        )
        for (name, measure), value, drawn in zip(MEASURES.items(), values, samples.T, strict=True)
        if not np.isnan(value)
    }


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
