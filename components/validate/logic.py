"""The validate step: one model on the images of one other source."""

from pathlib import Path

import numpy as np

from components.shared.data.classes import CLASSES, STRANGERS, TUMOR
from components.shared.data.dataset import KINDS, ImageDataset
from components.shared.errors import require_at_least
from components.shared.evaluation.external import (
    EXTERNAL,
    PREDICTIONS,
    ExternalResult,
    Strangers,
)
from components.shared.evaluation.metrics import (
    MIN_SAMPLES,
    Interval,
    bootstrap,
    confusion,
    intervals,
    point_estimate,
    share,
)
from components.shared.evaluation.subgroups import by_kind, measure_subgroups, partition
from components.shared.evaluation.unsure import measure_answers
from components.shared.model_folder.known_images import KnownImages
from components.shared.reports.text import csv_text
from components.shared.storage.files import write_atomically
from components.validate.judged import SURE, Judged, find_overlap, judge
from components.validate.model import JudgedModel
from components.validate.report import write_external_report

_NAMES = (*CLASSES, STRANGERS)  # by label


def validate(
    dataset: ImageDataset,
    model: JudgedModel,
    known: KnownImages | None,
    output_folder: str | Path,
    report_path: str | Path,
    *,
    name: str = "",
    seed: int = 0,
    bootstrap_samples: int = 1000,
) -> ExternalResult:
    """Measures a model on another source, as it is: nothing is chosen or fitted here.

    Args:
        dataset: The other source, ingested to judge models by.
        model: The model.
        known: The images of its own dataset; None where nothing is kept of them.
        output_folder: Takes `external.json` and `predictions.csv`.
        report_path: Takes the HTML report.
        name: Of the source, for people; empty for its address.
        seed: Of the bootstrap.
        bootstrap_samples: Resamples an interval, at least 100.

    Returns:
        What `external.json` holds.

    Raises:
        UserError: No image is left, or a number is out of range.
    """
    require_at_least(MIN_SAMPLES, bootstrap_samples=bootstrap_samples)
    without, overlap = find_overlap(dataset, known)
    judged = judge(dataset, model, without, overlap)
    result = measure(dataset, judged, name=name, seed=seed, samples=bootstrap_samples)
    folder = Path(output_folder)
    write_atomically(folder / PREDICTIONS, _predictions(dataset, judged))
    write_atomically(folder / EXTERNAL, result.model_dump_json(indent=2) + "\n")
    write_external_report(report_path, result, dataset, judged, model)
    return result


def nothing(output_folder: str | Path, report_path: str | Path) -> None:
    """Writes what the step writes where there is no other source: a word, and no result."""
    word = "No other source was given.\n"
    write_atomically(Path(output_folder) / "nothing.txt", word)
    write_atomically(report_path, f"<!doctype html><title>Another source</title><p>{word}")


def measure(
    dataset: ImageDataset, judged: Judged, *, name: str, seed: int, samples: int
) -> ExternalResult:
    """Measures answers.

    Args:
        dataset: The source.
        judged: The answers.
        name: Of the source, for people; empty for its address.
        seed: Of the bootstrap.
        samples: Resamples an interval.
    """
    rows, model = judged.rows, judged.model
    labels, groups, here = dataset.labels[rows], dataset.groups[rows], model.on(rows)
    print(f"drawing {samples:,} resamples of the groups", flush=True)
    drawn = bootstrap(labels, groups, [here], samples, seed)[0]
    tumor = int(np.sum(labels == TUMOR))
    of_truth = np.where(labels == TUMOR, here.scores, 1 - here.scores)

    def flagged_share(positions: np.ndarray) -> Interval | None:
        if judged.flagged is None:
            return None
        return share(judged.flagged[positions], dataset.groups[positions], samples, seed)

    def strangers_of(title: str, positions: np.ndarray) -> Strangers:
        of = dataset.groups[positions]
        called = model.scores[positions] >= model.threshold
        return Strangers(
            name=title,
            images=len(positions),
            groups=len(np.unique(of)),
            flagged=flagged_share(positions),
            called_tumor=share(called, of, samples, seed),
        )

    strangers: tuple[Strangers, ...] = ()
    if len(judged.strangers):
        parts = partition(_joined(dataset, ("site", "sequence", "type")), judged.strangers)
        strangers = tuple(strangers_of(*part) for part in [("all", judged.strangers), *parts])
    shares = {
        name: counts
        for name, counts in (("flagged", judged.flagged), ("unsure", judged.unsure))
        if counts is not None
    }
    subgroups = by_kind(dataset, rows, model, samples, seed, shares)
    both = measure_subgroups(
        dataset,
        _joined(dataset, ("site", "sequence")),
        rows,
        model,
        shares=shares,
        samples=samples,
        seed=seed,
    )
    finer = len(both) > max(len(subgroups.by_site), len(subgroups.by_sequence))
    manifest = dataset.manifest
    return ExternalResult(
        name=(name or manifest.source)[:200],
        source=manifest.source,
        source_version=manifest.source_version,
        dataset_digest=dataset.digest,
        threshold=model.threshold,
        seed=seed,
        bootstrap_samples=samples,
        overlap=judged.overlap,
        unusable=len(manifest.quarantined),
        images=len(rows),
        groups=len(np.unique(groups)),
        patients=dataset.count_patients(rows),
        tumor=tumor,
        healthy=len(rows) - tumor,
        scores=intervals(point_estimate(labels, here), drawn, labels, groups),
        confusion=confusion(labels, *here),
        commoner_class=max(tumor, len(rows) - tumor) / len(rows),
        mean_probability=float(np.mean(here.scores)),
        sure_and_wrong=int(np.sum(of_truth <= 1 - SURE)),
        flagged=flagged_share(rows),
        answered=None
        if judged.unsure is None
        else measure_answers(
            labels,
            here.scores,
            groups,
            here.threshold,
            ~judged.unsure[rows],
            samples=samples,
            seed=seed,
        ),
        by_site_and_sequence=both if finer else (),
        strangers=strangers,
        **dict(subgroups),
    )


def _joined(dataset: ImageDataset, kinds: tuple[str, ...]) -> list[str | None]:
    """Returns what is known of each image of several kinds, such as `tcga, FLAIR`, or None."""
    known = (
        [value for kind in kinds if (value := getattr(record, kind)) is not None]
        for record in dataset.manifest.images
    )
    return [", ".join(values) or None for values in known]


def _predictions(dataset: ImageDataset, judged: Judged) -> str:
    """Returns the model's answers as CSV."""
    asked = np.sort(np.concatenate([judged.rows, judged.strangers])).tolist()
    records, flagged = dataset.manifest.images, judged.flagged
    return csv_text(
        ["path", "label", "probability_tumor", "flagged", *KINDS],
        (
            [
                (record := records[position]).path,
                _NAMES[record.label],
                float(judged.model.scores[position]),
                "" if flagged is None else int(flagged[position]),
                *(getattr(record, kind) or "" for kind in KINDS),
            ]
            for position in asked
        ),
    )
