"""The collect step: the folds' predictions become figures, and doubts about labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.collect.labels import suspicions_csv, suspicious_labels
from components.collect.report import write_cross_validation_report, write_suspicions_report
from components.collect.results import (
    CROSS_VALIDATION,
    PREDICTIONS,
    SUSPICIOUS,
    CrossValidation,
    Figures,
    FoldFigures,
    WithoutContradicted,
)
from components.shared.data.classes import CLASSES, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError, require_at_least
from components.shared.evaluation.calibration import calibrate
from components.shared.evaluation.comparison import leads
from components.shared.evaluation.fold_result import FoldResult
from components.shared.evaluation.metrics import (
    MEASURES,
    MIN_SAMPLES,
    Predictor,
    bootstrap,
    column,
    confusion,
    point_estimate,
    with_intervals,
)
from components.shared.evaluation.predictors import FLOORS, MODEL, PREDICTORS
from components.shared.evaluation.results import Answered
from components.shared.evaluation.subgroups import by_kind
from components.shared.evaluation.unsure import Range, error_at_coverage, measure_answers
from components.shared.reports.text import csv_text
from components.shared.storage.files import write_atomically

_AT_THRESHOLD = [column(name) for name, measure in MEASURES.items() if measure.at_threshold]


@dataclass(frozen=True)
class Pooled:
    """What all folds say of all images, each image's own fold having not seen it.

    Attributes:
        fold: Which fold held each image out, int64 [n], from 1.
        scores: P(Brain Tumor) by each predictor, float64 [n].
        thresholds: Each predictor's in the image's fold, float64 [n].
        uncalibrated: The network's P(Brain Tumor) at temperature 1, float64 [n].
        answered: Whether the network's answer is sure enough for the image's fold, bool [n]; None
            where a fold knows of no answer that is unsure.
    """

    fold: np.ndarray
    scores: dict[str, np.ndarray]
    thresholds: dict[str, np.ndarray]
    uncalibrated: np.ndarray
    answered: np.ndarray | None

    @property
    def called(self) -> dict[str, np.ndarray]:
        """Whether each predictor calls each image a tumour, 1.0 or 0.0, float64 [n]."""
        return {
            name: (scores >= self.thresholds[name]).astype(float)
            for name, scores in self.scores.items()
        }


def collect(
    dataset: ImageDataset,
    folders: Sequence[str | Path],
    output: str | Path,
    report: str | Path,
    gallery: str | Path,
    *,
    seed: int = 0,
    bootstrap_samples: int = 1000,
    git_revision: str = "",
) -> CrossValidation:
    """Brings the folds together.

    Args:
        dataset: The ingested images.
        folders: What the cross-validate step wrote, one a fold, in any order.
        output: Folder for `cross_validation.json`, `predictions.csv` and `suspicious_labels.csv`.
        report: HTML file with the figures.
        gallery: HTML file with the labels that a radiologist should look at.
        seed: Of the bootstrap.
        bootstrap_samples: Resamples an interval, at least 100.
        git_revision: Of the code, for the record.

    Returns:
        What `cross_validation.json` holds.

    Raises:
        UserError: A fold cannot be read, is of another dataset or training, or the folds do not
            hold out each image once; or there are too few resamples.
    """
    require_at_least(MIN_SAMPLES, bootstrap_samples=bootstrap_samples)
    folds = sorted((FoldResult.open(folder) for folder in folders), key=lambda fold: fold.fold)
    _check(dataset, folds)
    pooled = _pool(len(dataset), folds)
    print(f"drawing {bootstrap_samples:,} resamples of the groups", flush=True)
    every = np.ones(len(dataset), dtype=bool)
    figures, mean, samples = _by_fold(dataset, folds, every, bootstrap_samples, seed)
    # Above its fold's threshold by how much: answers stay, and so does the order within a fold.
    above = Predictor(0.5 + (pooled.scores[MODEL] - pooled.thresholds[MODEL]) / 2, 0.5)
    subgroups = by_kind(dataset, np.arange(len(dataset)), above, bootstrap_samples, seed)
    suspicions = suspicious_labels(dataset, pooled.scores[MODEL])
    before = point_estimate(dataset.labels, Predictor(pooled.uncalibrated, 0.5))
    tumor = int(np.sum(dataset.labels == TUMOR))
    result = CrossValidation(
        dataset_digest=dataset.digest,
        git_revision=git_revision,
        settings=folds[0].settings,
        from_model_seen=_seen(folds),
        threshold_rule=folds[0].threshold_rule,
        seed=seed,
        bootstrap_samples=bootstrap_samples,
        images=len(dataset),
        groups=len(np.unique(dataset.groups)),
        patients=dataset.count_patients(np.arange(len(dataset))),
        tumor=tumor,
        healthy=len(dataset) - tumor,
        confusion=confusion(dataset.labels, pooled.called[MODEL], 0.5),
        mean=mean,
        pooled=_at_once(dataset, pooled, every, bootstrap_samples, seed),
        without_contradicted=_without_contradicted(dataset, folds, pooled, bootstrap_samples, seed),
        **dict(subgroups),
        uncalibrated_ece=float(before[column("ece")]),
        target_error=folds[0].target_error,
        answered=_answered(dataset, pooled, bootstrap_samples, seed),
        error_at_90_coverage=error_at_coverage(
            dataset.labels,
            pooled.scores[MODEL],
            dataset.groups,
            pooled.thresholds[MODEL],
            samples=bootstrap_samples,
            seed=seed,
        ),
        suspicious_labels=len(suspicions),
        suspicious_images=sum(len(suspicion.positions) for suspicion in suspicions),
        folds=figures,
    )
    folder = Path(output)
    write_atomically(folder / PREDICTIONS, _predictions(dataset, pooled))
    write_atomically(folder / SUSPICIOUS, suspicions_csv(dataset, pooled.scores[MODEL], suspicions))
    write_atomically(folder / CROSS_VALIDATION, result.model_dump_json(indent=2) + "\n")
    write_cross_validation_report(
        report,
        result,
        found=leads(mean, samples),
        labels=dataset.labels,
        scores=pooled.scores[MODEL],
        thresholds=pooled.thresholds[MODEL],
        uncalibrated=pooled.uncalibrated,
    )
    write_suspicions_report(gallery, dataset, suspicions)
    _print_summary(result)
    return result


def _seen(folds: list[FoldResult]) -> int | None:
    """Returns how many images the version to start from may have learned; None if unknown."""
    seen = [fold.from_model_seen for fold in folds if fold.from_model_seen is not None]
    return sum(seen) if len(seen) == len(folds) else None


def _check(dataset: ImageDataset, folds: list[FoldResult]) -> None:
    """Raises UserError unless the folds are of one cross-validation of this dataset."""
    numbers = [fold.fold for fold in folds]
    if len(folds) < 2 or numbers != list(range(1, len(folds) + 1)):
        raise UserError(f"the folds are {numbers}, not 1, 2, …: cross-validate again")
    for fold in folds:
        if fold.dataset_digest != dataset.digest:
            raise UserError(f"fold {fold.fold} is of another dataset: cross-validate again")
        if _how(fold) != _how(folds[0]):
            raise UserError(f"fold {fold.fold} was trained otherwise than fold 1: run it again")
    held_out = np.sort(np.concatenate([fold.held_out for fold in folds]))
    if not np.array_equal(held_out, np.arange(len(dataset))):
        raise UserError("the folds do not hold out each image once: cross-validate again")


def _how(fold: FoldResult) -> tuple[object, ...]:
    """Returns what has to be the same in all folds."""
    return fold.settings, fold.threshold_rule, fold.target_error


def _pool(images: int, folds: list[FoldResult]) -> Pooled:
    fold_of = np.zeros(images, dtype=np.int64)
    scores, thresholds = ({name: np.empty(images) for name in PREDICTORS} for _ in range(2))
    uncalibrated, answered = np.empty(images), np.ones(images, dtype=bool)
    for fold in folds:
        rows = list(fold.held_out)
        fold_of[rows] = fold.fold
        for name in PREDICTORS:
            answers = fold.of(name)
            scores[name][rows], thresholds[name][rows] = answers.scores, answers.threshold
        uncalibrated[rows] = calibrate(scores[MODEL][rows], 1 / fold.temperature)
        if fold.unsure:
            answered[rows] = Range(*fold.unsure).answers(scores[MODEL][rows])
    known = all(fold.unsure for fold in folds)
    return Pooled(fold_of, scores, thresholds, uncalibrated, answered if known else None)


def _by_fold(
    dataset: ImageDataset, folds: list[FoldResult], counted: np.ndarray, samples: int, seed: int
) -> tuple[tuple[FoldFigures, ...], Figures, dict[str, np.ndarray]]:
    """Returns each fold's figures, their mean, and the mean's resamples by predictor.

    Of the images only those that are `counted`, bool [n], are measured.
    Within each fold its groups are drawn anew, so a resample has as many groups in each fold as
    there are. Its figures are the mean over the folds, as those of the folds themselves.
    """
    measured, drawn, figures = [], [], []
    for fold in folds:
        held_out = np.array(fold.held_out)
        which = counted[held_out]
        rows = held_out[which]
        labels, groups = dataset.labels[rows], dataset.groups[rows]
        predictors = [
            Predictor(np.array(answers.scores)[which], answers.threshold)
            for answers in map(fold.of, PREDICTORS)
        ]
        values = np.stack([point_estimate(labels, predictor) for predictor in predictors])
        resamples = bootstrap(labels, groups, predictors, samples, seed + fold.fold)
        measured.append(values)
        drawn.append(resamples)
        figures.append(
            FoldFigures(
                fold=fold.fold,
                source=fold.source,
                images=len(rows),
                groups=len(np.unique(groups)),
                best_epoch=fold.best_epoch,
                temperature=fold.temperature,
                threshold=fold.model.threshold,
                **dict(_figures(values, resamples, labels, groups)),
            )
        )
    mean_samples = np.mean(drawn, axis=0)
    labels, groups = dataset.labels[counted], dataset.groups[counted]
    mean = _figures(np.mean(measured, axis=0), mean_samples, labels, groups)
    return tuple(figures), mean, dict(zip(PREDICTORS, mean_samples, strict=True))


def _at_once(
    dataset: ImageDataset, pooled: Pooled, counted: np.ndarray, samples: int, seed: int
) -> Figures:
    """Returns the figures of images measured at once, each at its own fold's threshold."""
    labels, groups = dataset.labels[counted], dataset.groups[counted]
    # A score of 0 or 1 stands for the answer, whatever threshold gave it.
    predictors = [
        Predictor(scores[counted], 0.5)
        for said in (pooled.scores, pooled.called)
        for scores in said.values()
    ]
    values = np.stack([point_estimate(labels, predictor) for predictor in predictors])
    resamples = bootstrap(labels, groups, predictors, samples, seed)
    for array in (values, resamples):
        by_score, by_answer = np.split(array, 2)
        by_score[..., _AT_THRESHOLD] = by_answer[..., _AT_THRESHOLD]
    return _figures(values[: len(PREDICTORS)], resamples[: len(PREDICTORS)], labels, groups)


