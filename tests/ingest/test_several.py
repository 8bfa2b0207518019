"""Several sources become one dataset: each image knows its own, and nothing hangs on the order."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.ingest import decode
from components.ingest.assemble import assemble
from components.ingest.logic import ingest, ingest_part
from components.ingest.several import open_sources, sources_fingerprint, sources_here
from components.shared.data.dataset import ImageDataset
from components.shared.errors import UserError

Files = dict[str, bytes]
Writer = Callable[[Path, Files], Path]
Sources = tuple[str, str]


@pytest.fixture
def kaggle(tmp_path: Path, as_zip: Writer, image_files: Files) -> str:
    return str(as_zip(tmp_path / "kaggle.zip", image_files))


@pytest.fixture
def hospital(
    tmp_path: Path, as_folder: Writer, drawn: Callable[..., Image.Image], encoded: Callable
) -> str:
    """Eight scans with a table; one of them is an image of the other source, brightened."""
    twin = drawn(3).point(lambda value: min(255, value + 9))
    scans = {f"scans/{number}.png": encoded(drawn(500 + number)) for number in range(8)}
    rows = [
        f"{path},{'mass' if i % 2 else 'normal'},p{i // 2}" for i, path in enumerate(sorted(scans))
    ]
    table = "path,label,patient\n" + "\n".join(rows)
    scans["scans/7.png"] = encoded(twin)
    return str(as_folder(tmp_path / "hospital", {**scans, "labels.csv": table.encode()}))


@pytest.fixture
def both(kaggle: str, hospital: str) -> str:
    own = "#weight=2.5#labels=labels.csv#class_folders=mass=Brain Tumor,normal=Healthy"
    return json.dumps([kaggle, hospital + own])


@pytest.fixture
def made(both: str, tmp_path: Path) -> ImageDataset:
    with open_sources(both) as source:
        ingest(source, tmp_path / "out", tmp_path / "state")
    return ImageDataset(tmp_path / "out")


def content(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_each_image_says_which_source_it_is_from(
    made: ImageDataset, kaggle: str, hospital: str
) -> None:
    names = [record.source for record in made.manifest.images]
    assert names == ["kaggle"] * 12 + ["hospital"] * 4 + ["kaggle"] * 12 + ["hospital"] * 4
    assert made.labels.tolist() == [0] * 16 + [1] * 16
    assert all(r.path.startswith(f"{r.source}/") for r in made.manifest.images)
    assert len({r.path for r in made.manifest.images}) == 32
    first, second = made.manifest.sources
    assert (first.name, first.address, first.weight, first.files) == ("kaggle", kaggle, 1, 24)
    assert (second.name, second.address, second.weight) == ("hospital", hospital, 2.5)
    assert made.manifest.source == f"{kaggle}, {hospital}"
    assert made.sources.tolist() == [name == "hospital" for name in names]
    assert made.source_weights.tolist() == [2.5 if n == "hospital" else 1.0 for n in names]


def test_near_duplicates_are_found_across_sources(made: ImageDataset) -> None:
    paths = [record.path for record in made.manifest.images]
    original = paths.index("kaggle/data/data/Brain Tumor/B (3).png")
    twin = paths.index("hospital/scans/7.png")
    assert made.groups[original] == made.groups[twin]
    assert [paths[i] for i in np.flatnonzero(made.reaches_other_sources)] == [
        paths[original],
        *(path for path in paths if path in ("hospital/scans/6.png", "hospital/scans/7.png")),
    ]
    patients = [r.patient for r in made.manifest.images if r.source == "hospital"]
    assert len(set(patients)) == 4
    assert None not in patients


@pytest.mark.parametrize("prefix", ["", "Bonn-"])
def test_patients_that_two_sources_name_alike_are_noted(
    tmp_path: Path,
    hospital: str,
    as_folder: Writer,
    drawn: Callable[..., Image.Image],
    encoded: Callable,
    prefix: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = f"path,label,patient\na.png,mass,{prefix}p1\nb.png,normal,{prefix}p2\nc.png,normal,NA"
    images = {f"{name}.png": encoded(drawn(600 + i)) for i, name in enumerate("abc")}
    bonn = as_folder(tmp_path / "bonn", {**images, "labels.csv": table.encode()})
    classes = "mass=Brain Tumor,normal=Healthy"
    with open_sources(json.dumps([hospital, str(bonn)]), "", "labels.csv", classes) as source:
        ingest(source, tmp_path / "out", tmp_path / "state")
    noted = "2 patients in more than one source; if they are different people, write the source"
    assert (noted in capsys.readouterr().out) == (prefix == "")


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(
    made: ImageDataset, both: str, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "FILES_IN_A_CHUNK", 5)
    parts = []
    for worker in range(1, workers + 1):
        with open_sources(both) as source:
            parts.append(tmp_path / f"part-{worker}")
            ingest_part(source, parts[-1], tmp_path / "work", worker=worker, workers=workers)
    assemble(parts, tmp_path / "joined", 0.05)
    joined = ImageDataset(tmp_path / "joined")
    assert joined.digest == made.digest
    assert (joined.read(range(32)) == made.read(range(32))).all()
    if workers == 1:
        monkeypatch.undo()
        with open_sources(both) as source:
            ingest(source, tmp_path / "again", tmp_path / "state")
        assert content(tmp_path / "again") == content(made.folder)


def test_one_source_is_what_it_was(
    kaggle: str, tmp_path: Path, as_zip: Writer, image_files: Files
) -> None:
    with open_sources(f"{kaggle}#weight=3") as source:
        assert (source.uri, source.sources) == (kaggle, ())
        ingest(source, tmp_path / "out", tmp_path / "state")
    dataset = ImageDataset(tmp_path / "out")
    assert [record.path for record in dataset.manifest.images] == sorted(image_files)
    assert {record.source for record in dataset.manifest.images} == {None}
    assert dataset.source_weights.tolist() == [1.0] * 24
    assert dataset.sources.tolist() == [0] * 24


def test_another_weight_is_another_dataset(made: ImageDataset) -> None:
    first, second = made.manifest.sources
    heavier = made.manifest.model_copy(
        update={"sources": (first, second.model_copy(update={"weight": 3.0}))}
    )
    assert heavier.digest() != made.digest


def test_a_small_broken_source_is_not_hidden_by_a_large_good_one(
    kaggle: str, tmp_path: Path, as_folder: Writer, image_files: Files
) -> None:
    few = {name.replace("data/", ""): data for name, data in list(image_files.items())[10:14]}
    bad = as_folder(tmp_path / "few", few | {"Healthy/bad.png": b"x"})
    told = r"source \S+few: 1 of 5 files \(20.0%\) are unusable"
    with (
        open_sources(json.dumps([kaggle, str(bad)])) as source,
        pytest.raises(UserError, match=told),
    ):
        ingest(source, tmp_path / "out", tmp_path / "state")


def test_a_source_of_one_class_is_taken_and_one_of_none_is_not(
    kaggle: str, tmp_path: Path, as_folder: Writer, image_files: Files
) -> None:
    tumors = {name: data for name, data in image_files.items() if "Healthy" not in name}
    one = as_folder(tmp_path / "one", tumors)
    with open_sources(json.dumps([kaggle, str(one)])) as source:
        assert source.files.counts == {0: 24, 1: 12}
    none = as_folder(tmp_path / "none", {"glioma/1.png": b""})
    with (
        pytest.raises(UserError, match=r"none: holds no file of a class; found folders: glioma"),
        open_sources(json.dumps([kaggle, str(none)])),
    ):
        pass


def test_what_a_source_does_not_say_the_run_says(
    tmp_path: Path, as_folder: Writer, image_files: Files
) -> None:
    files = [
        {name.replace("Healthy", "no").replace("Brain Tumor", tumor): data}
        for tumor in ("yes", "mass")
        for name, data in image_files.items()
    ]
    both = [
        str(
            as_folder(tmp_path / str(n), {k: v for f in files[24 * n :][:24] for k, v in f.items()})
        )
        for n in range(2)
    ]
    both[1] += "#class_folders=mass=Brain Tumor,no=none"
    with open_sources(json.dumps(both), class_folders="yes=Brain Tumor,no=Healthy") as source:
        assert source.files.counts == {0: 24, 1: 12}


def test_a_change_in_one_source_is_noticed(both: str, hospital: str, kaggle: str) -> None:
    before = sources_fingerprint(both)
    Path(hospital, "scans/0.png").write_bytes(b"changed")
    assert sources_fingerprint(both) != before
    assert sources_fingerprint(kaggle) != before


def test_relative_paths_and_tables_are_pinned(
    hospital: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside, outside = json.loads(
        sources_here(
            '["hospital#weight=2#labels=labels.csv", "kaggle.zip#labels=hospital/labels.csv"]'
        )
    )
    assert inside == f"{hospital}#weight=2#labels=labels.csv"
    address, _, table = outside.partition("#labels=")
    assert address == str(tmp_path / "kaggle.zip")
    assert table.startswith(f"{hospital}/labels.csv#sha256=")


def test_positions_are_those_of_a_list(both: str) -> None:
    with open_sources(both) as source:
        files, listed = source.files, list(source.files)
        assert [files[i].path for i in (0, 15, 16, -1)] == [listed[i].path for i in (0, 15, 16, -1)]
        for start, stop, step in ((0, 32, 1), (10, 18, 1), (31, 40, 1), (20, 3, -3), (5, 5, 1)):
            assert [f.path for f in files[start:stop:step]] == [
                f.path for f in listed[start:stop:step]
            ]
        with pytest.raises(IndexError):
            files[32]
    assert np.all([f.source == f.path.partition("/")[0] for f in listed])
