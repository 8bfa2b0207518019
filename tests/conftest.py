"""A tiny dataset on disk: shards, thumbnails, manifest and a grouped split."""

import builtins
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from components.shared.data.dataset import (
    MANIFEST,
    SPLIT,
    THUMBNAILS,
    ImageDataset,
    ImageRecord,
    Manifest,
    Shard,
    Split,
)
from components.shared.images.decode import SHAPE, thumbnail

pytest_plugins = [
    "tests.browser",
    "tests.command_line",
    "tests.model_folders",
    "tests.order",
    "tests.stores",
]

# The same examples in every run, however slow the machine is that draws them.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_dataset(folder: Path, groups: int = 30, seed: int = 0) -> ImageDataset:
    """Writes two near-identical images a group; tumours have a bright blob, mostly 512 wide."""
    rng = np.random.default_rng(seed)
    images, records = [], []
    for group in range(groups):
        label = group % 2
        base = rng.integers(0, 90, SHAPE)
        if label == 0:
            row, column = rng.integers(20, 90, 2)
            base[row : row + 40, column : column + 40] += 130
        size = 512 if rng.random() < (0.8 if label == 0 else 0.2) else 225
        for copy in range(2):
            pixels = np.uint8(np.clip(base + rng.integers(0, 4, SHAPE), 0, 255))
            digest = _digest(pixels.tobytes())
            images.append(pixels)
            records.append(
                ImageRecord(
                    path=f"{'Healthy' if label else 'Brain Tumor'}/<b>{group}-{copy}</b>.jpg",
                    label=label,
                    bytes=1000 + group,
                    sha256=digest,
                    pixels_sha256=digest,
                    phash=digest[:16],
                    width=size,
                    height=size,
                    mode="RGB",
                    format="JPEG",
                    wrong_extension=False,
                    group=group,
                )
            )
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    half = len(images) // 2
    for number, part in enumerate((images[:half], images[half:])):
        name = f"images-{number:05d}.npy"
        np.save(folder / name, np.stack(part))
        shards.append(
            Shard(file=name, images=len(part), sha256=_digest((folder / name).read_bytes()))
        )
    np.save(folder / THUMBNAILS, np.stack([thumbnail(pixels) for pixels in images]))
    manifest = Manifest(
        source="sample://",
        source_version="1",
        shards=tuple(shards),
        thumbnails_sha256=_digest((folder / THUMBNAILS).read_bytes()),
        images=tuple(records),
        quarantined=(),
        mixed_groups=(),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return ImageDataset(folder)


def write_split(folder: Path, dataset: ImageDataset, strategy: str = "grouped") -> Split:
    """Writes a split: by group 60/20/20, or by position with validation held out as well."""
    groups = dataset.groups
    last = int(groups.max()) + 1
    if strategy == "grouped":
        train, rest = groups < last * 0.6, groups >= last * 0.8
        validation = ~train & ~rest
    else:
        rest = validation = np.arange(len(dataset)) % 5 == 0
        train = ~rest
    split = Split(
        strategy=strategy,
        seed=0,
        dataset_digest=dataset.digest,
        train=tuple(np.flatnonzero(train).tolist()),
        validation=tuple(np.flatnonzero(validation).tolist()),
        held_out=tuple(np.flatnonzero(rest).tolist()),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPLIT).write_text(split.model_dump_json())
    return split


@pytest.fixture(autouse=True)
def _own_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back what kfp.local leaves of tasks that run side by side: a print that indents."""
    monkeypatch.setattr(builtins, "print", print)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture(scope="session")
def split(dataset: ImageDataset) -> Split:
    return write_split(dataset.folder.parent / "split", dataset)


@pytest.fixture(scope="session")
def by_name(dataset: ImageDataset) -> Split:
    return write_split(dataset.folder.parent / "by-name", dataset, "by-name")


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., ImageDataset]:
    return write_dataset


@pytest.fixture(scope="session")
def make_training_record() -> Callable[..., Any]:
    """Makes the record that the train step leaves beside a model."""
    from components.shared.training.record import TrainingRecord

    def make(split: Split, **other: Any) -> TrainingRecord:
        facts: dict[str, Any] = {
            "architecture": "tiny",
            "parameters": 21,
            "learning_rate": 0.001,
            "dropout": 0.3,
            "dense": 128,
            "augmentation": False,
            "epochs": 2,
            "best_epoch": 2,
            "patience": 0,
            "seed": 0,
            "precision": "float32",
            "device": "CPU",
            "seconds_per_epoch": 1.0,
            "split_strategy": split.strategy,
            "dataset_digest": split.dataset_digest,
            "split_digest": split.digest(),
            "libraries": {"keras": "3"},
        }
        return TrainingRecord(**(facts | other))

    return make
