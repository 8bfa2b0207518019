"""The reference CNN under both splits, beside the floors: what the leak is worth.

    python -m benchmarks.splits --source path/to/archive.zip --learning-rate 0.0001

Trains once on the split by duplicate group and once on the reference implementation's split by
name, with the same values, and prints accuracy at a threshold of 0.5 with 95% intervals by
duplicate group. In the split by name the validation part is the held-out part.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.images import open_images
from components.shared.data.dataset import ImageDataset, Split, Strategy, twins_in_training
from components.shared.evaluation.floors import metadata_scores, nearest_neighbour_scores
from components.shared.evaluation.metrics import (
    Predictor,
    bootstrap,
    point_estimate,
    with_intervals,
)
from components.shared.evaluation.predictor import predict_tumor
from components.shared.networks.hyperparameters import Training
from components.shared.networks.reference import REFERENCE
from components.shared.training.fit import fit
from components.split.logic import make_split
from pipelines.ending import ended

PARTS = {"grouped": ("validation", "held_out"), "by-name": ("validation",)}


def accuracy(dataset: ImageDataset, scores: np.ndarray, rows: np.ndarray, seed: int) -> str:
    """Returns accuracy with its interval, in per cent."""
    labels, groups = dataset.labels[rows], dataset.groups[rows]
    guess = Predictor(scores[rows], 0.5)
    samples = bootstrap(labels, groups, [guess], 1000, seed)[0]
    found = with_intervals(point_estimate(labels, guess), samples, labels, groups).accuracy
    return f"{100 * found.value:.1f}% ({100 * found.low:.1f}–{100 * found.high:.1f})"


def predictions(
    dataset: ImageDataset, split: Split, epochs: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns P(Brain Tumor) of every image from the CNN and from both floors, float64 [n] each."""
    everything, train = np.arange(len(dataset)), split.part("train")
    training = Training(network=REFERENCE, epochs=epochs, seed=seed)
    model = fit(dataset, split, training).model
    return {
        "reference CNN": predict_tumor(model, dataset.batches(everything, 64), len(dataset)),
        "metadata only": metadata_scores(dataset, train, everything, seed),
        "1-NN, 32x32": nearest_neighbour_scores(dataset, train, everything),
    }


def main() -> None:
    """Prints a table with a row for each split and part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--source", default="sample://?images=400", help="as for brain-tumor run")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table(box=None, pad_edge=False)
    for heading in ("split", "part", "images", "with a twin in training"):
        table.add_column(heading)
    with TemporaryDirectory() as scratch:
        dataset = open_images(options.source, Path(scratch, "dataset"))
        strategies: tuple[Strategy, ...] = ("grouped", "by-name")
        for strategy in strategies:
            split = make_split(dataset, strategy, seed=options.seed)
            print(f"\nsplit {strategy}", flush=True)
            found = predictions(dataset, split, options.epochs, options.seed)
            if strategy == "grouped":
                for name in found:
                    table.add_column(name)
            for part in PARTS[strategy]:
                rows = split.part(part)
                twins = twins_in_training(dataset.groups, split.part("train"), rows)
                table.add_row(
                    strategy,
                    part.replace("_", " "),
                    str(len(rows)),
                    f"{100 * twins / len(rows):.0f}%",
                    *(accuracy(dataset, s, rows, options.seed) for s in found.values()),
                )
    print()
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(ended(main))
