"""Measures units with the project's own code and a real store, SeaweedFS."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks.scale.units import Units
from benchmarks.scale.worker import cpu_seconds
from components.ingest.assemble import assemble
from components.ingest.decode import FILES_IN_A_CHUNK
from components.ingest.sources import open_source
from components.shared.data.classes import CLASSES
from components.shared.data.dataset import ImageDataset
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.storage import open_store
from components.shared.training.fit import fit
from components.split.logic import make_split
from components.tune.settings import Settings
from components.tune.trial import Trial
from components.tune.walk import Walk
from tests.stores import BUCKET, Proxy, S3Server

FOLDER = "source"
REPLAYED = {"random": (10, 50, 200), "bayesian": (10, 20)}


@dataclass
class Ingested:
    """What workers cost that ingested a source side by side.

    Attributes:
        wall_seconds: Until the last ended, with their starts.
        requests: Of all, by method; LIST is a GET of a bucket's keys.
        bytes_down: That the store sent.
        cpu_seconds: Of all, with their starts.
        start_seconds: Of one, up to its first image.
        parts: What they wrote.
    """

    wall_seconds: float
    requests: Counter[str]
    bytes_down: int
    cpu_seconds: float
    start_seconds: float
    parts: list[Path] = field(default_factory=list)


@contextmanager
def store_with(folder: Path, images: int, source: str) -> Iterator[tuple[Proxy, int]]:
    """Starts a store and fills it with images of a source, repeated where there are too few.

    Args:
        folder: For the store's files.
        images: How many.
        source: Folder or zip that they are taken of.

    Yields:
        What counts the bytes, and how many bytes the images have.
    """
    server, size = S3Server(folder / "store"), 0
    server.start()
    proxy = Proxy(server.port)
    server.seen_at = proxy.endpoint
    try:
        with patch.dict(os.environ, server.environment), open_source(source) as opened:
            filling = folder / "filling"
            for number in range(images):
                file = opened.files[number * len(opened.files) // images]
                content = file.read()
                name = f"{number:07d}{Path(file.path).suffix}"
                path = filling / CLASSES[file.label or 0] / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                size += len(content)
            open_store(f"s3://{BUCKET}", "source").upload(filling, FOLDER)
            shutil.rmtree(filling)
            proxy.heal()
            yield proxy, size
    finally:
        proxy.close()
        server.kill()


def ingest(proxy: Proxy, folder: Path, workers: int) -> Ingested:
    """Ingests what the store holds with so many workers at once."""
    proxy.heal()
    started = time.perf_counter()
    places = [folder / f"{worker}-of-{workers}" for worker in range(1, workers + 1)]
    command = [sys.executable, "-m", "benchmarks.scale.worker", f"s3://{BUCKET}/{FOLDER}"]
    running = [
        subprocess.Popen(
            [*command, str(number), str(workers), str(place)], stdout=subprocess.PIPE, text=True
        )
        for number, place in enumerate(places, 1)
    ]
    said = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    return Ingested(
        wall_seconds=time.perf_counter() - started,
        requests=sum((Counter(one["requests"]) for one in said), Counter()),
        bytes_down=proxy.passed["down"],
        cpu_seconds=sum(one["cpu_seconds"] + one["start_seconds"] for one in said),
        start_seconds=said[0]["start_seconds"],
        parts=[place / "part" for place in places],
    )


def _files(folder: Path) -> tuple[int, int]:
    """Returns how many files a folder holds, and how many bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _network_bytes(dataset: ImageDataset, folder: Path) -> dict[str, int]:
    """Returns what a network takes while it trains, and after."""
    parts = make_split(dataset, "grouped", 0.2, 0.2, seed=0)
    state = folder / "state"
    fitted = fit(dataset, parts, Training(network=Hyperparameters(), epochs=1), state=state)
    fitted.model.save(folder / "model.keras")
    return {
        "checkpoint_bytes": _files(state)[1],
        "model_bytes": (folder / "model.keras").stat().st_size,
    }


def _listing_seconds(images: int) -> float:
    """Returns the CPU seconds to list and sort, for each image; the second time, all is loaded."""
    for _ in range(2):
        started = cpu_seconds()
        with open_source(f"s3://{BUCKET}/{FOLDER}") as source:
            assert len(source.files) == images
    return (cpu_seconds() - started) / images


def _trial_bytes(path: Path) -> int:
    """Returns the size of a trial's record."""
    done = Trial(
        values=Hyperparameters(),
        epochs=8,
        accuracies=(0.95,),
        losses=(0.2,),
        seconds=99.5,
        failure="",
    )
    done.write(path)
    return path.stat().st_size


def _replay(algorithm: str, trials: int) -> float:
    """Returns how long an oracle takes that is told so many results again."""
    settings = Settings(
        architectures=("compact", "efficientnet", "reference", "xception"),
        algorithm=algorithm,
        trials=trials,
        epochs=max(2, trials),  # from which hyperband makes its number of trials
        seed=0,
        workers=10,
    )
    told, started = 0, cpu_seconds()
    walk = Walk(settings)
    while told < trials and (proposals := walk.ask()):
        walk.tell([0.5 + 0.4 * ((told + n) % 7) / 7 for n in range(len(proposals))])
        told += len(proposals)
    return cpu_seconds() - started


def measure(images: int, source: str) -> Units:
    """Measures all units.

    Args:
        images: How many.
        source: Folder or zip that they are taken of.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with store_with(folder, images, source) as (proxy, size):
            done, two = (ingest(proxy, folder, workers) for workers in (1, 2))
            listing_seconds = _listing_seconds(images)
        assemble(done.parts, folder / "dataset", max_bad_share=1)
        listing_bytes = (two.bytes_down - done.bytes_down) / images  # the second lists once more
        chunks = math.ceil(images / FILES_IN_A_CHUNK)
        files, written = _files(done.parts[0])
        dataset_files, dataset_bytes = _files(folder / "dataset")
        return Units(
            images=images,
            image_bytes=size / images,
            listing_bytes=listing_bytes,
            listing_seconds=listing_seconds,
            read_requests=done.requests["GET"] / images,
            answer_bytes=(done.bytes_down - size) / images - listing_bytes,
            ingest_seconds=(done.cpu_seconds - done.start_seconds) / images,
            start_seconds=done.start_seconds,
            decoded_bytes=written / images,
            decoded_files=(files - 1) / chunks,  # part.json is one for all
            dataset_bytes=dataset_bytes / images,
            dataset_files=(dataset_files - 2) / chunks,  # and so are manifest and thumbnails
            replay_seconds={
                algorithm: [(trials, _replay(algorithm, trials)) for trials in counts]
                for algorithm, counts in REPLAYED.items()
            },
            trial_bytes=_trial_bytes(folder / "trial.json"),
            **_network_bytes(ImageDataset(folder / "dataset"), folder),
        )
