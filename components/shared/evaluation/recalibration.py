"""Temperature, threshold and the range of unsure, fitted again on a site's own labelled images."""

from typing import NamedTuple

import numpy as np

from components.shared.data.classes import TUMOR
from components.shared.errors import UserError
from components.shared.evaluation.calibration import calibrate, fit_temperature
from components.shared.evaluation.metrics import (
    MEASURES,
    Predictor,
    Scores,
    bootstrap,
    column,
    point_estimate,
    require_both_classes,
    with_intervals,
)
from components.shared.evaluation.results import Unsure
from components.shared.evaluation.threshold import choose_threshold
from components.shared.evaluation.unsure import (
    Range,
    choose_range,
    measure_answers,
    no_range_sentence,
)

FOLDS = 5
MIN_GROUPS = 20  # of which four fifths choose a threshold
_AT_THRESHOLD = [column(name) for name, measure in MEASURES.items() if measure.at_threshold]


class Wanted(NamedTuple):
    """What thresholds are chosen for."""

    sensitivity: float  # share of the tumours that are to be found, 0..1; 0 for none
    error: float  # share of the answers that may be wrong, between 0 and 1


class Fit(NamedTuple):
    """What is fitted: all that makes an answer of a logit."""

    temperature: float  # divides the logits
    threshold: float
    unsure: Range | None


class Recalibrated(NamedTuple):
    """A fit and what it is worth.

    Attributes:
        fit: On all images.
        before: The model as it was.
        after: Each image answered with what the other folds' images gave.
        unsure: The range, on the images that it was fitted on and as `after`; None where none.
        never_unsure: Why there is none; empty where there is one.
    """

    fit: Fit
    before: Scores
    after: Scores
    unsure: Unsure | None
    never_unsure: str


def recalibrate(
    labels: np.ndarray,
    model: Predictor,
    groups: np.ndarray,
    wanted: Wanted,
    *,
    samples: int,
    seed: int,
) -> Recalibrated:
    """Fits temperature, threshold and range again, and measures that by cross-fitting.

    The groups are dealt into five folds. Each fold is answered with what was fitted on the four
    others, so that no image judges what it decided; the fit itself is on all.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy.
        model: What it says of these images, as it is.
        groups: Near-duplicates and one patient's images are one, int [n].
        wanted: What thresholds are chosen for.
        samples: Resamples behind each interval.
        seed: Of the folds and the resamples.

    Returns:
        The fit and what it is worth.

    Raises:
        UserError: There are too few groups, or a class is missing.
    """
    count = len(np.unique(groups))
    if count < MIN_GROUPS:
        raise UserError(
            f"the images are of {count} groups, and {MIN_GROUPS} are needed: images of one "
            "patient and near-duplicates are one group; give images of more patients"
        )
    require_both_classes(labels, "recalibration")
    fit = _fit(labels, model, groups, wanted)
    fold_of = _folds(labels, groups, seed)
    scores, thresholds = np.empty(len(labels)), np.empty(len(labels))
    answered = np.zeros(len(labels), dtype=bool)
    for fold in range(FOLDS):
        here = fold_of == fold
        require_both_classes(labels[~here], "recalibration")
        found = _fit(labels[~here], model.on(~here), groups[~here], wanted)
        scores[here] = calibrate(model.scores[here], found.temperature)
        thresholds[here] = found.threshold
        if found.unsure:  # else nothing is promised, and nothing answered
            answered[here] = found.unsure.answers(scores[here])
    before, after = _compare(labels, groups, model, scores, scores >= thresholds, samples, seed)
    return Recalibrated(
        fit=fit,
        before=before,
        after=after,
        unsure=_unsure(
            labels, groups, fit, model.scores, (scores, thresholds, answered), samples, seed
        ),
        never_unsure="" if fit.unsure else no_range_sentence(wanted.error, count),
    )


def _fit(labels: np.ndarray, model: Predictor, groups: np.ndarray, wanted: Wanted) -> Fit:
    """Fits on some images; the threshold stays where it was unless they speak against it."""
    temperature = fit_temperature(labels, model.scores, groups)
    calibrated = calibrate(model.scores, temperature)
    former = float(calibrate(np.array(model.threshold), temperature))
    threshold = choose_threshold(labels, calibrated, groups, wanted.sensitivity, usual=former)
    unsure = choose_range(labels, calibrated, groups, threshold, wanted.error)
    return Fit(temperature, threshold, unsure)


def _folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Deals groups into folds, those with a tumour first; returns each image's, int64 [n]."""
    _, group_of = np.unique(groups, return_inverse=True)
    tumor = np.bincount(group_of, labels == TUMOR) > 0
    order = np.random.default_rng(seed).permutation(len(tumor))
    order = order[np.argsort(~tumor[order], kind="stable")]
    fold = np.empty(len(tumor), dtype=np.int64)
    fold[order] = np.arange(len(tumor)) % FOLDS
    return fold[group_of]


def _compare(
    labels: np.ndarray,
    groups: np.ndarray,
    model: Predictor,
    scores: np.ndarray,
    called: np.ndarray,
    samples: int,
    seed: int,
) -> tuple[Scores, Scores]:
    """Measures the model as it was, and the other scores and answers, on the same resamples."""
    # A score of 0 or 1 stands for the answer, whatever threshold gave it.
    predictors = [model, Predictor(scores, 0.5), Predictor(called.astype(float), 0.5)]
    values = np.stack([point_estimate(labels, predictor) for predictor in predictors])
    drawn = bootstrap(labels, groups, predictors, samples, seed)
    for array in (values, drawn):
        array[1][..., _AT_THRESHOLD] = array[2][..., _AT_THRESHOLD]
    before, after = (
        with_intervals(value, resamples, labels, groups)
        for value, resamples in zip(values[:2], drawn[:2], strict=True)
    )
    return before, after


def _unsure(
    labels: np.ndarray,
    groups: np.ndarray,
    fit: Fit,
    uncalibrated: np.ndarray,
    crossed: tuple[np.ndarray, np.ndarray, np.ndarray],
    samples: int,
    seed: int,
) -> Unsure | None:
    """Measures the range where it was fitted, and by cross-fitting; None where there is none."""
    if fit.unsure is None:
        return None
    scores = calibrate(uncalibrated, fit.temperature)
    fitted = scores, fit.threshold, fit.unsure.answers(scores)
    on_all, by_others = (
        measure_answers(labels, said, groups, threshold, answered, samples=samples, seed=seed)
        for said, threshold, answered in (fitted, crossed)
    )
    return Unsure(low=fit.unsure.low, high=fit.unsure.high, validation=on_all, held_out=by_others)
