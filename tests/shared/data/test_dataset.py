"""What is read back is what was written, and anything else is refused in one line."""

import io
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared.data.dataset import (
    MANIFEST,
    SPLIT,
    THUMBNAILS,
    ImageDataset,
    Manifest,
    Split,
    twins_in_training,
)
from components.shared.errors import UserError
from components.shared.images.decode import SHAPE, thumbnail

SHARD = "images-00000.npy"


@pytest.fixture
def copy(dataset: ImageDataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset.folder, tmp_path / "dataset"))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        _ = ImageDataset(folder).thumbnails
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def test_manifest_round_trip(dataset: ImageDataset) -> None:
    manifest = dataset.manifest
    again = Manifest.model_validate_json(manifest.model_dump_json())
    assert again == manifest
    assert again.digest() == manifest.digest() == dataset.digest
    renamed = replace(manifest.images[0], path="other.jpg")
    changed = manifest.model_copy(update={"images": (renamed, *manifest.images[1:])})
    assert changed.digest() != manifest.digest()


def test_pixels_come_in_the_order_asked_for(dataset: ImageDataset) -> None:
    everything = dataset.read(range(len(dataset)))
    assert everything.shape == (len(dataset), *SHAPE)
    assert everything.dtype == np.uint8
    wanted = np.random.default_rng(1).permutation(len(dataset))[:20]
    wanted = np.concatenate([wanted, wanted[:3]])
    assert (dataset.read(wanted) == everything[wanted]).all()
    assert dataset.read([]).shape == (0, *SHAPE)
    assert all(
        (thumbnail(pixels) == small).all()
        for pixels, small in zip(everything, dataset.thumbnails, strict=True)
    )


def test_batches_cover_what_is_asked_for(dataset: ImageDataset) -> None:
    wanted = np.arange(1, len(dataset), 2)
    batches = list(dataset.batches(wanted, size=7))
    assert (np.concatenate([rows for rows, _ in batches]) == wanted).all()
    assert (np.concatenate([pixels for _, pixels in batches]) == dataset.read(wanted)).all()
    assert {len(rows) for rows, _ in batches[:-1]} == {7}


def change(key: str, value: Any) -> Callable[[dict], None]:
    return lambda manifest: manifest.update({key: value})


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (change("schema_version", 2), "schema_version"),
        (change("extra", 1), "extra"),
        (lambda m: m.pop("images"), "images"),
        (lambda m: m["images"][0].update(label=3), "images.0.label"),
        (lambda m: m["images"][0].update(sha256="../../etc"), "images.0.sha256"),
        (lambda m: m["images"][0].update(group=-1), "images.0.group"),
        (change("thumbnails_sha256", "none"), "thumbnails_sha256"),
        (change("contradicted", [-1]), "contradicted.0"),
        (change("contradicted", [10**6]), "contradicted names no image"),
        (lambda m: m["shards"][0].update(file="../images-00000.npy"), "shards.0.file"),
        (lambda m: m["shards"][0].update(file="/etc/passwd"), "shards.0.file"),
        (lambda m: m["images"].pop(), "shards and manifest disagree"),
        (lambda m: m["shards"][0].update(images=1), "where the manifest says"),
        (lambda m: m["shards"][0].update(file="images-00009.npy"), "cannot read"),
    ],
)
def test_tampered_manifests(copy: Path, harm: Callable[[dict], Any], where: str) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    harm(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert where in refused(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"images": NaN}'])
def test_what_is_no_manifest(copy: Path, content: bytes) -> None:
    (copy / MANIFEST).write_bytes(content)
    refused(copy)


def test_nothing_there(tmp_path: Path) -> None:
    assert "cannot read the dataset" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize("file", [SHARD, THUMBNAILS])
def test_a_changed_byte_is_noticed(copy: Path, file: str) -> None:
    content = bytearray((copy / file).read_bytes())
    content[-1] ^= 1
    (copy / file).write_bytes(content)
    assert f"{file}: has changed since it was written; remove" in refused(copy)


def test_datasets_without_a_digest_of_thumbnails(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    thumbnails = ImageDataset(copy).thumbnails
    del manifest["thumbnails_sha256"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert (ImageDataset(copy).thumbnails == thumbnails).all()


@pytest.mark.parametrize("file", [SHARD, THUMBNAILS])
def test_tampered_arrays(copy: Path, file: str) -> None:
    whole = np.load(copy / file)
    objects = np.empty(1, dtype=object)
    for content in (
        b"",
        b"\x93NUMPY",
        saved(whole)[:-1],
        saved(whole.astype(np.int8)),
        saved(whole.astype(np.float32)),
        saved(whole[:-1]),
        saved(whole.reshape(-1)),
        saved(objects),
        pickle.dumps(whole),
        zipped(whole),
    ):
        (copy / file).write_bytes(content)
        assert file in refused(copy)
    (copy / file).unlink()
    assert file in refused(copy)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    header=st.text("{}()[],:'\"descrfotanhp|<ui108-e\n \0Trué", max_size=60),
    version=st.integers(0, 4),
)
def test_random_headers(copy: Path, header: str, version: int) -> None:
    text = header.encode()
    length = len(text).to_bytes(2 if version < 2 else 4, "little")
    (copy / SHARD).write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\0" * 64)
    refused(copy)


class Planted:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("planted"),))


def test_a_pickle_is_never_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    trap = np.empty(1, dtype=object)
    trap[0] = Planted()
    (copy / SHARD).write_bytes(saved(trap))
    refused(copy)
    (copy / SHARD).write_bytes(pickle.dumps(Planted()))
    refused(copy)
    assert not (copy / "planted").exists()


def test_split_round_trip(dataset: ImageDataset, split: Split) -> None:
    again = Split.open(dataset.folder.parent / "split", dataset)
    assert again == split
    assert again.digest() == split.digest()
    assert again.part("held_out").dtype == np.int64


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (change("strategy", "by-luck"), "strategy"),
        (change("dataset_digest", "0" * 64), "made for another dataset"),
        (change("held_out", [60]), "does not have"),
        (change("train", [-1]), "does not have"),
        (change("train", ["x"]), "train.0"),
        (change("more", 1), "more"),
        (lambda s: s.pop("seed"), "seed"),
    ],
)
def test_tampered_splits(
    dataset: ImageDataset, split: Split, tmp_path: Path, harm: Callable[[dict], Any], message: str
) -> None:
    content = json.loads(split.model_dump_json())
    harm(content)
    (tmp_path / SPLIT).write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        Split.open(tmp_path, dataset)
    assert "\n" not in str(caught.value)


def test_a_missing_split(dataset: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the split"):
        Split.open(tmp_path, dataset)


def test_twins_in_training() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2, 9])
    train = np.array([0, 3, 4, 6])
    assert twins_in_training(groups, train, np.array([1, 2, 5])) == 2
    # Alone in training is no twin of itself; 3 and 4 are twins of each other.
    assert twins_in_training(groups, train, train) == 2
    assert twins_in_training(groups, train, np.array([], dtype=int)) == 0
