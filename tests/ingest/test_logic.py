"""From files to a dataset: the same bytes each time, bad files set aside, killed runs resumed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from components.ingest import assemble
from components.ingest import decode as decoding
from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.shared.data.dataset import MANIFEST, THUMBNAILS, ImageDataset, Manifest
from components.shared.errors import UserError
from components.shared.images.decode import decode, thumbnail

Writer = Callable[[Path, dict[str, bytes]], Path]
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Manifest]:
    def ingested(source: Path | str, output: str, share: float = 0.5) -> Manifest:
        with open_source(str(source)) as opened:
            return ingest(opened, tmp_path / output, tmp_path / "state", share)

    return ingested


def content(folder: Path, but: str = "") -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != but}


def test_the_dataset_is_what_the_files_are(
    tmp_path: Path, run: Callable, as_zip: Writer, image_files: dict[str, bytes]
) -> None:
    manifest = run(as_zip(tmp_path / "a.zip", image_files), "out")
    dataset = ImageDataset(tmp_path / "out")
    assert dataset.manifest == manifest
    assert [record.path for record in manifest.images] == sorted(image_files)
    assert dataset.labels.tolist() == [0] * 12 + [1] * 12
    for record, pixels, small in zip(
        manifest.images, dataset.read(range(24)), dataset.thumbnails, strict=True
    ):
        data = image_files[record.path]
        assert (pixels == decode(data).pixels).all()
        assert (small == thumbnail(pixels)).all()
        assert (record.bytes, record.width, record.height) == (len(data), 96, 96)
        assert (record.mode, record.format, record.wrong_extension) == ("L", "PNG", False)
    assert manifest.quarantined == ()
    assert manifest.mixed_groups == ()
    assert set(content(tmp_path / "out")) == {MANIFEST, THUMBNAILS, "images-00000.npy"}
    assert list((tmp_path / "state").iterdir()) == []


def test_the_same_input_gives_the_same_bytes(
    tmp_path: Path, run: Callable, as_folder: Writer, as_zip: Writer, image_files: dict[str, bytes]
) -> None:
    archive = as_zip(tmp_path / "a.zip", image_files)
    run(archive, "first")
    run(archive, "second")
    assert content(tmp_path / "first") == content(tmp_path / "second")

    shuffled = dict(sorted(image_files.items(), key=lambda item: item[1]))
    run(as_folder(tmp_path / "folder", shuffled), "third")
    # The manifest names the source; all else is the same.
    assert content(tmp_path / "first", MANIFEST) == content(tmp_path / "third", MANIFEST)
    one, other = ImageDataset(tmp_path / "first"), ImageDataset(tmp_path / "third")
    assert one.digest == other.digest
    assert one.manifest.source_version == other.manifest.source_version


def test_chunks_change_nothing_but_the_shards(
    tmp_path: Path,
    run: Callable,
    as_zip: Writer,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = as_zip(tmp_path / "a.zip", image_files)
    run(archive, "one")
    monkeypatch.setattr(decoding, "FILES_IN_A_CHUNK", 5)
    run(archive, "many")
    one, many = ImageDataset(tmp_path / "one"), ImageDataset(tmp_path / "many")
    assert [shard.images for shard in many.manifest.shards] == [5, 5, 5, 5, 4]
    assert one.digest == many.digest
    assert (one.read(range(24)) == many.read(range(24))).all()


def test_a_chunk_without_a_usable_image(
    tmp_path: Path,
    run: Callable,
    as_zip: Writer,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "FILES_IN_A_CHUNK", 4)
    paths = sorted(image_files)
    files = {path: b"broken" if 4 <= i < 8 else image_files[path] for i, path in enumerate(paths)}
    manifest = run(as_zip(tmp_path / "a.zip", files), "out")
    assert [(shard.file, shard.images) for shard in manifest.shards] == [
        (f"images-{i:05d}.npy", 4) for i in range(5)
    ]
    assert [file.path for file in manifest.quarantined] == paths[4:8]
    dataset = ImageDataset(tmp_path / "out")
    kept = [path for path in paths if files[path] != b"broken"]
    expected = np.stack([decode(files[path]).pixels for path in kept])
    assert (dataset.read(range(20)) == expected).all()


def test_bad_files_are_set_aside_with_their_reason(
    tmp_path: Path, run: Callable, as_zip: Writer, image_files: dict[str, bytes], encoded: Callable
) -> None:
    whole = next(iter(image_files.values()))
    bad = {
        "Healthy/empty.jpg": b"",
        "Healthy/notes.jpg": b"not an image",
        "Healthy/cut.png": whole[:-60],
        "Healthy/moving.jpg": encoded(Image.new("L", (9, 9)), "GIF"),
        "Healthy/../out.png": whole,
        "Healthy/wide.png": encoded(Image.new("1", (70_000, 1))),
        "Healthy/pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    }
    lying = {"Healthy/lies.jpg": whole, "Healthy/none": encoded(Image.new("L", (9, 9)), "TIFF")}
    manifest = run(as_zip(tmp_path / "a.zip", {**image_files, **bad, **lying}), "out")
    assert {f.path: f.reason.split(":")[0] for f in manifest.quarantined} == {
        "Healthy/empty.jpg": "empty",
        "Healthy/notes.jpg": "format",
        "Healthy/cut.png": "unreadable",
        "Healthy/moving.jpg": "format",
        "Healthy/wide.png": "too-many-pixels",
        "Healthy/pointer.png": "a Git LFS pointer in place of the image; fetch the images with",
    } | ({"Healthy/../out.png": "a path that leads out of the archive"})
    wrong = {record.path for record in manifest.images if record.wrong_extension}
    assert wrong == set(lying)


def test_an_entry_with_a_wrong_checksum_is_set_aside(
    tmp_path: Path, run: Callable, as_zip: Writer, image_files: dict[str, bytes]
) -> None:
    path = as_zip(tmp_path / "a.zip", image_files)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 16] ^= 1
    path.write_bytes(data)
    manifest = run(path, "out")
    assert len(manifest.images) == 23
    assert manifest.quarantined[0].reason.startswith("unreadable: Bad CRC-32")


def test_a_file_that_goes_away_is_set_aside(
    tmp_path: Path, as_folder: Writer, image_files: dict[str, bytes]
) -> None:
    folder = as_folder(tmp_path / "folder", image_files)
    with open_source(str(folder)) as source:
        (folder / sorted(image_files)[0]).unlink()
        manifest = ingest(source, tmp_path / "out", tmp_path / "state", 0.5)
    assert manifest.quarantined[0].path == sorted(image_files)[0]
    assert manifest.quarantined[0].reason.startswith("unreadable: ")


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda path: "Healthy" in path, "class 'Brain Tumor' holds no files"),
        (lambda path: "Healthy" not in path, "class 'Healthy' holds no files"),
        (lambda path: False, "class 'Brain Tumor' holds no files"),
    ],
)
def test_a_missing_class(
    tmp_path: Path,
    run: Callable,
    as_zip: Writer,
    image_files: dict[str, bytes],
    keep: Callable[[str], bool],
    message: str,
) -> None:
    files = {path: data for path, data in image_files.items() if keep(path)}
    with pytest.raises(UserError, match=message) as caught:
        run(as_zip(tmp_path / "a.zip", files), "out")
    assert "give a source with image folders named Brain Tumor and Healthy" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_class_folder_that_is_a_link_is_named(
    tmp_path: Path, run: Callable, as_folder: Writer, image_files: dict[str, bytes]
) -> None:
    folder = as_folder(tmp_path / "in", image_files)
    healthy = folder / "data/data/Healthy"
    healthy.rename(tmp_path / "elsewhere")
    healthy.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(UserError, match=r"no usable image \(data/data/Healthy: a link to a folder"):
        run(folder, "out")


def test_what_is_left_out_is_said(
    tmp_path: Path,
    run: Callable,
    as_zip: Writer,
    image_files: dict[str, bytes],
    capsys: pytest.CaptureFixture,
) -> None:
    files = {**image_files, "Healthy/Thumbs.db": b"x", "Healthy/empty.png": b""}
    manifest = run(as_zip(tmp_path / "a.zip", files), "out")
    assert manifest.left_out == {"Thumbs.db": 1}
    said = capsys.readouterr().out
    assert "left out: 1 file, Thumbs.db\n" in said
    assert "1 of 25 files (4.0%) are unusable" in said
    assert "Healthy/empty.png (empty" in said


def test_a_class_without_a_usable_image(
    tmp_path: Path, run: Callable, as_zip: Writer, image_files: dict[str, bytes]
) -> None:
    files = {path: b"" if "Healthy" in path else data for path, data in image_files.items()}
    with pytest.raises(UserError, match="class 'Healthy' holds no usable image"):
        run(as_zip(tmp_path / "a.zip", files), "out")
    assert not (tmp_path / "out").exists()


def test_too_many_bad_files(
    tmp_path: Path, run: Callable, as_zip: Writer, image_files: dict[str, bytes]
) -> None:
    path = as_zip(tmp_path / "a.zip", {**image_files, "Healthy/x\n.png": b""})
    assert len(run(path, "out", 0.04).images) == 24
    with pytest.raises(UserError, match=r"1 of 25 files \(4.0%\) are unusable, 3.9% are") as caught:
        run(path, "out", 0.039)
    assert "\n" not in str(caught.value)


def test_the_same_picture_in_both_classes_is_reported(
    tmp_path: Path, run: Callable, as_zip: Writer, image_files: dict[str, bytes]
) -> None:
    twin = image_files["data/data/Brain Tumor/B (0).png"]
    manifest = run(as_zip(tmp_path / "a.zip", {**image_files, "Healthy/twin.png": twin}), "out")
    group = next(record.group for record in manifest.images if record.path == "Healthy/twin.png")
    assert manifest.mixed_groups == (group,)


def test_few_results_wait_for_a_slow_file() -> None:
    started, slow = [], threading.Event()

    def work(number: int) -> int:
        started.append(number)
        if number == 0:
            slow.wait(60)
        return number

    with ThreadPoolExecutor(3) as pool:
        results = decoding._in_order(pool, work, range(50), 5)
        threading.Timer(0.2, slow.set).start()
        assert next(results) == 0
        assert len(started) <= 5
        assert list(results) == list(range(1, 50))


DRIVER = """
import sys, time
from pathlib import Path
from components.ingest import decode as decoding
from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.shared.images.slices import read

