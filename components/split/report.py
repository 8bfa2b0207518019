"""The split report: what each part holds and what of it training has already seen."""

from pathlib import Path

import numpy as np

from components.dataset import CLASSES, PARTS, ImageDataset, Split, twins_in_training
from components.report import write_report

TITLES = {"train": "train", "validation": "validation", "held_out": "held out"}


def write_split_report(path: str | Path, dataset: ImageDataset, split: Split) -> None:
    """Writes the report as self-contained HTML.

    Args:
        path: The HTML file.
        dataset: What was divided.
        split: How.
    """
    rows = []
    for part in PARTS:
        indices = split.part(part)
        labels = dataset.labels[indices]
        twins = twins_in_training(dataset.groups, split.part("train"), indices)
        rows.append(
            {
                "name": TITLES[part],
                "images": len(indices),
                "share": len(indices) / len(dataset),
                "groups": len(np.unique(dataset.groups[indices])),
                "classes": [int((labels == label).sum()) for label in range(len(CLASSES))],
                "tumor_share": float((labels == 0).mean()),
                "twins": twins,
                "twin_share": twins / len(indices),
            }
        )
    write_report(path, "split/report.html.j2", split=split, rows=rows, classes=CLASSES)
