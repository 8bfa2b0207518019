"""Copies of a model's own images are found by what its folder keeps, which are no pixels."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError
from components.shared.model_folder.contract import KNOWN_FILES, KNOWN_IMAGES
from components.shared.model_folder.known_images import ImagesOfDataset, learned_images
from components.validate.judged import find_overlap
from tests.validate.conftest import Case, png

PLAIN = Case("Healthy", 128, 128)


def dataset_of(folder: Path, files: Mapping[str, bytes]) -> ImageDataset:
    for name, content in files.items():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes(content)
    with open_source(str(folder / "source"), judging=True) as source:
        ingest(source, folder / "dataset", folder / "state")
    return ImageDataset(folder / "dataset")


def changed(content: bytes) -> bytes:
    """Returns the same picture, mirrored, smaller, darker and as a JPEG."""
    image = Image.open(io.BytesIO(content)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    file = io.BytesIO()
    image.resize((120, 120)).point(lambda value: int(0.8 * value)).save(file, "JPEG", quality=85)
    return file.getvalue()


def test_files_and_pictures_of_the_own_dataset_are_found(tmp_path: Path) -> None:
    own = {f"Healthy/{n}.png": png(n, PLAIN) for n in range(6)}
    ImagesOfDataset.of(dataset_of(tmp_path / "own", own)).write(tmp_path)
    kept = ImagesOfDataset.open(tmp_path)
    assert kept is not None
    other = dataset_of(
        tmp_path / "other",
        {
            "Brain Tumor/again.png": own["Healthy/0.png"],
            "Brain Tumor/changed.jpg": changed(own["Healthy/1.png"]),
            **{f"Brain Tumor/{n}.png": png(n, PLAIN) for n in range(10, 16)},
        },
    )
    rows, overlap = find_overlap(other, kept)
    left = {other.manifest.images[row].path for row in rows}
    assert left == {f"Brain Tumor/{n}.png" for n in range(10, 16)}
    assert (overlap.identical, overlap.near_duplicates, overlap.same_group) == (1, 1, 0)
    assert overlap.checked


def test_images_that_the_first_weights_know_are_kept_too(tmp_path: Path) -> None:
    earlier = dataset_of(tmp_path / "a", {f"Healthy/{n}.png": png(n, PLAIN) for n in range(3)})
    own = dataset_of(tmp_path / "b", {f"Healthy/{n}.png": png(n, PLAIN) for n in range(2, 5)})
    other = dataset_of(tmp_path / "c", {f"Healthy/{n}.png": png(n, PLAIN) for n in range(8)})
    found, _ = learned_images(own, tmp_path).find(other)
    assert found.sum() == 3
    ImagesOfDataset.of(earlier).write(tmp_path)  # as train does that starts from a version
    kept = learned_images(own, tmp_path)
    assert (len(kept.files), len(kept.fingerprints)) == (5, 5)
    identical, near = kept.find(other)
    assert (identical.sum(), near.sum()) == (5, 5)


def test_what_is_kept_is_small_and_no_picture(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, {f"Healthy/{n}.png": png(n, PLAIN) for n in range(3)})
    ImagesOfDataset.of(dataset).write(tmp_path)
    assert np.load(tmp_path / KNOWN_IMAGES).nbytes < 1024 * 3
    assert len((tmp_path / KNOWN_FILES).read_text().split()) == 3


def test_a_version_of_before_keeps_nothing_and_a_broken_one_is_told(tmp_path: Path) -> None:
    assert ImagesOfDataset.open(tmp_path) is None
    (tmp_path / KNOWN_FILES).write_text("")
    with pytest.raises(UserError, match="holds no fingerprints"):
        ImagesOfDataset.open(tmp_path)
    (tmp_path / KNOWN_FILES).write_bytes(b"\xff")
    with pytest.raises(UserError, match="register the model again"):
        ImagesOfDataset.open(tmp_path)