def _answered(dataset: ImageDataset, pooled: Pooled, samples: int, seed: int) -> Answered | None:
    """Measures the network where it is sure; None where a fold does not know of that."""
    if pooled.answered is None:
        return None
    return measure_answers(
        dataset.labels,
        pooled.scores[MODEL],
        dataset.groups,
        pooled.thresholds[MODEL],
        pooled.answered,
        samples=samples,
        seed=seed,
    )


def _without_contradicted(
    dataset: ImageDataset, folds: list[FoldResult], pooled: Pooled, samples: int, seed: int
) -> WithoutContradicted | None:
    """Measures the images whose picture one class claims; None if all are so, or a class lacks."""
    counted = ~dataset.contradicted
    left = [dataset.labels[rows][counted[rows]] for rows in (np.array(f.held_out) for f in folds)]
    if counted.all() or any(len(np.unique(labels)) < len(CLASSES) for labels in left):
        return None
    return WithoutContradicted(
        left_out=int(np.sum(~counted)),
        images=int(np.sum(counted)),
        groups=len(np.unique(dataset.groups[counted])),
        mean=_by_fold(dataset, folds, counted, samples, seed)[1],
        pooled=_at_once(dataset, pooled, counted, samples, seed),
        error_at_90_coverage=error_at_coverage(
            dataset.labels[counted],
            pooled.scores[MODEL][counted],
            dataset.groups[counted],
            pooled.thresholds[MODEL][counted],
            samples=samples,
            seed=seed,
        ),
    )


