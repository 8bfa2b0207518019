"""Seconds per epoch: this project's training, its limit and its peers, in turn.

    python -m benchmarks.training --source path/to/archive.zip --rounds 3

All train on the same images, split by name as the reference does: 80% training, 20% validation.

- pure compute: the project's network, its batches in memory, no augmentation and no validation.
- this project: as `components.shared.training.fit` trains, from pixels that ingest decoded once.
- tf.data and ImageDataGenerator: the same network, fed as the guides of TensorFlow and Keras do it.
  Where the project varies images, these vary them by what Keras has.
- reference: only for its own network. Its path is written again after its description:
  ImageDataGenerator reads and resizes every file in every epoch (nearest neighbour, zoom 0.99,
  rescaled), the network computes in float32, `fit` runs with its defaults.

Each trains in a process of its own, round by round, so that a machine that slows down slows all.
The CPU time of all threads can be compared on a machine that does other work too.
"""

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from keras import layers

# Keras 3 keeps the reference's generator under this path.
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from components.ingest.logic import ingest
from components.ingest.sources import Source, open_source
from components.shared.data.classes import CLASSES
from components.shared.data.dataset import ImageDataset
from components.shared.networks import table
from components.shared.networks.augment import reference_augmentation
from components.shared.networks.hyperparameters import BATCH_SIZE, Hyperparameters, Training
from components.shared.networks.reference import REFERENCE
from components.shared.training import fit as fitting
from components.shared.training.hardware import precision
from components.split.logic import make_split
from pipelines.ending import ended


