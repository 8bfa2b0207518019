"""How a volume's answer should come from its slices', and how a volume's greys are stretched.

    python -m benchmarks.volumes --model runs/registry/brain-tumor/1 --labels path/to/labels.csv

The table has the columns path, label, patient, site and sequence; the slices of one patient, site
and sequence are a volume. Where a dataset shows of a patient only the slices with the tumour, a
volume is made of some of these, and slices of a random healthy volume whose sequence begins alike.
Of all volumes those six slices in the middle count. Without --labels, the volumes are made up.
"""

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from components.ingest.sample import draw_slice
from components.shared.data.classes import CLASSES, TUMOR
from components.shared.images import deep
from components.shared.images.decode import squeezed
from pipelines.ending import ended
from serving.classifier import Classifier

SLICES = 6
DRAWS = 20  # of the healthy slices beside a tumour's
SHOWING_IT = (1, 2, 3, 6)
BRAIN_TUMOR = CLASSES[TUMOR]

Volume = list[np.ndarray]  # uint8 [h, w] each
Volumes = dict[str, list[Volume]]  # by the beginning of their sequence

RULES: dict[str, Callable[[np.ndarray], float]] = {
    "highest": lambda values: float(values.max()),
    "mean of the highest 3": lambda values: float(np.sort(values)[-3:].mean()),
    "mean": lambda values: float(values.mean()),
}
STRETCHES: dict[str, Callable[[Volume], Volume]] = {
    "not at all": lambda slices: slices,
    "together": lambda slices: _stretched(slices),
    "each alone": lambda slices: [_stretched([slice])[0] for slice in slices],
}


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description="Rules for volumes.")
    parser.add_argument("--model", type=Path, default=Path("runs/demo/registry/brain-tumor/1"))
    parser.add_argument("--labels", type=Path)
    arguments = parser.parse_args()
    sick, healthy = _read(arguments.labels) if arguments.labels else (_drawn(True), _drawn(False))
    classifier = Classifier(arguments.model)
    console = Console(width=100)
    limit = classifier.model.threshold
    counts = [sum(map(len, volumes.values())) for volumes in (sick, healthy)]
    console.print(f"{counts[0]} volumes with a tumour, {counts[1]} without; threshold {limit:.3f}")

    table = Table("greys stretched", "tumour", "rule", "AUROC", "sensitivity", "specificity")
    for stretch, stretched in STRETCHES.items():
        ill, well = (_answers(classifier, volumes, stretched) for volumes in (sick, healthy))
        for count in SHOWING_IT if stretch == "together" else SHOWING_IT[-1:]:
            for rule, combined in RULES.items():
                measures = _measured(ill, well, count, combined, limit)
                where = f"{count} of {SLICES}"
                table.add_row(stretch, where, rule, *(f"{measure:.2f}" for measure in measures))
    console.print(table)


def _measured(
    sick: dict[str, list[np.ndarray]],
    healthy: dict[str, list[np.ndarray]],
    count: int,
    combined: Callable[[np.ndarray], float],
    threshold: float,
) -> np.ndarray:
    """Returns AUROC, sensitivity and specificity where so many slices show the tumour."""
    rng = np.random.default_rng(0)
    measures = []
    for _ in range(DRAWS):
        scores = [
            combined(
                np.concatenate(
                    [
                        rng.choice(volume, count, replace=count > len(volume)),
                        rng.choice(others[rng.integers(len(others))], SLICES - count),
                    ]
                )
            )
            for sequence, others in healthy.items()
            for volume in sick.get(sequence, [])
        ]
        spared = [combined(volume) for volumes in healthy.values() for volume in volumes]
        labels = [True] * len(scores) + [False] * len(spared)
        measures.append(
            (
                roc_auc_score(labels, scores + spared),
                np.mean(np.array(scores) >= threshold),
                np.mean(np.array(spared) < threshold),
            )
        )
    return np.mean(measures, axis=0)


def _answers(
    classifier: Classifier, volumes: Volumes, stretched: Callable[[Volume], Volume]
) -> dict[str, list[np.ndarray]]:
    """Returns P(Brain Tumor) of the slices of each volume."""
    return {
        sequence: [
            np.array(
                [
                    answer.probabilities[BRAIN_TUMOR]
                    for answer in classifier.classify(
                        np.stack([squeezed(Image.fromarray(s)) for s in stretched(volume)])
                    )
                ]
            )
            for volume in each
        ]
        for sequence, each in volumes.items()
    }


def _stretched(slices: Volume) -> Volume:
    """Stretches slices of one size by the rule of deep images."""
    stacked = np.stack(slices).astype(np.int16)
    rows = stacked.reshape(-1, stacked.shape[-1], 1)
    return list(np.asarray(deep.image(deep.Samples(rows))).reshape(stacked.shape))


def _read(labels: Path) -> tuple[Volumes, Volumes]:
    """Returns the volumes with a tumour and those without; single images are none."""
    found: dict[tuple[str, ...], Volume] = defaultdict(list)
    with labels.open(newline="") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: row["path"]):
            if row["label"] in CLASSES:
                key = (row["label"], row["site"], row["sequence"], row["patient"])
                with Image.open(labels.parent / row["path"]) as image:
                    found[key].append(np.asarray(image.convert("L")))
    volumes: tuple[Volumes, Volumes] = defaultdict(list), defaultdict(list)
    for (label, _, sequence, _), slices in found.items():
        if len(slices) > 1:
            first = max(0, len(slices) - SLICES) // 2
            of_class = volumes[label != BRAIN_TUMOR]
            of_class[sequence.split()[0]].append(slices[first : first + SLICES])
    return volumes


def _drawn(tumour: bool) -> Volumes:
    rng = np.random.default_rng(tumour)
    size = (200, 200)
    return {
        "drawn": [
            [np.asarray(draw_slice(tumour, rng).resize(size)) for _ in range(SLICES)]
            for _ in range(20)
        ]
    }


if __name__ == "__main__":
    sys.exit(ended(main))
