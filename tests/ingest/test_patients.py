"""Patients: numbered alike in every run, and named in nothing that is written."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from components.ingest import assemble, decode
from components.ingest.listing import Files, Found, Listed
from components.ingest.logic import ingest
from components.ingest.patients import number_patients, patient_keys
from components.ingest.sources import Source, open_source
from components.shared.data.dataset import ImageDataset

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
    monkeypatch.setattr(decode, "FILES_IN_A_CHUNK", 8)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, of_patients(folder) as source:
        patch.setattr(assemble, "NearDuplicates", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(source, tmp_path / "out", tmp_path / "state")
        salt, fingerprint = source.salt(), source.fingerprint()
    left = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert len(left) > 3
    with of_patients(folder) as source:
        manifest = ingest(source, tmp_path / "out", tmp_path / "state")
    assert {r.patient for r in manifest.images} == {0, 1, 2, None}
    written = left + [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    said = capfd.readouterr()
    everything = b"".join(written) + f"{said.out}{said.err}".encode()
    for secret in (b"PLANTED", salt, salt.hex().encode(), fingerprint.encode()):
        assert secret not in everything


def test_images_that_share_an_identifier_over_others_are_of_one_patient() -> None:
    keys = [("a0",), (), ("b0", "c0"), ("c0", "d0"), ("a0", "e0"), ("d0",), ("f0",)]
    assert number_patients(keys).tolist() == [0, -1, 1, 1, 0, 1, 2]
    assert number_patients([(), ()]).tolist() == [-1, -1]
    assert number_patients([]).tolist() == []


def test_keys_hang_on_the_salt() -> None:
    assert patient_keys([" 17 ", "", "  "], b"salt") == patient_keys(["17"], b"salt")
    assert patient_keys(["17"], b"salt") != patient_keys(["17"], b"another")
