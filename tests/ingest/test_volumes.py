"""DICOM files in class folders: each slice an image, each patient a group, nobody named."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.ingest.decode import decode_part
from components.ingest.logic import ingest, ingest_part
from components.ingest.parts import read_chunk
from components.ingest.sources import open_source
from components.shared.data.dataset import ImageDataset, Manifest
from components.shared.images.slices import choose, read
from components.split.logic import make_folds, make_split
from tests.shared.images.dicoms import JPEG_LOSSLESS, dicom

PROJECT = Path(__file__).parents[2]
NAME, NUMBER, BORN, STUDY = "Mustermann^Erika", "PID-4711-XYZ", "19640812", "1.2.3.47110815"
PATIENT = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BORN}
SECRETS = re.compile(rb"mustermann|erika|pid-4711|47110815|19640812", re.IGNORECASE)


@pytest.fixture(scope="module")
def files(drawn: Callable) -> dict[str, bytes]:
    """Returns eight patients of two files a class, one of many slices, and an unreadable one."""

    def scan(seed: int, **elements: object) -> bytes:
        return dicom(np.asarray(drawn(seed)).astype("u2") * 9, bits=12, **elements)

    found = {}
    for label, name in enumerate(("Brain Tumor", "Healthy")):
        for patient in range(8):
            for part, end in enumerate((".dcm", "")):
                number = {"PatientID": f"PID-4711-{label}-{patient}", "PatientName": NAME}
                path = f"{name}/IM{patient}-{part}{end}"
                found[path] = scan(100 * label + 10 * patient + part, **number)
    volume = np.stack([np.asarray(drawn(1000 + number)) for number in range(20)])
    found["Healthy/volume.dcm"] = dicom(volume, **PATIENT)
    # Pixels, tags and a transfer syntax that hold the name, in a file that cannot be read.
    broken = dicom(volume[0], JPEG_LOSSLESS, [NAME.encode()], **PATIENT, StudyInstanceUID=STUDY)
    found["Healthy/frame.dcm"] = broken
    found["Healthy/broken.dcm"] = broken.replace(b"MONOCHROME2 ", b"Mustermann^E")
    found["Healthy/cut.dcm"] = scan(2000, **PATIENT)[:-300]
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, files: dict, as_folder: Callable) -> Path:
    return as_folder(tmp_path_factory.mktemp("volumes"), files)


def ingested(source: Path, folder: Path, **options: str) -> tuple[Manifest, ImageDataset]:
    with open_source(str(source), **options) as opened:
        manifest = ingest(opened, folder / "out", folder / "state", 0.5)
    return manifest, ImageDataset(folder / "out")


def test_every_slice_is_an_image_and_no_split_parts_a_patient(
    tmp_path: Path, source: Path, files: dict[str, bytes]
) -> None:
    manifest, dataset = ingested(source, tmp_path)
    paths = [record.path for record in manifest.images]

    volume = [f"Healthy/volume.dcm#{number}" for number in choose(20, 16)]
    assert paths[-16:] == volume
    assert "Healthy/IM3-1" in paths
    assert {file.path for file in manifest.quarantined} == {
        "Healthy/broken.dcm",
        "Healthy/frame.dcm",
        "Healthy/cut.dcm",
    }
    assert {record.format for record in manifest.images} == {"DICOM"}
    assert not any(record.wrong_extension for record in manifest.images)
    slices = read(files["Healthy/volume.dcm"])
    assert np.array_equal(
        dataset.read(range(len(paths) - 16, len(paths))),
        np.stack([image.pixels for image in slices.images]),
    )
    whose = [re.sub(r"(IM\d).*|(volume).*", r"\1\2", path) for path in paths]
    assert len({(p, int(n)) for p, n in zip(whose, dataset.patients, strict=True)}) == 17
    assert len(set(dataset.patients)) == 17
    for split in [make_split(dataset, seed=1), *make_folds(dataset, 3)]:
        parts = [{whose[i] for i in split.part(name)} for name in ("train", "held_out")]
        assert not parts[0] & parts[1]


def test_a_run_says_how_many_slices(tmp_path: Path, source: Path) -> None:
    numbers = []
    for slices in (3, 5):
        with open_source(str(source)) as opened:
            ingest_part(
                opened,
                tmp_path / f"{slices}",
                tmp_path / "state",
                worker=1,
                workers=1,
                slices=slices,
            )
        chunk = read_chunk(tmp_path / f"{slices}", 0)
        numbers.append([image.path.split("#")[1] for image in chunk.images if "#" in image.path])

    assert numbers == [[str(number) for number in choose(20, slices)] for slices in (3, 5)]


def test_a_table_of_labels_knows_a_patient_better_than_the_file(
    tmp_path: Path, as_folder: Callable, drawn: Callable
) -> None:
    files = {
        f"{name}/{number}.dcm": dicom(np.asarray(drawn(10 * number + label)), PatientID="P-1")
        for label, name in enumerate(("Brain Tumor", "Healthy"))
        for number in range(2)
    }
    source = as_folder(tmp_path / "source", files)
    table = tmp_path / "labels.csv"
    rows = [f"{path},{path.split('/')[0]},{path[-5]}" for path in files]
    table.write_text("\n".join(["path,label,patient", *rows]))

    _, by_tags = ingested(source, tmp_path / "tags")
    _, by_table = ingested(source, tmp_path / "table", labels=str(table))

    assert by_tags.patients.tolist() == [0, 0, 0, 0]
    assert by_table.patients.tolist() == [0, 1, 0, 1]


def test_nothing_that_is_written_or_said_names_the_patient(tmp_path: Path, source: Path) -> None:
    from components.ingest.report import write_data_report  # slow to import

    code = (
        "import sys, logging\n"
        "logging.basicConfig(level=0)\n"
        "from tests.ingest.test_volumes import ingest_and_leave\n"
        "ingest_and_leave(*sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    )

    assert b"unusable" in done.stdout
    assert not SECRETS.search(done.stdout + done.stderr)
    assert b"pydicom" not in done.stderr  # whose logs and warnings quote files
    write_data_report(str(tmp_path / "report.html"), ImageDataset(tmp_path / "out"), 0)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"manifest.json", "report.html", "chunk-00000.json"}
    for path in written:
        assert not SECRETS.search(path.read_bytes()), path


def ingest_and_leave(source: str, folder: str) -> None:
    """Ingests, and leaves the state that a killed run would."""
    ingested(Path(source), Path(folder))
    with open_source(source) as opened:
        (Path(folder) / "left").mkdir()
        decode_part(opened, Path(folder) / "left")
