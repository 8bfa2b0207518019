"""Patients: numbered alike in every run, and named in nothing that is written."""

import dataclasses
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from components.dataset import ImageDataset
from components.ingest import ingest as module
from components.ingest.ingest import ingest
from components.ingest.listing import Files, Found, Listed
from components.ingest.patients import number_patients, patient_keys, run_salt
from components.ingest.sources import Source, open_source

NAMES = ("PLANTED^NAME^ONE", "PLANTED^NAME^TWO", "PLANTED^NAME^THREE")


@contextmanager
def of_patients(folder: Path) -> Iterator[Source]:
    """Opens a source whose files have patients, sites and sequences; every fourth has none."""
    with open_source(str(folder)) as source:
        listed = (
            Listed(Found(file.path, file.size, file.stamp), file.path, file.label, *known)
            for number, file in enumerate(source.files)
            for known in [() if number % 4 == 3 else (NAMES[number % 3], "Ulm", "T1")]
        )
        with closing(Files(listed, lambda name, _: (folder / name).read_bytes())) as files:
            yield dataclasses.replace(source, files=files)


def test_a_patient_is_a_number_by_appearance(
    tmp_path: Path, as_folder: Callable[..., Path], image_files: dict[str, bytes]
) -> None:
    folder = as_folder(tmp_path / "source", image_files)
    written = []
    for name in ("first", "second"):
        with of_patients(folder) as source:
            manifest = ingest(source, tmp_path / name, tmp_path / "state")
        written.append((tmp_path / name / "manifest.json").read_bytes())
    assert written[0] == written[1]
    order = [0, 1, 2, None, 1, 2, 0, None, 2, 0, 1, None]
    assert [record.patient for record in manifest.images] == order * 2
    assert {(r.site, r.sequence) for r in manifest.images} == {("Ulm", "T1"), (None, None)}
    groups = ImageDataset(tmp_path / "first").groups
    of_one = [groups[[i for i, r in enumerate(manifest.images) if r.patient == p]] for p in (0, 1)]
    assert all(len(set(found)) == 1 for found in of_one)
    assert of_one[0][0] != of_one[1][0]


def test_no_name_is_written_not_even_by_a_run_that_is_killed(
    tmp_path: Path,
    as_folder: Callable[..., Path],
    image_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = as_folder(tmp_path / "source", image_files)
    monkeypatch.setattr(module, "FILES_IN_A_CHUNK", 8)
    grouped = module.group_duplicates

    def killed(thumbnails: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "group_duplicates", killed)
    with pytest.raises(KeyboardInterrupt), of_patients(folder) as source:
        ingest(source, tmp_path / "out", tmp_path / "state")
    left = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    (salt,) = (path for path in left if path.name == "salt")
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert len(left) > 3
    monkeypatch.setattr(module, "group_duplicates", grouped)
    with of_patients(folder) as source:
        manifest = ingest(source, tmp_path / "out", tmp_path / "state")
    assert {r.patient for r in manifest.images} == {0, 1, 2, None}
    written = [path.read_bytes() for path in left if path.is_file()]
    written += [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    said = capfd.readouterr()
    assert b"PLANTED" not in b"".join(written) + f"{said.out}{said.err}".encode()


def test_images_that_share_an_identifier_over_others_are_of_one_patient() -> None:
    keys = [("a",), (), ("b", "c"), ("c", "d"), ("a", "e"), ("d",), ("f",)]
    assert number_patients(keys) == [0, None, 1, 1, 0, 1, 2]
    assert number_patients([(), ()]) == [None, None]
    assert number_patients([]) == []


def test_keys_hang_on_the_salt_which_stays(tmp_path: Path) -> None:
    salt = run_salt(tmp_path)
    assert run_salt(tmp_path) == salt
    (tmp_path / "salt").write_bytes(b"")  # as a killed run may leave it
    assert run_salt(tmp_path) not in (b"", salt)
    assert patient_keys([" 17 ", "", "  "], salt) == patient_keys(["17"], salt)
    assert patient_keys(["17"], salt) != patient_keys(["17"], b"another")