def _figures(
    values: np.ndarray, samples: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> Figures:
    """Returns the predictors' measures with intervals; in the table's order."""
    return Figures(
        **{
            name: with_intervals(value, drawn, labels, groups)
            for name, value, drawn in zip(PREDICTORS, values, samples, strict=True)
        }
    )


def _predictions(dataset: ImageDataset, pooled: Pooled) -> str:
    """Returns what the folds say of the images that they held out, as CSV."""
    header = ["index", "path", "fold", "group", "label", "probability_tumor", "threshold"]
    rows: list[list[object]] = []
    for index, record in enumerate(dataset.manifest.images):
        model, threshold = (float(of[MODEL][index]) for of in (pooled.scores, pooled.thresholds))
        floors = [float(pooled.scores[name][index]) for name in FLOORS]
        fold = int(pooled.fold[index])
        rows.append(
            [index, record.path, fold, record.group, record.label, model, threshold, *floors]
        )
    return csv_text([*header, *(f"probability_tumor_{name}" for name in FLOORS)], rows)


def _print_summary(result: CrossValidation) -> None:
    for name in ("accuracy", "sensitivity", "specificity", "auroc"):
        found = result.mean.model.of(name)
        value, ends = MEASURES[name].texts(found)
        print(f"{name} {value} ({ends})", flush=True)
    print(
        f"{result.suspicious_labels:,} labels are in doubt, see the gallery; none was changed",
        flush=True,
    )
