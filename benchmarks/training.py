"""Seconds per epoch: this project's training against the reference implementation's, in turn.

    python -m benchmarks.training --source path/to/archive.zip --rounds 3

Both train the same CNN on the same images, split by name as the reference does: 80% training, 20%
validation. The reference's path is written again after its description: Keras' ImageDataGenerator
reads and resizes every file in every epoch (nearest neighbour, zoom 0.99, rescaled), the network
computes in float32, `fit` runs with its defaults. Ours reads pixels that ingest decoded once, and
computes as `components.shared.training.fit` decides. Epochs alternate, so that a machine that slows
down slows both.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import keras
from keras import layers

# Keras 3 keeps the reference's generator under this path.
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from components.ingest.logic import ingest
from components.ingest.sources import Source, open_source
from components.shared.data.classes import CLASSES
from components.shared.data.dataset import ImageDataset
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.reference import REFERENCE
from components.shared.training.fit import fit
from components.shared.training.hardware import precision
from components.split.logic import make_split


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


class Course(NamedTuple):
    """How a training went: seconds of each epoch, validation included, and its best accuracy."""

    seconds: list[float]
    accuracy: float


def reference_training(folder: Path, values: Hyperparameters, epochs: int) -> Course:
    """Trains as the reference does."""
    generator = ImageDataGenerator(rescale=1 / 255, zoom_range=(0.99, 0.99), validation_split=0.2)
    options = {"target_size": (150, 150), "batch_size": 32, "class_mode": "binary"}
    train = generator.flow_from_directory(folder, subset="training", **options)
    validation = generator.flow_from_directory(folder, subset="validation", **options)
    model = reference_model(values)
    seconds, accuracies = [], []
    for _ in range(epochs):
        started = time.perf_counter()
        history = model.fit(train, validation_data=validation, verbose=0).history
        seconds.append(time.perf_counter() - started)
        accuracies.append(history["val_accuracy"][-1])
    return Course(seconds, max(accuracies))


def our_training(folder: Path, values: Hyperparameters, epochs: int) -> Course:
    """Trains as this project does, on the ingested dataset in a folder."""
    dataset = ImageDataset(folder)
    training = Training(network=values, epochs=epochs)
    fitted = fit(dataset, make_split(dataset, "by-name"), training)
    return Course([epoch.seconds for epoch in fitted.history], fitted.best.val_accuracy)


def alone(training: Callable[..., Course], *arguments: Any) -> Course:
    """Runs a training in a process of its own: TensorFlow's settings of one touch no other."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(training, *arguments).result()


def main() -> None:
    """Prints seconds per epoch of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--source", default="sample://?images=600", help="as for brain-tumor run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4, help="a round; the first one warms up")
    options = parser.parse_args()
    values = REFERENCE

    with TemporaryDirectory() as scratch:
        with open_source(options.source) as opened:
            ingest(opened, Path(scratch, "dataset"), Path(scratch, "state"))
            dataset = ImageDataset(Path(scratch, "dataset"))
            unpack(opened, dataset, Path(scratch, "files"))
        courses: list[tuple[Course, Course]] = []
        for number in range(1, options.rounds + 1):
            reference = alone(reference_training, Path(scratch, "files"), values, options.epochs)
            ours = alone(our_training, Path(scratch, "dataset"), values, options.epochs)
            courses.append((reference, ours))
            print(f"round {number} of {options.rounds} is done", flush=True)

    print(f"\n{len(dataset):,} images, {os.cpu_count()} CPUs, {precision()} against float32")
    medians = []
    for name, runs in zip(("reference", "this project"), zip(*courses, strict=True), strict=True):
        # The first epoch of a training also compiles it.
        medians.append([statistics.median(course.seconds[1:]) for course in runs])
        middle = statistics.median(medians[-1])
        best = ", ".join(f"{course.accuracy:.1%}" for course in runs)
        print(
            f"{name:13} {middle:5.1f} s an epoch, {len(dataset) / middle:4.0f} images/s; best "
            f"validation accuracy in {options.epochs} epochs: {best}"
        )
    ratios = [slow / fast for slow, fast in zip(*medians, strict=True)]
    rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio         {statistics.median(ratios):5.2f} (of each round: {rounds})")


if __name__ == "__main__":
    main()