decoding.FILES_IN_A_CHUNK = 5
source, output, state = sys.argv[1:]

def slow(content, **options):
    time.sleep(0.2)
    return read(content, **options)

decoding.read = slow
with open_source(source) as opened:
    ingest(opened, output, state)
"""


def test_a_killed_run_goes_on_where_it_was(
    tmp_path: Path,
    run: Callable,
    as_zip: Writer,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    archive = as_zip(tmp_path / "a.zip", image_files)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, archive, tmp_path / "resumed", tmp_path / "state"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("state/*/chunk-*.json"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "resumed").exists()
    finished = len(list(tmp_path.glob("state/*/chunk-*.json")))
    assert 2 <= finished < 5

    read = Mock(side_effect=decoding.read)
    monkeypatch.setattr(decoding, "read", read)
    monkeypatch.setattr(decoding, "FILES_IN_A_CHUNK", 5)
    run(archive, "resumed")
    assert capsys.readouterr().out.count("was decoded before") == finished
    assert read.call_count == 24 - 5 * finished

    run(archive, "whole")
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("lost", "how"),
    [
        ("pixels-00000.npy", "gone"),
        ("thumbnails-00001.npy", "gone"),
        ("chunk-00001.json", "gone"),
        ("chunk-00001.json", "cut"),
        ("pixels-00001.npy", "changed"),
        ("thumbnails-00000.npy", "changed"),
        ("heads-00000.npy", "changed"),
    ],
)
def test_unfinished_work_that_is_damaged_is_done_again(
    tmp_path: Path,
    run: Callable,
    as_zip: Writer,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
    how: str,
) -> None:
    monkeypatch.setattr(decoding, "FILES_IN_A_CHUNK", 9)
    archive = as_zip(tmp_path / "a.zip", image_files)
    run(archive, "whole")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(assemble, "NearDuplicates", killed)
        with pytest.raises(KeyboardInterrupt):
            run(archive, "again")
    (work,) = (tmp_path / "state").iterdir()
    if how == "gone":
        (work / lost).unlink()
    elif how == "changed":
        (work / lost).write_bytes((work / lost).read_bytes()[:-1] + b"\x7f")
    else:
        (work / lost).write_bytes((work / lost).read_bytes()[:-9])
    run(archive, "again")
    assert content(tmp_path / "again") == content(tmp_path / "whole")


def test_a_changed_source_is_not_resumed(
    tmp_path: Path,
    run: Callable,
    as_zip: Writer,
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    archive = as_zip(tmp_path / "a.zip", image_files)
    with monkeypatch.context() as patch:
        patch.setattr(assemble, "NearDuplicates", killed)
        with pytest.raises(KeyboardInterrupt):
            run(archive, "out")
    first, second = sorted(image_files)[:2]
    changed = {**image_files, first: image_files[second]}
    manifest = run(as_zip(archive, changed), "out")
    assert manifest.images[0].sha256 == manifest.images[1].sha256
