"""What averaging brings on images it has not seen, and what it costs in latency.

    python -m benchmarks.averaging --source ZIP --epochs 16 --state FOLDER

Networks of the default's kind are trained on one grouped fold from different seeds, as
`brain-tumor run --ensemble N` does. Then one alone, one with the mirror image, and the averages of
several predict what is held out; temperature and threshold are chosen on validation. The gain in
accuracy is beside the first row, with a 95% interval by duplicate group; milliseconds are of a call
on all cores, the rows measured in turn. Trained networks stay in the state folder, so a killed run
goes on; after a change in components/ they are trained again.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks.images import open_external, open_images
from benchmarks.inference import milliseconds
from benchmarks.recipes.judging import Course, External, Fold, Truth, print_judged
from components.shared.data.dataset import ImageDataset, Split
from components.shared.evaluation.predictor import predict_rows
from components.shared.images.decode import SHAPE
from components.shared.networks.average import averaged
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.network import Network
from components.shared.run.code import code_digest
from components.shared.training.fit import fit, forget
from components.split.logic import make_folds
from pipelines.ending import ended

BATCHES = (1, 8)


def trained(
    dataset: ImageDataset,
    split: Split,
    epochs: int,
    seed: int,
    networks: int,
    state: Path,
    network: Network | None = None,
) -> list[keras.Model]:
    """Trains networks, or reads those that are on disk."""
    state.mkdir(parents=True, exist_ok=True)
    models = []
    for number in range(networks):
        facts = (split.digest()[:12], epochs, seed + number, code_digest(fit.__module__))
        name = "-".join(map(str, facts))
        file = state / f"{name}.keras"
        if not file.exists():
            print(f"network {number + 1} of {networks}", flush=True)
            unfinished = state / f"unfinished-{name}"
            how = Training(network=Hyperparameters(), epochs=epochs, seed=seed + number)
            beside = state / f"unfinished-{name}.keras"
            fit(dataset, split, how, state=unfinished, network=network).model.save(beside)
            beside.replace(file)
            forget(unfinished)
        models.append(keras.models.load_model(file))
    return models


def latencies(models: list[keras.Model], size: int, rounds: int, seconds: float) -> np.ndarray:
    """Returns the milliseconds that each model takes for a batch, the median of the rounds."""
    signature = [tf.TensorSpec((None, *SHAPE), tf.uint8)]

    def compiled(model: keras.Model) -> tf.types.experimental.PolymorphicFunction:
        return tf.function(lambda images: model(images, training=False), signature)

    answers = [compiled(model) for model in models]
    random = np.random.default_rng(0)
    images = tf.constant(random.integers(0, 256, (size, *SHAPE), dtype=np.uint8))
    for answer in answers:
        answer(images)  # warm
    taken = [[milliseconds(each, images, seconds) for each in answers] for _ in range(rounds)]
    return np.median(taken, axis=0)


def main() -> None:
    """Trains what is not trained yet and prints a row for each way to average."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--source", default="sample://?images=400", help="as for brain-tumor run")
    parser.add_argument("--epochs", type=int, default=2, help="of each training (2)")
    parser.add_argument("--fold", type=int, default=1, choices=range(1, 6), help="(1)")
    parser.add_argument("--validation-share", type=float, default=0.15, help="of the rest (0.15)")
    parser.add_argument("--networks", type=int, default=3, help="most to average (3)")
    parser.add_argument("--rounds", type=int, default=5, help="times each is timed (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one timing (1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--external", help="source with a labels.csv, which judges as well")
    parser.add_argument("--state", type=Path, help="folder that outlives a killed run")
    options = parser.parse_args()
    tf.get_logger().setLevel("ERROR")  # it takes several models, each compiled once, for one
    with TemporaryDirectory() as scratch:
        dataset = open_images(options.source, Path(scratch, "dataset"))
        split = make_folds(dataset, 5, options.validation_share, options.seed)[options.fold - 1]
        state = options.state or Path(scratch, "state")
        members = trained(dataset, split, options.epochs, options.seed, options.networks, state)
        ways = {
            "one network": members[0],
            "with --average-mirror-image": averaged(members[:1], mirrored=True),
        }
        for count in range(2, len(members) + 1):
            ways[f"with --ensemble {count}"] = averaged(members[:count])
        ways["with both"] = averaged(members, mirrored=True)
        external = None
        if options.external:
            external = open_external(options.external, Path(scratch, "external"))
        courses = []
        for model in ways.values():
            scores = {
                part: predict_rows(model, dataset, split.part(part))
                for part in ("validation", "held_out")
            }
            if external:
                scores["external"] = predict_rows(model, external, np.arange(len(external)))
            courses.append([Course(**scores, seconds=0.0)])
        parts = [Truth.of(dataset, split.part(part)) for part in ("validation", "held_out")]
        judged = External.of(external) if external else None
    held_out = f"{len(split.held_out):,} held-out images of fold {options.fold} of 5"
    print(f"\n{held_out}, {options.epochs} epochs each")
    print_judged(list(ways), [Fold(options.fold, *parts)], courses, options.seed, judged)
    models = list(ways.values())
    timed = [latencies(models, size, options.rounds, options.seconds) for size in BATCHES]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for size in BATCHES:
        table.add_column(f"ms a batch of {size}", justify="right")
    for row, name in enumerate(ways):
        table.add_row(name, *(f"{each[row]:.1f} (x{each[row] / each[0]:.2f})" for each in timed))
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(ended(main))
