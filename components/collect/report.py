"""The reports of a cross-validation: its figures, and the labels that it doubts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from components.collect.labels import Suspicion
from components.collect.results import CrossValidation, Figures
from components.shared.data.classes import CLASSES, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.comparison import Lead, sentences
from components.shared.evaluation.contradicted import (
    WithoutContradicted,
    shown_without_contradicted,
)
from components.shared.evaluation.figures import calibration_plot, risk_coverage_plot
from components.shared.evaluation.metrics import FEW_GROUPS, MEASURES
from components.shared.evaluation.predictors import PREDICTORS
from components.shared.evaluation.subgroups import subgroup_tables
from components.shared.evaluation.unsure import risk_coverage
from components.shared.reports import palette
from components.shared.reports.facts import facts_of
from components.shared.reports.html import picture, plot, write_report
from components.shared.reports.numbers import decimal, setting

GALLERY = 80  # pictures shown, at some 6 kB each and 22 kB at most; the CSV has all
_SHOWN = ("accuracy", "sensitivity", "specificity", "auroc")
_OF_FOLDS = (*_SHOWN, "ece")


class Doubt(NamedTuple):
    """A picture in the gallery; `image` is a data URI."""

    rank: int
    image: str
    kind: str
    given: str
    probability: str
    path: str
    images: int


def write_cross_validation_report(
    path: str | Path,
    result: CrossValidation,
    *,
    found: list[Lead],
    labels: np.ndarray,
    scores: np.ndarray,
    thresholds: np.ndarray,
    uncalibrated: np.ndarray,
) -> None:
    """Writes the figures as self-contained HTML.

    Args:
        path: The HTML file.
        result: The figures.
        found: The model against the baselines, by the mean of the folds.
        labels: int [n], 0 Brain Tumor.
        scores: Out-of-fold P(Brain Tumor), float64 [n].
        thresholds: Of each image's fold, float64 [n].
        uncalibrated: The same at temperature 1, float64 [n].
    """
    against, for_it = sentences(found)
    write_report(
        path,
        "collect/report.html.j2",
        {"dataset": result.dataset_digest[:12], "commit": result.git_revision or "unknown"},
        result=result,
        against=against,
        for_it=for_it,
        cards=[
            (MEASURES[name].title, *MEASURES[name].texts(result.mean.model.of(name)))
            for name in _SHOWN
        ],
        rows=[
            (
                measure.title,
                measure.meaning,
                _cells(result.mean, name),
                _cells(result.pooled, name),
            )
            for name, measure in MEASURES.items()
        ],
        subgroup_tables=subgroup_tables(result),
        subgroups_of="All images, each as the network answered that had not seen it.",
        subgroup_sentences=[],
        few_groups=FEW_GROUPS,
        predictors=PREDICTORS,
        measures=[MEASURES[name].title for name in _OF_FOLDS],
        folds=[
            (fold, [MEASURES[name].text(fold.model.of(name).value) for name in _OF_FOLDS])
            for fold in result.folds
        ],
        settings={
            name.replace("_", " "): setting(value)
            for name, value in result.settings.items()
            if value != ""  # "none" beside pretrained weights would deny the network's own
        },
        dots=plot(draw_folds(result)),
        calibration=calibration_plot(labels, scores, uncalibrated),
        answered=[("all images", result.answered)] if result.answered else [],
        error_at_90=result.error_at_90_coverage,
        contradicted=_without_contradicted(result),
        risk_coverage=risk_coverage_plot(
            [("all images", risk_coverage(labels, scores, thresholds), result.answered)],
            result.target_error,
        ),
    )


def _without_contradicted(result: CrossValidation) -> WithoutContradicted | None:
    without = result.without_contradicted
    if without is None:
        return None
    return shown_without_contradicted(
        without.left_out,
        without.images,
        without.groups,
        (result.error_at_90_coverage, without.error_at_90_coverage),
        result.mean,
        without.mean,
    )


def _cells(figures: Figures, measure: str) -> list[tuple[str, str]]:
    return [MEASURES[measure].texts(figures.of(name).of(measure)) for name in PREDICTORS]


def draw_folds(result: CrossValidation) -> Figure:
    """Draws each fold as a dot, and the mean of the folds with its interval, beside the floors."""
    figure = Figure(figsize=(9.6, 2.6), layout="tight")
    for axes, measure in zip(figure.subplots(1, len(_SHOWN), sharey=True), _SHOWN, strict=True):
        for row, (predictor, kind) in enumerate(PREDICTORS.items()):
            dots = [fold.of(predictor).of(measure).value for fold in result.folds]
            mean, color = result.mean.of(predictor).of(measure), kind.color
            axes.plot(dots, [row] * len(dots), "o", color=color, alpha=0.35, ms=5, mec="none")
            axes.plot([mean.low, mean.high], [row + 0.28] * 2, color=color, lw=2)
            axes.plot(mean.value, row + 0.28, "D", color=color, ms=5)
        axes.set_title(MEASURES[measure].title, fontsize=10)
        axes.set_yticks(range(len(PREDICTORS)), [kind.title for kind in PREDICTORS.values()])
        axes.set_ylim(len(PREDICTORS) - 0.4, -0.5)
        axes.margins(x=0.08)
        axes.grid(color=palette.GRID, lw=0.7, axis="x")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure


def write_suspicions_report(
    path: str | Path, dataset: ImageDataset, suspicions: list[Suspicion]
) -> None:
    """Writes the labels in doubt as self-contained HTML below 2 MB.

    Args:
        path: The HTML file.
        dataset: The images.
        suspicions: The pictures in doubt, the most doubtful first.
    """
    write_report(
        path,
        "collect/suspicious_labels.html.j2",
        facts_of(dataset),
        classes=[
            (name, sum(suspicion.label == label for suspicion in suspicions))
            for label, name in enumerate(CLASSES)
        ],
        total=len(suspicions),
        images=sum(len(suspicion.positions) for suspicion in suspicions),
        doubts=[
            _doubt(rank, dataset, suspicion)
            for rank, suspicion in enumerate(suspicions[:GALLERY], start=1)
        ],
    )


def _doubt(rank: int, dataset: ImageDataset, suspicion: Suspicion) -> Doubt:
    shown = suspicion.positions[0]
    return Doubt(
        rank=rank,
        image=picture(dataset.read([shown])[0], size=150),
        kind="tumor" if suspicion.label == TUMOR else "healthy",
        given=CLASSES[suspicion.label],
        probability=decimal(suspicion.confidence),
        path=dataset.manifest.images[shown].path,
        images=len(suspicion.positions),
    )
