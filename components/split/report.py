"""The split reports: what each part holds and what of it training has already seen."""

from pathlib import Path
from typing import Any

import numpy as np

from components.shared.data.classes import CLASSES
from components.shared.data.dataset import PARTS, ImageDataset, Split, twins_in_training
from components.shared.reports.facts import facts_of
from components.shared.reports.html import write_report

TITLES = {"train": "train", "validation": "validation", "held_out": "held out"}


def write_split_report(path: str | Path, dataset: ImageDataset, split: Split) -> None:
    """Writes the report as self-contained HTML.

    Args:
        path: The HTML file.
        dataset: What was divided.
        split: How.
    """
    rows = [_row(TITLES[part], dataset, split, part) for part in PARTS]
    known = _known(dataset, [split])
    write_report(
        path,
        "split/report.html.j2",
        facts_of(dataset, split),
        split=split,
        rows=rows,
        classes=CLASSES,
        **known,
    )


def write_folds_report(path: str | Path, dataset: ImageDataset, splits: list[Split]) -> None:
    """Writes what each fold holds out as self-contained HTML.

    Args:
        path: The HTML file.
        dataset: What was divided.
        splits: One a fold.
    """
    rows = [
        _row(f"fold {fold}", dataset, split, "held_out")
        | {
            "source": split.source,
            "shared": _shared_groups(dataset, split.part("held_out")),
        }
        for fold, split in enumerate(splits, start=1)
    ]
    known = _known(dataset, splits)
    write_report(
        path,
        "split/folds.html.j2",
        facts_of(dataset),
        split=splits[0],
        rows=rows,
        classes=CLASSES,
        **known,
    )


def _known(dataset: ImageDataset, splits: list[Split]) -> dict[str, int | None]:
    """Returns what both reports say: patients known, and contradicted images, learned or not."""
    learned = np.concatenate([split.part(part) for split in splits for part in PARTS[:2]])
    return {
        "patients": dataset.count_patients(np.arange(len(dataset))),
        "contradicted": int(dataset.contradicted.sum()),
        "contradicted_learned": len(np.unique(learned[dataset.contradicted[learned]])),
    }


def _shared_groups(dataset: ImageDataset, held_out: np.ndarray) -> int:
    """Counts the other images in the groups of held-out ones."""
    return int(np.isin(dataset.groups, dataset.groups[held_out]).sum()) - len(held_out)


def _row(name: str, dataset: ImageDataset, split: Split, part: str) -> dict[str, Any]:
    """Returns a part's line in the table."""
    indices = split.part(part)
    labels = dataset.labels[indices]
    twins = twins_in_training(dataset.duplicate_groups, split.part("train"), indices)
    return {
        "name": name,
        "images": len(indices),
        "share": len(indices) / len(dataset),
        "groups": len(np.unique(dataset.groups[indices])),
        "classes": [int((labels == label).sum()) for label in range(len(CLASSES))],
        "tumor_share": float((labels == 0).mean()),
        "contradicted": int(dataset.contradicted[indices].sum()),
        "twins": twins,
        "twin_share": twins / len(indices),
    }