def reference_model(values: Hyperparameters) -> keras.Model:
    """Returns the reference's CNN, compiled as it does."""
    model = keras.Sequential(
        [
            keras.Input((150, 150, 3)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(values.dense, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(values.dropout),
            layers.Dense(values.dense // 2, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(values.dropout),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(values.learning_rate), "binary_crossentropy", metrics=["accuracy"]
    )
    return model


def unpack(source: Source, dataset: ImageDataset, folder: Path) -> None:
    """Writes the usable files into one folder a class, as the reference's generator needs them."""
    usable = {record.path for record in dataset.manifest.images}
    for file in source.files:
        if file.path in usable and file.label is not None:
            target = folder / CLASSES[file.label] / Path(file.path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read())


NETWORKS = {"compact": Hyperparameters(), "reference": REFERENCE}


class Epoch(NamedTuple):
    """What an epoch took: seconds on the clock, and of all threads together."""

    wall: float
    cpu: float


class Clock:
    """Measures one epoch after another."""

    def __init__(self) -> None:
        """Starts."""
        self._last = self._now()

    def lap(self) -> Epoch:
        """Returns what passed since the start or the last lap."""
        before, self._last = self._last, self._now()
        return Epoch(self._last.wall - before.wall, self._last.cpu - before.cpu)

    @staticmethod
    def _now() -> Epoch:
        return Epoch(time.perf_counter(), time.process_time())


Contender = Callable[[Path, Hyperparameters, int], list[Epoch]]


def reference_training(folder: Path, values: Hyperparameters, epochs: int) -> list[Epoch]:
    """Trains as the reference does."""
    options = {"rescale": 1 / 255, "zoom_range": (0.99, 0.99)}
    train, validation = _generated(folder, options)
    return _fitted(reference_model(values), train, validation, epochs)


def our_training(folder: Path, values: Hyperparameters, epochs: int) -> list[Epoch]:
    """Trains as this project does, on the ingested dataset in a folder."""
    dataset = ImageDataset(folder / "dataset")
    clock, laps, add = Clock(), [], fitting._Progress.add

    def adding(progress: fitting._Progress, epoch: fitting.Epoch) -> None:
        laps.append(clock.lap())
        add(progress, epoch)

    with mock.patch.object(fitting._Progress, "add", adding):
        training = Training(network=values, epochs=epochs)
        fitting.fit(dataset, make_split(dataset, "by-name"), training)
    return laps


def pure_compute(folder: Path, values: Hyperparameters, epochs: int) -> list[Epoch]:
    """Trains on batches that are in memory, and does nothing else."""
    dataset = ImageDataset(folder / "dataset")
    rows = make_split(dataset, "by-name").part("train")
    order = np.random.default_rng(0).permutation(rows)
    batches = [
        (
            tf.constant(dataset.read(some)),
            tf.constant(dataset.labels[some, None], tf.float32),
            tf.ones(len(some)),
        )
        for some in np.array_split(order, math.ceil(len(order) / BATCH_SIZE))
    ]
    tf.config.experimental.enable_op_determinism()
    model = _compiled(values)
    model.make_train_function()
    clock, laps = Clock(), []
    for _ in range(epochs):
        for batch in batches:
            model.train_function(iter([batch]))
        laps.append(clock.lap())
    return laps


def generator_training(folder: Path, values: Hyperparameters, epochs: int) -> list[Epoch]:
    """Feeds the project's network by Keras' ImageDataGenerator."""
    varied = {
        "rotation_range": 20,
        "width_shift_range": 0.2,
        "height_shift_range": 0.2,
        "shear_range": 0.2,
        "zoom_range": 0.2,
        "horizontal_flip": True,
    }
    train, validation = _generated(folder, varied if values.augmentation else {})
    return _fitted(_compiled(values), train, validation, epochs)


def pipeline_training(folder: Path, values: Hyperparameters, epochs: int) -> list[Epoch]:
    """Feeds the project's network by tf.data as TensorFlow's guide does, with Keras' layers."""
    parts = keras.utils.image_dataset_from_directory(
        folder / "files",
        labels="inferred",
        label_mode="binary",
        validation_split=0.2,
        subset="both",
        seed=0,
        image_size=(150, 150),
        batch_size=BATCH_SIZE,
        verbose=False,
    )
    train, validation = (part.cache() for part in parts)
    augmentation = reference_augmentation(0) if values.augmentation else None
    model = _compiled(values, augmentation)
    ready = train.shuffle(1000).prefetch(tf.data.AUTOTUNE)
    return _fitted(model, ready, validation.prefetch(tf.data.AUTOTUNE), epochs)


def _generated(folder: Path, options: dict[str, Any]) -> tuple[Any, Any]:
    generator = ImageDataGenerator(validation_split=0.2, **options)
    flow: dict[str, Any] = {
        "target_size": (150, 150),
        "batch_size": BATCH_SIZE,
        "class_mode": "binary",
    }
    train, validation = (
        generator.flow_from_directory(folder / "files", subset=subset, **flow)
        for subset in ("training", "validation")
    )
    return train, validation


def _compiled(values: Hyperparameters, augmentation: layers.Layer | None = None) -> keras.Model:
    """Makes one of the project's networks, computing as it does there."""
    network = table.network(values.architecture)
    keras.config.set_dtype_policy(precision(network.recipe.bfloat16_on_cpu))
    model = network.build(values)
    if augmentation is not None:
        entry = keras.Input((150, 150, 3), dtype="uint8")
        model = keras.Sequential([entry, augmentation, model])
    loss = keras.losses.BinaryCrossentropy(label_smoothing=network.recipe.label_smoothing)
    optimizer = network.recipe.optimizer(values, 1, 1)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def _fitted(model: keras.Model, train: Any, validation: Any, epochs: int) -> list[Epoch]:
    clock, laps = Clock(), []
    for _ in range(epochs):
        model.fit(train, validation_data=validation, verbose=0)
        laps.append(clock.lap())
    return laps


CONTENDERS: dict[str, Contender] = {
    "pure compute": pure_compute,
    "this project": our_training,
    "tf.data": pipeline_training,
    "ImageDataGenerator": generator_training,
    "reference": reference_training,
}


def alone(training: Contender, *arguments: Any) -> list[Epoch]:
    """Runs a training in a process of its own: TensorFlow's settings of one touch no other."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(training, *arguments).result()


def medians(courses: list[list[Epoch]]) -> Epoch:
    """Returns the median epoch of some trainings, but for the first of each, which compiles."""
    epochs = [epoch for course in courses for epoch in course[1:]]
    return Epoch(*(statistics.median(column) for column in zip(*epochs, strict=True)))


def main() -> None:
    """Prints a table for each network: seconds an epoch, and each in shares of pure compute."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--source", default="sample://?images=200", help="as for brain-tumor run")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3, help="a round; the first one warms up")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="commas between (all)")
    options = parser.parse_args()

    with TemporaryDirectory() as scratch:
        with open_source(options.source) as opened:
            ingest(opened, Path(scratch, "dataset"), Path(scratch, "state"))
            dataset = ImageDataset(Path(scratch, "dataset"))
            unpack(opened, dataset, Path(scratch, "files"))
        print(f"{len(dataset):,} images, {os.cpu_count()} CPUs, {precision()}", flush=True)
        for network in options.networks.split(","):
            values = NETWORKS[network]
            courses: dict[str, list[list[Epoch]]] = {
                name: []
                for name in CONTENDERS
                if name != "reference" or values.architecture == "reference"
            }
            for number in range(1, options.rounds + 1):
                for name, found in courses.items():
                    found.append(alone(CONTENDERS[name], Path(scratch), values, options.epochs))
                print(f"{network}: round {number} of {options.rounds} is done", flush=True)
            print_table(network, courses)


def print_table(network: str, courses: dict[str, list[list[Epoch]]]) -> None:
    """Prints a row for each contender.

    Args:
        network: Its name.
        courses: The trainings of each contender, pure compute first.
    """
    pure = [medians([course]) for course in courses["pure compute"]]
    print(f"\n| {network} | s an epoch | CPU s | of pure compute | rounds | of its CPU time |")
    print("|---|---|---|---|---|---|")
    for name, found in courses.items():
        middle = medians(found)
        pairs = list(zip((medians([course]) for course in found), pure, strict=True))
        ratios = [one.wall / limit.wall for one, limit in pairs]
        cpu = statistics.median(one.cpu / limit.cpu for one, limit in pairs)
        print(
            f"| {name} | {middle.wall:.1f} | {middle.cpu:.1f} | {statistics.median(ratios):.2f} | "
            f"{', '.join(f'{ratio:.2f}' for ratio in ratios)} | {cpu:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(ended(main))
