"""The report of a model on another source: what it is worth there, and where it goes wrong."""

from pathlib import Path

import numpy as np

from components.shared.data.classes import CLASSES, STRANGERS, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation import figures
from components.shared.evaluation.external import ExternalResult
from components.shared.evaluation.galleries import BORDERLINE, Gallery, borderline, show
from components.shared.evaluation.metrics import FEW_GROUPS, MEASURES, Scores
from components.shared.evaluation.predictors import MODEL
from components.shared.reports.facts import facts_of
from components.shared.reports.html import write_report
from components.shared.reports.numbers import decimal, percent
from components.validate.judged import SURE, Judged
from components.validate.model import JudgedModel

_SHOWN = 8  # of each gallery
_CARDS = ("accuracy", "sensitivity", "specificity", "auroc", "ece")


def write_external_report(
    path: str | Path,
    result: ExternalResult,
    dataset: ImageDataset,
    judged: Judged,
    model: JudgedModel,
) -> None:
    """Writes the self-contained HTML report, below what the KFP UI shows.

    Args:
        path: The HTML file.
        result: The numbers.
        dataset: The source.
        judged: The answers.
        model: For the heat maps.
    """
    labels, here = dataset.labels[judged.rows], judged.model.on(judged.rows)
    write_report(
        path,
        "validate/report.html.j2",
        {"model": model.title} | facts_of(dataset),
        result=result,
        model=model,
        cards=[
            (MEASURES[name].title, *MEASURES[name].texts(score))
            for name in _CARDS
            if (score := result.of(name))
        ],
        unmeasured=", ".join(result.unmeasured()),
        rows=_rows(result, model.held_out),
        roc=figures.roc_plot(labels, {MODEL: here}) if result.of("auroc") else "",
        calibration=figures.calibration_plot(labels, here.scores),
        share_of_tumors=result.tumor / result.images,
        subgroup_tables=[(f"By {name}", found) for name, found in result.tables()],
        subgroups_of="Of this source.",
        subgroup_sentences=[],
        few_groups=FEW_GROUPS,
        sure=SURE,
        wrong=result.confusion[0][1] + result.confusion[1][0],
        galleries=_galleries(dataset, judged, model),
    )


def _rows(
    result: ExternalResult, held_out: Scores
) -> list[tuple[str, str, tuple[str, str], tuple[str, str]]]:
    """Returns title and meaning of each measure, its value here and that on the own dataset."""
    none = ("–", "")
    return [
        (
            measure.title,
            measure.meaning,
            measure.texts(score) if (score := result.of(name)) else none,
            measure.texts(held_out.of(name)),
        )
        for name, measure in MEASURES.items()
    ]


def _galleries(dataset: ImageDataset, judged: Judged, model: JudgedModel) -> list[Gallery]:
    """Returns what is wrong, borderline and right, and what the check for strangers got wrong."""
    scores, rows = judged.model.scores, judged.rows
    tumor = dataset.labels[rows] == TUMOR
    called = scores[rows] >= judged.model.threshold
    right = np.where(tumor, scores[rows], 1 - scores[rows])  # P(true class)
    wrong, sure = tumor != called, right <= 1 - SURE

    def caption(position: int) -> str:
        record = dataset.manifest.images[position]
        known = [record.site, record.sequence, record.type]
        said = [CLASSES[record.label] if record.label < len(CLASSES) else STRANGERS]
        said += [value for value in known if value]
        return f"P(Brain Tumor) {decimal(scores[position])}; is {', '.join(said)}"

    def gallery(title: str, kind: str, meaning: str, ranked: np.ndarray) -> Gallery:
        pictures = show(dataset, ranked, caption, model.explain, _SHOWN)
        return Gallery(title, kind, meaning, len(ranked), pictures)

    def mistakes(chosen: np.ndarray) -> np.ndarray:
        ranked: np.ndarray = rows[chosen][np.argsort(right[chosen], kind="stable")]
        return ranked

    found = []
    for which, of_sure in (
        (f"Sure (at least {percent(SURE, 0)}) and wrong", sure),
        ("Wrong", ~sure),
    ):
        for title, kind, of_class in (
            ("tumours called healthy", "tumor", tumor),
            ("healthy images called tumour", "healthy", ~tumor),
        ):
            ranked = mistakes(wrong & of_sure & of_class)
            found.append(gallery(f"{which}: {title}", kind, "the surest first", ranked))
    near = rows[borderline(scores[rows], judged.model.threshold)]
    found.append(gallery("Borderline", "", BORDERLINE, near))
    surest = np.argsort(-right, kind="stable")
    found.append(gallery("Right", "", "the surest first", rows[surest][~wrong[surest]]))
    if judged.flagged is not None:
        flagged = rows[judged.flagged[rows]]
        meaning = "brain MRI that the model takes for something else"
        found.append(gallery("Flagged as no brain MRI", "", meaning, flagged))
        passed = judged.strangers[~judged.flagged[judged.strangers]]
        if len(judged.strangers):
            meaning = "what it answers for them means nothing, and nobody is told"
            found.append(gallery("No brain MRI, and not flagged", "", meaning, passed))
    return found
