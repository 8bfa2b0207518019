"""The evaluation report: what the model is worth, and where it goes wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from markupsafe import Markup

from components.shared.data.classes import CLASSES, TUMOR
from components.shared.data.dataset import ImageDataset, Split
from components.shared.evaluation import figures
from components.shared.evaluation.comparison import Lead, floors_by_accuracy, sentences
from components.shared.evaluation.contradicted import (
    WithoutContradicted,
    shown_without_contradicted,
)
from components.shared.evaluation.galleries import BORDERLINE, SHOWN, Gallery, borderline, show
from components.shared.evaluation.metrics import FEW_GROUPS, MEASURES, Predictor
from components.shared.evaluation.predictor import predict_tumor
from components.shared.evaluation.predictors import MODEL, PREDICTORS
from components.shared.evaluation.results import Evaluation, PartResult, Shortcuts, Stability
from components.shared.evaluation.shortcuts import TABLES, shortcut_sentences
from components.shared.evaluation.stability import (
    BORDER_ALONE,
    PERTURBATIONS,
    STEADY,
    TELLING_BORDER,
    UNSTEADY,
    stability_sentences,
    versions,
)
from components.shared.evaluation.subgroups import subgroup_sentences, subgroup_tables
from components.shared.evaluation.unsure import risk_coverage
from components.shared.networks.gradcam import gradcam
from components.shared.reports.facts import facts_of
from components.shared.reports.html import picture, plot, write_report
from components.shared.reports.learning_curves import draw_learning_curves
from components.shared.reports.numbers import decimal, setting
from components.shared.training.record import TrainingRecord

_UNSHOWN = frozenset({"libraries", "split_strategy", "dataset_digest", "split_digest"})
_NEAR, _RIGHT = 8, 6  # shown


@dataclass(frozen=True)
class Findings:
    """All that the report shows.

    Attributes:
        evaluation: The numbers.
        leads: The model against the floors on the held-out part.
        dataset: The images.
        split: Their parts.
        model: For the heat maps.
        predictors: Each one's scores of every image, by its name in `PREDICTORS`.
        uncalibrated: What the model said before calibration, P(Brain Tumor) of every image.
        history: Training curves, by column.
        record: How the model was made.
        shortcuts: Accuracy by what the file says of itself.
        stability: Answers for changed images.
        asked_again: Positions of the images that were changed.
    """

    evaluation: Evaluation
    leads: list[Lead]
    dataset: ImageDataset
    split: Split
    model: keras.Model
    predictors: dict[str, Predictor]
    uncalibrated: np.ndarray
    history: dict[str, np.ndarray]
    record: TrainingRecord
    shortcuts: Shortcuts
    stability: Stability
    asked_again: np.ndarray


class Version(NamedTuple):
    """An image under one change; the picture is a data URI."""

    name: str
    probability: str
    flipped: bool
    picture: str


def write_evaluation_report(path: str | Path, findings: Findings) -> None:
    """Writes the self-contained HTML report, well below what the KFP UI shows.

    Args:
        path: The HTML file.
        findings: What to show.
    """
    evaluation, split = findings.evaluation, findings.split
    labels = findings.dataset.labels
    held_out, validation = split.part("held_out"), split.part("validation")
    scores = findings.predictors[MODEL].scores
    against, for_it = sentences(findings.leads)
    write_report(
        path,
        "evaluate/report.html.j2",
        facts_of(findings.dataset, split),
        evaluation=evaluation,
        against=against,
        for_it=for_it,
        cards=[
            (MEASURES[name].title, *MEASURES[name].texts(evaluation.held_out.model.of(name)))
            for name in ("accuracy", "sensitivity", "specificity", "auroc")
        ],
        predictors=PREDICTORS,
        floors=floors_by_accuracy(evaluation.held_out),
        held_out=_part(findings, evaluation.held_out, held_out),
        full_dataset=_part(findings, evaluation.full_dataset, np.arange(len(findings.dataset))),
        trained_on=len(split.train),
        start_note=findings.record.start_note(),
        training_curves=plot(
            draw_learning_curves(
                findings.history, findings.record.best_epoch, findings.record.averaged_epochs
            )
        ),
        settings={
            name.replace("_", " "): setting(value)
            for name, value in findings.record
            if name not in _UNSHOWN and value is not None
        },
        sweep=figures.threshold_sweep(
            (labels[held_out], scores[held_out]),
            (labels[validation], scores[validation]),
            evaluation.threshold,
        ),
        answered=[
            ("held-out part", evaluation.unsure.held_out),
            ("validation part", evaluation.unsure.validation),
        ]
        if evaluation.unsure
        else [],
        error_at_90=evaluation.error_at_90_coverage,
        contradicted=_without_contradicted(evaluation),
        risk_coverage=_risk_coverage(findings),
        galleries=_galleries(findings, held_out),
        subgroup_tables=subgroup_tables(evaluation),
        subgroups_of="On the held-out part.",
        subgroup_sentences=subgroup_sentences(evaluation),
        shortcuts=findings.shortcuts,
        shortcut_sentences=shortcut_sentences(findings.shortcuts),
        shortcut_tables=[
            (*titles, getattr(findings.shortcuts, name)) for name, titles in TABLES.items()
        ],
        few_groups=FEW_GROUPS,
        stability=findings.stability,
        stability_sentences=stability_sentences(findings.stability),
        stability_plot=figures.stability_plot(findings.stability),
        steady=STEADY,
        unsteady=UNSTEADY,
        telling_border=TELLING_BORDER,
        border_alone=BORDER_ALONE,
        example=_example(findings),
    )


def _without_contradicted(evaluation: Evaluation) -> WithoutContradicted | None:
    without = evaluation.without_contradicted
    if without is None:
        return None
    return shown_without_contradicted(
        without.left_out,
        without.images,
        without.groups,
        (evaluation.error_at_90_coverage, without.error_at_90_coverage),
        evaluation.held_out,
        without,
    )


def _part(findings: Findings, result: PartResult, rows: np.ndarray) -> dict[str, Any]:
    """Returns what the template shows of one part."""
    labels = findings.dataset.labels[rows]
    here = {name: predictor.on(rows) for name, predictor in findings.predictors.items()}
    return {
        "result": result,
        "rows": [
            (
                measure.title,
                measure.meaning,
                [measure.texts(result.of(predictor).of(name)) for predictor in PREDICTORS],
            )
            for name, measure in MEASURES.items()
        ],
        "roc": figures.roc_plot(labels, here),
        "calibration": figures.calibration_plot(
            labels, here[MODEL].scores, findings.uncalibrated[rows]
        ),
    }


def _risk_coverage(findings: Findings) -> Markup:
    """Draws the error at every coverage of the held-out part and of validation."""
    evaluation, model = findings.evaluation, findings.predictors[MODEL]
    parts = []
    for name, part in (("held-out part", "held_out"), ("validation part", "validation")):
        rows = findings.split.part(part)
        curve = risk_coverage(findings.dataset.labels[rows], *model.on(rows))
        parts.append((name, curve, getattr(evaluation.unsure, part, None)))
    return figures.risk_coverage_plot(parts, evaluation.target_error)


def _galleries(findings: Findings, rows: np.ndarray) -> list[Gallery]:
    """Returns what is wrong, what nearly is, and what is right, among some images."""
    model, explain = findings.predictors[MODEL], gradcam(findings.model)
    scores, labels = model.scores, findings.dataset.labels
    tumor, called = labels[rows] == TUMOR, scores[rows] >= model.threshold

    def gallery(title: str, kind: str, meaning: str, ranked: np.ndarray, most: int) -> Gallery:
        pictures = show(
            findings.dataset,
            ranked,
            lambda position: (
                f"P(Brain Tumor) {decimal(scores[position])}; is {CLASSES[labels[position]]}"
            ),
            lambda pixels: np.asarray(explain(pixels).heatmap),
            most,
        )
        return Gallery(title, kind, meaning, len(ranked), pictures)

    def least(which: np.ndarray) -> np.ndarray:
        found: np.ndarray = rows[which][np.argsort(scores[rows[which]], kind="stable")]
        return found

    def greatest(which: np.ndarray) -> np.ndarray:
        found: np.ndarray = rows[which][np.argsort(-scores[rows[which]], kind="stable")]
        return found

    low, high = "the least P(Brain Tumor) first", "the greatest P(Brain Tumor) first"
    return [
        gallery(
            "Tumours called healthy",
            "tumor",
            f"false negatives, {low}",
            least(tumor & ~called),
            SHOWN,
        ),
        gallery(
            "Healthy images called tumour",
            "healthy",
            f"false positives, {high}",
            greatest(~tumor & called),
            SHOWN,
        ),
        gallery(
            "Borderline",
            "",
            BORDERLINE,
            rows[borderline(scores[rows], model.threshold)],
            _NEAR,
        ),
        gallery("Tumours found", "tumor", high, greatest(tumor & called), _RIGHT),
        gallery("Healthy images recognised", "healthy", low, least(~tumor & ~called), _RIGHT),
    ]


def _example(findings: Findings) -> tuple[str, list[Version]]:
    """Returns the path of a typical tumour image, and the image under every change."""
    model, asked = findings.predictors[MODEL], findings.asked_again
    tumors = asked[findings.dataset.labels[asked] == TUMOR]
    position = int(tumors[np.argsort(model.scores[tumors], kind="stable")[len(tumors) // 2]])
    (pixels,) = findings.dataset.read([position])
    pictures = versions(pixels, [findings.evaluation.seed, position])
    scores = predict_tumor(findings.model, [(np.arange(len(pictures)), pictures)], len(pictures))
    called = scores >= model.threshold
    names = ["unchanged", *(perturbation.name for perturbation in PERTURBATIONS)]
    return findings.dataset.manifest.images[position].path, [
        Version(name, decimal(score), bool(answer != called[0]), picture(image))
        for name, score, answer, image in zip(names, scores, called, pictures, strict=True)
    ]
