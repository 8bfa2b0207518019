"""A tiny dataset, split and model that fit each other; the model is right on every image."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.shared.data.classes import CLASSES
from components.shared.data.dataset import ImageDataset, ImageRecord, Manifest, Shard, Split
from components.shared.evaluation.metrics import Interval, Scores
from components.shared.evaluation.results import Evaluation, PartResult
from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import PROBABILITY
from components.shared.storage.files import file_digest

IMAGES = 40
SHARD = "images-00000.npy"
_DIGEST = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """Forty images of noise; the tumours are the dark ones."""
    folder = tmp_path_factory.mktemp("dataset")
    labels = np.arange(IMAGES) % 2
    noise = np.random.default_rng(0).integers(0, 100, (IMAGES, *SHAPE), dtype=np.uint8)
    pixels = noise + (labels * 120).astype(np.uint8)[:, None, None, None]
    np.save(folder / SHARD, pixels)
    np.save(folder / "thumbnails.npy", np.zeros((IMAGES, 32, 32), np.uint8))
    records = tuple(
        ImageRecord(
            path=f"{CLASSES[label]}/{i}.png",
            label=label,
            bytes=1,
            sha256=hashlib.sha256(str(i).encode()).hexdigest(),
            pixels_sha256=hashlib.sha256(str(i).encode()).hexdigest(),
            phash="0" * 16,
            width=150,
            height=150,
            mode="RGB",
            format="PNG",
            wrong_extension=False,
            group=i,
        )
        for i, label in enumerate(labels.tolist())
    )
    manifest = Manifest(
        source="sample://<b>x</b>",
        source_version="1",
        shards=(Shard(file=SHARD, images=IMAGES, sha256=file_digest(folder / SHARD)),),
        images=records,
        quarantined=(),
        mixed_groups=(),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return ImageDataset(folder)


@pytest.fixture(scope="session")
def split(dataset: ImageDataset) -> Split:
    return Split(
        strategy="grouped",
        seed=0,
        dataset_digest=dataset.digest,
        train=tuple(range(20)),
        validation=tuple(range(20, 28)),
        held_out=tuple(range(28, 40)),
    )


@pytest.fixture(scope="session")
def split_folder(tmp_path_factory: pytest.TempPathFactory, split: Split) -> Path:
    folder = tmp_path_factory.mktemp("split")
    (folder / "split.json").write_text(split.model_dump_json())
    return folder


@pytest.fixture(scope="session")
def evaluation(dataset: ImageDataset, split: Split) -> Evaluation:
    """What there is to say of a model that is always right."""

    def scores(value: float) -> Scores:
        interval = Interval(value=value, low=value, high=value)
        return Scores.model_validate({name: interval for name in Scores.model_fields})

    def part(images: int) -> PartResult:
        half = images // 2
        return PartResult(
            images=images,
            groups=images,
            tumor=half,
            healthy=half,
            twins_in_training=0,
            confusion=((half, 0), (0, half)),
            model=scores(1.0),
            metadata_floor=scores(0.5),
            nearest_neighbour_floor=scores(0.75),
            uncalibrated_ece=0.125,
        )

    return Evaluation(
        temperature=1.25,
        threshold=0.5,
        threshold_rule="one half",
        split_strategy="grouped",
        dataset_digest=dataset.digest,
        split_digest=split.digest(),
        seed=0,
        bootstrap_samples=100,
        held_out=part(12),
        full_dataset=part(40),
    )


@pytest.fixture(scope="session")
def evaluation_folder(tmp_path_factory: pytest.TempPathFactory, evaluation: Evaluation) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "evaluation.json").write_text(evaluation.model_dump_json())
    return folder


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory: pytest.TempPathFactory, split: Split, make_training_record: Callable
) -> Path:
    """A model that calls bright images healthy: a convolution, its mean, and a sigmoid."""
    import keras

    model = keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8", name="images"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(2, 3, padding="same", kernel_initializer="ones"),
            keras.layers.MaxPooling2D(50),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid", name=PROBABILITY),
        ]
    )
    # 18 features of about 7 (dark) or 20 (bright): logits of about -2.3 and 2.3.
    model.layers[-1].set_weights([np.full((18, 1), 0.02, np.float32), np.float32([-4.9])])
    folder = tmp_path_factory.mktemp("model")
    model.save(folder / "model.keras")
    record = make_training_record(split, device="a|b\n<i>")
    (folder / "training.json").write_text(record.model_dump_json())
    return folder
