"""Several workers' parts: one machine's dataset, byte for byte, or a line that says why not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.ingest import decode
from components.ingest.assemble import assemble
from components.ingest.logic import ingest, ingest_part
from components.ingest.sources import open_source
from components.shared.data.dataset import MANIFEST, ImageDataset
from components.shared.errors import UserError

Files = dict[str, bytes]
Writer = Callable[[Path, Files], Path]


@pytest.fixture
def folder(
    tmp_path: Path, as_folder: Writer, image_files: Files, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """26 files, two of them unusable, of which four make a chunk."""
    monkeypatch.setattr(decode, "FILES_IN_A_CHUNK", 4)
    bad = {"data/data/Healthy/bad.png": b"x", "data/data/Brain Tumor/B (1) bad.png": b""}
    return as_folder(tmp_path / "source", {**image_files, **bad})


def parts_of(folder: Path, where: Path, workers: int) -> list[Path]:
    parts = []
    for worker in range(1, workers + 1):
        with open_source(str(folder)) as source:
            part = where / f"part-{worker}"
            ingest_part(source, part, where / "state", worker=worker, workers=workers)
        parts.append(part)
    assert list((where / "state").iterdir()) == []
    return parts


def content(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("workers", [1, 2, 5, 9])
def test_any_number_of_workers_gives_the_bytes_of_one_machine(
    tmp_path: Path, folder: Path, workers: int
) -> None:
    with open_source(str(folder)) as source:
        ingest(source, tmp_path / "one", tmp_path / "state", 0.2)
    parts = parts_of(folder, tmp_path / "many", workers)
    assemble(parts[::-1], tmp_path / "joined", 0.2)
    assert content(tmp_path / "joined") == content(tmp_path / "one")
    dataset = ImageDataset(tmp_path / "joined")
    assert len(dataset) == 24
    # No pixels are copied where that can be helped.
    (pixels,) = (tmp_path / "many").glob("part-*/pixels-00000.npy")
    assert os.path.samefile(tmp_path / "joined" / "images-00000.npy", pixels)


def test_a_source_that_changes_between_workers_is_noticed(tmp_path: Path, folder: Path) -> None:
    first, _ = parts_of(folder, tmp_path / "before", 2)
    for change in ("Healthy/new.png", "Brain Tumor/B (1) bad.png"):
        (folder / "data/data" / change).write_bytes(b"change")
        _, second = parts_of(folder, tmp_path / change, 2)
        with pytest.raises(UserError, match="it changed while it was read"):
            assemble([first, second], tmp_path / "out", 0.2)
    assert not (tmp_path / "out").exists()


def test_parts_that_are_not_all_there(tmp_path: Path, folder: Path) -> None:
    one, two, three = parts_of(folder, tmp_path, 3)
    for parts in ([one, three], [two, three], [one, two], [one, two, two, three]):
        with pytest.raises(UserError, match="a worker's part is missing, or there twice"):
            assemble(parts, tmp_path / "out", 0.2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("part.json", "cannot read"),
        ("chunk-00000.json", "cannot read"),
        ("thumbnails-00001.npy", "has changed since it was written"),
    ],
)
def test_a_part_that_is_damaged(tmp_path: Path, folder: Path, name: str, message: str) -> None:
    (part,) = parts_of(folder, tmp_path, 1)
    if name.endswith("json"):
        (part / name).unlink()
    else:
        (part / name).write_bytes((part / name).read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match=message):
        assemble([part], tmp_path / "out", 0.2)
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_made_images_are_the_same_on_each_machine() -> None:
    listings = set()
    for _ in range(2):
        with open_source("sample://?images=24&seed=3") as source:
            listings.add(source.listing_id())
    assert len(listings) == 1
