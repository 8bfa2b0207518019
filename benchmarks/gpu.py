"""Seconds an epoch on a GPU: as used, without what makes it fast, and with a usual pipeline.

    python -m benchmarks.gpu --source path/to/archive.zip

Is for a machine with a GPU. All train the same network on the same images of a
grouped split, validation included, in turn, and the first epoch of each is left out: it compiles.
The profile of one epoch tells in which share of it a kernel runs on the device, and how often it is
copied to and from. Without a GPU everything runs all the same, on the CPU: for a look at whether it
runs.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import keras
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.images import open_images
from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import SHAPE
from components.shared.networks import table
from components.shared.networks.hyperparameters import BATCH_SIZE, Hyperparameters, Training
from components.shared.networks.reference import REFERENCE
from components.shared.training import fit as fitting
from components.shared.training import hardware
from components.split.logic import make_split
from pipelines.ending import ended

NETWORKS = {"compact": Hyperparameters(), "reference": REFERENCE}


class Work(NamedTuple):
    """What is trained."""

    dataset: ImageDataset
    split: Split
    training: Training


Contender = Callable[[Work], list[float]]


def _as_used(work: Work) -> list[float]:
    fitted = fitting.fit(work.dataset, work.split, work.training)
    return [epoch.seconds for epoch in fitted.history]


def _changed(patch: Callable[[], AbstractContextManager]) -> Contender:
    """Trains as used, but for what the patch changes."""

    def train(work: Work) -> list[float]:
        with patch():
            return _as_used(work)

    return train


def _from_disk() -> AbstractContextManager:
    return mock.patch.object(hardware, "free_memory", return_value=0)


def _float32() -> AbstractContextManager:
    return mock.patch.object(fitting, "precision", return_value="float32")


def _xla() -> AbstractContextManager:
    plain = keras.Model.compile

    def compiled(model: keras.Model, *arguments: Any, **options: Any) -> None:
        plain(model, *arguments, **options | {"jit_compile": True})

    return mock.patch.object(keras.Model, "compile", compiled)


def _usual(work: Work) -> list[float]:
    """Trains the same network from a tf.data pipeline as tutorials write it."""
    values, dataset = work.training.network, work.dataset
    network = table.network(values.architecture)
    keras.utils.set_random_seed(0)
    model = network.build(values)
    if values.augmentation:
        entry = keras.Input(SHAPE, dtype="uint8")
        model = keras.Sequential([entry, network.recipe.augmentation(0), model])
    steps = len(work.split.train) // work.training.batch_size
    model.compile(
        network.recipe.optimizer(values, work.training.epochs, steps),
        "binary_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )

    def images(part: str) -> tf.data.Dataset:
        rows = work.split.part(part)
        return tf.data.Dataset.from_tensor_slices((dataset.read(rows), dataset.labels[rows, None]))

    size = work.training.batch_size
    train = images("train").shuffle(len(work.split.train)).batch(size).prefetch(tf.data.AUTOTUNE)
    validation = images("validation").batch(size).prefetch(tf.data.AUTOTUNE)
    seconds = []
    for _ in range(work.training.epochs):
        started = time.perf_counter()
        model.fit(train, validation_data=validation, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - started)
    return seconds


CONTENDERS: dict[str, Contender] = {
    "as used": _as_used,
    "images from disk": _changed(_from_disk),
    "in float32": _changed(_float32),
    "usual tf.data": _usual,
    # Keras refuses it where operations are deterministic, as they are on CPUs here.
    **({"with XLA": _changed(_xla)} if tf.config.list_physical_devices("GPU") else {}),
}


class Profile(NamedTuple):
    """What a device did in an epoch.

    Attributes:
        kernels: Share of the time in which a kernel runs, 0..1; on a CPU an operation.
        copies: How often something was copied to the device or from it.
    """

    kernels: float
    copies: int


def profiled(work: Work) -> Profile:
    """Trains as used, and profiles the last epoch."""
    add, seconds = fitting._Progress.add, []

    with TemporaryDirectory() as folder:

        def adding(progress: fitting._Progress, epoch: fitting.Epoch) -> None:
            add(progress, epoch)
            if epoch.epoch == work.training.epochs - 1:
                tf.profiler.experimental.start(folder)
            if epoch.epoch == work.training.epochs:
                tf.profiler.experimental.stop()
                seconds.append(epoch.seconds)

        with mock.patch.object(fitting._Progress, "add", adding), redirect_stdout(None):
            _as_used(work)
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    return profile_of(space, seconds[0])


def profile_of(space: xplane_pb2.XSpace, seconds: float) -> Profile:
    """Reads a trace: of the first GPU or, without one, of the CPU's threads.

    Args:
        space: The trace.
        seconds: How long it took.
    """
    gpus = [plane for plane in space.planes if plane.name.startswith("/device:GPU")]
    plane = min(gpus, key=lambda p: p.name) if gpus else _named(space.planes, "/host:CPU")
    names = {number: data.name for number, data in plane.event_metadata.items()}
    spans, copies = [], 0
    for line in plane.lines:
        if gpus and not line.name.startswith("Stream"):
            continue  # the same kernels again, by operation
        for event in line.events:
            name = names[event.metadata_id]
            if name.lower().startswith("memcpy"):
                copies += 1
            elif gpus or ":" in name:  # "Conv2D:Conv2D"; others are what encloses operations
                start = line.timestamp_ns * 1000 + event.offset_ps
                spans.append((start, start + event.duration_ps))
    return Profile(covered(spans) / 1e12 / seconds, copies)


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """Returns the length of the union of some spans."""
    total, end = 0, 0
    for start, stop in sorted(spans):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def _named(planes: Iterable[xplane_pb2.XPlane], name: str) -> xplane_pb2.XPlane:
    return next(plane for plane in planes if plane.name == name)


@contextmanager
def _ingested(source: str) -> Iterator[tuple[ImageDataset, Split]]:
    with TemporaryDirectory() as scratch:
        dataset = open_images(source, Path(scratch, "dataset"))
        yield dataset, make_split(dataset, "grouped")


def main() -> None:
    """Prints a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--source", default="sample://?images=100", help="as for brain-tumor run")
    parser.add_argument("--epochs", type=int, default=4, help="the first one compiles (4)")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--rounds", type=int, default=2, help="of all contenders in turn (2)")
    parser.add_argument("--networks", default=";".join(NETWORKS), help="A;B (all)")
    options = parser.parse_args()
    cpus = os.cpu_count()
    print(f"{hardware.device_name()}, {len(hardware.devices())} GPUs, {cpus} CPUs", flush=True)
    with _ingested(options.source) as (dataset, split):
        for name in options.networks.split(";"):
            training = Training(
                network=NETWORKS[name], epochs=options.epochs, batch_size=options.batch_size
            )
            work = Work(dataset, split, training)
            recipe = table.network(training.network.architecture).recipe
            images, precision = len(split.train), hardware.precision(recipe.bfloat16_on_cpu)
            print(f"\n{name}: {images:,} images, batches of {options.batch_size}, {precision}")
            print("| | s an epoch | images/s | first epoch, s |\n|---|---|---|---|")
            for contender, courses in _in_turn(work, options.rounds).items():
                epoch = statistics.median(second for course in courses for second in course[1:])
                first = min(course[0] for course in courses)
                rate = images / epoch
                print(f"| {contender} | {epoch:.3f} | {rate:,.0f} | {first:.1f} |", flush=True)
            profile = profiled(work)
            print(f"a kernel runs in {profile.kernels:.0%} of an epoch, {profile.copies} copies")


def _in_turn(work: Work, rounds: int) -> dict[str, list[list[float]]]:
    """Trains as each contender does, round by round: a machine that slows down slows all."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                seconds[name].append(contender(work))
            keras.backend.clear_session()
    return seconds


if __name__ == "__main__":
    sys.exit(ended(main))
