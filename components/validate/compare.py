"""Two models on the same images of another source, with the interval of their difference."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.comparison import Difference, differences
from components.shared.evaluation.external import ExternalResult
from components.shared.evaluation.metrics import FEW_GROUPS, MEASURES, bootstrap
from components.shared.model_folder.known_images import KnownImages
from components.shared.reports.facts import facts_of
from components.shared.reports.html import write_report
from components.shared.reports.numbers import decimal, percent
from components.shared.storage.files import write_atomically
from components.shared.strict import Strict
from components.validate.judged import Judged, find_overlap, judge
from components.validate.logic import measure
from components.validate.model import JudgedModel

COMPARISON = "comparison.json"


class Comparison(Strict):
    """Two models on the same images."""

    schema_version: Literal[1] = 1
    titles: tuple[str, str]
    results: tuple[ExternalResult, ExternalResult]
    differences: tuple[Difference, ...] = Field(
        description="how far the first is ahead, with the interval of the paired difference"
    )
    answers_differ: int = Field(ge=0, description="images for which they answer otherwise")
    only_first_right: int = Field(ge=0)
    only_second_right: int = Field(ge=0)


def compare(
    dataset: ImageDataset,
    models: tuple[JudgedModel, JudgedModel],
    known: tuple[KnownImages | None, KnownImages | None],
    output_folder: str | Path,
    report_path: str | Path,
    *,
    name: str = "",
    seed: int = 0,
    bootstrap_samples: int = 1000,
) -> Comparison:
    """Compares two models on another source, on the images that neither's own dataset holds.

    Args:
        dataset: The other source, ingested to judge models by.
        models: The models.
        known: The images of each one's own dataset; None where nothing is kept of them.
        output_folder: Takes `comparison.json`.
        report_path: Takes the HTML report.
        name: Of the source, for people; empty for its address.
        seed: Of the bootstrap.
        bootstrap_samples: Resamples an interval, at least 100.

    Returns:
        What `comparison.json` holds.

    Raises:
        UserError: No image is left.
    """
    rows, overlap = find_overlap(dataset, *known)
    one, other = (judge(dataset, model, rows, overlap) for model in models)
    results = tuple(
        measure(dataset, judged, name=name, seed=seed, samples=bootstrap_samples)
        for judged in (one, other)
    )
    labels, groups = dataset.labels[one.rows], dataset.groups[one.rows]
    here = [judged.model.on(judged.rows) for judged in (one, other)]
    drawn = bootstrap(labels, groups, here, bootstrap_samples, seed)
    first, second = (_right(dataset, judged) for judged in (one, other))
    comparison = Comparison(
        titles=(models[0].title, models[1].title),
        results=(results[0], results[1]),
        differences=tuple(differences(results[0].scores, results[1].scores, drawn[0] - drawn[1])),
        answers_differ=int(np.sum(first != second)),
        only_first_right=int(np.sum(first & ~second)),
        only_second_right=int(np.sum(second & ~first)),
    )
    write_atomically(Path(output_folder) / COMPARISON, comparison.model_dump_json(indent=2) + "\n")
    write_report(
        report_path,
        "validate/comparison.html.j2",
        facts_of(dataset),
        comparison=comparison,
        few_groups=FEW_GROUPS,
        rows=[_row(comparison, found) for found in comparison.differences],
    )
    return comparison


def verdict(found: Difference, titles: tuple[str, str]) -> str:
    """Returns in words whether a difference is more than chance can give."""
    if found.low > 0:
        return f"{titles[0]} is better"
    return f"{titles[1]} is better" if found.high < 0 else "no more than chance can give"


def lead_texts(found: Difference) -> tuple[str, str]:
    """Returns a difference and its interval as people read them, such as `+1.2%`."""
    text = percent if MEASURES[found.measure].is_share else decimal
    value, low, high = (text(n, signed=True) for n in (found.value, found.low, found.high))
    return value, f"{low} to {high}"


def _row(comparison: Comparison, found: Difference) -> dict[str, Any]:
    lead, ends = lead_texts(found)
    return {
        "measure": MEASURES[found.measure],
        "scores": [result.scores[found.measure] for result in comparison.results],
        "lead": lead,
        "ends": ends,
        "verdict": verdict(found, comparison.titles),
        "kind": "model" if found.low > 0 else "bad" if found.high < 0 else "",
    }


def _right(dataset: ImageDataset, judged: Judged) -> np.ndarray:
    """Returns whether each answer is right, bool [rows]."""
    here = judged.model.on(judged.rows)
    right: np.ndarray = (here.scores >= here.threshold) == (dataset.labels[judged.rows] == TUMOR)
    return right
