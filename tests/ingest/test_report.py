"""The data report: complete, self-contained, small, and safe with hostile names."""

import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.ingest import report
from components.ingest.logic import ingest
from components.ingest.report import metadata_accuracy, write_data_report
from components.ingest.sources import open_source
from components.shared.data.dataset import ImageDataset
from components.shared.reports.html import MAX_BYTES, picture

Writer = Callable[[Path, dict[str, bytes]], Path]
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{ 7*7 }}.png"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    folder = tmp_path_factory.mktemp("sample")
    with open_source("sample://?images=60&seed=1") as source:
        ingest(source, folder / "out", folder / "state", 0.1)
    return ImageDataset(folder / "out")


def assert_self_contained(text: str) -> None:
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!data:image/|#|["'])""", text)
    assert not re.search(r"<(link|iframe|object|embed)|https?://|@import|url\((?!#)", text)
    assert text.count("<script") <= 1  # the page's own


def test_what_it_shows(sample: ImageDataset, tmp_path: Path) -> None:
    accuracy = write_data_report(tmp_path / "report.html", sample, seed=0)
    text = (tmp_path / "report.html").read_text()
    assert_self_contained(text)
    assert len(text.encode()) < MAX_BYTES
    assert accuracy is not None
    for interval in accuracy:
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
        assert f"{100 * interval.value:.1f}%" in text
    assert "<b>60</b>" in text
    assert f"<b>{sample.groups.max() + 1}</b>" in text
    assert "sample://?images=60&amp;seed=1" in text
    for words in (
        "Cancer (cut off).png",
        "Not Cancer (empty).jpg",
        "JPEG",
        "RGB",
        "No group holds",
    ):
        assert words in text
    assert text.count("data:image/jpeg") > 24
    assert text.count('<svg role="img"') == 2


def test_the_same_data_gives_the_same_report(sample: ImageDataset, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_data_report(tmp_path / name, sample, seed=3)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_metadata_gives_the_class_away(dataset: ImageDataset) -> None:
    # 80% of these tumours and 20% of the healthy images are 512 wide.
    accuracy = metadata_accuracy(dataset, seed=0)
    assert accuracy is not None
    assert 0.6 < accuracy.grouped_folds.value <= 1


def test_hostile_names_are_escaped(
    tmp_path: Path, as_folder: Writer, image_files: dict[str, bytes]
) -> None:
    name = HOSTILE.replace("/", "\N{DIVISION SLASH}")
    files = {**image_files, f"Healthy/{name}": b"bad", f"Brain Tumor/{name}": b""}
    folder = as_folder(tmp_path / "<script>source", files)
    with open_source(str(folder)) as source:
        manifest = ingest(source, tmp_path / "out", tmp_path / "state", 0.5)
    assert {name in file.path for file in manifest.quarantined} == {True}
    write_data_report(tmp_path / "report.html", ImageDataset(tmp_path / "out"))
    text = (tmp_path / "report.html").read_text()
    assert_self_contained(text.replace("src=x", ""))
    assert "<img src=x" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;script&gt;source" in text
    assert "{{ 7*7 }}" in text


def test_many_long_names_stay_below_the_limit(
    tmp_path: Path, image_files: dict[str, bytes]
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in image_files.items():
            archive.writestr(name, content)
        for number in range(100):
            archive.writestr(f"Healthy/{number}{'<' * 60_000}.png", b"")
    with open_source(str(path)) as source:
        ingest(source, tmp_path / "out", tmp_path / "state", 1.0)
    write_data_report(tmp_path / "report.html", ImageDataset(tmp_path / "out"))
    assert (tmp_path / "report.html").stat().st_size < MAX_BYTES
    assert "and 50 more" in (tmp_path / "report.html").read_text()


def test_the_same_picture_in_both_classes_is_shown(
    tmp_path: Path, as_folder: Writer, image_files: dict[str, bytes]
) -> None:
    twin = image_files["data/data/Brain Tumor/B (0).png"]
    with open_source(str(as_folder(tmp_path / "in", {**image_files, "Healthy/t.png": twin}))) as s:
        ingest(s, tmp_path / "out", tmp_path / "state")
    write_data_report(tmp_path / "report.html", ImageDataset(tmp_path / "out"))
    text = (tmp_path / "report.html").read_text()
    assert "1 group holds images of both classes" in text
    assert "2 images are contradicted" in text
    assert "Brain Tumor: 1 image, 1 contradicted" in text
    assert "Healthy: 1 image, 1 contradicted" in text


def test_few_images(make_dataset: Callable[..., ImageDataset], tmp_path: Path) -> None:
    small = make_dataset(tmp_path / "dataset", groups=2)
    assert write_data_report(tmp_path / "report.html", small) is None
    text = (tmp_path / "report.html").read_text()
    assert "too few groups of a class for 5 folds" in text
    assert not any(word in text for word in ("Sites", "patients"))


def test_what_is_known_of_some_images_is_shown(
    make_dataset: Callable[..., ImageDataset], tmp_path: Path
) -> None:
    small = make_dataset(tmp_path / "dataset", groups=2)
    known = [{"site": "<i>Ulm</i>", "patient": 0}, {"patient": 1}, {"patient": 0}, {}]
    images = [replace(r, **u) for r, u in zip(small.manifest.images, known, strict=True)]
    small.manifest = small.manifest.model_copy(update={"images": tuple(images)})
    write_data_report(tmp_path / "report.html", small)
    text = (tmp_path / "report.html").read_text()
    assert "<b>2</b><span>patients; of 1 images the patient is unknown" in text
    assert "&lt;i&gt;Ulm&lt;/i&gt;" in text
    assert "<th>unknown</th>" in text
    assert "<h3>Sequence</h3>" not in text


def test_slices_of_a_volume_are_one_file(
    make_dataset: Callable[..., ImageDataset], tmp_path: Path
) -> None:
    small = make_dataset(tmp_path / "dataset", groups=3)
    first, *_, last = (r.sha256 for r in small.manifest.images)
    volume: dict[str, Any] = {"format": "NIfTI", "sha256": first, "wrong_extension": True}
    known = [volume | {"path": f"scan.gz#{number}"} for number in (1, 2, 3)]
    known += [{"path": name, "sha256": last} for name in ("a#1", "a#2", "a#3")]
    images = [replace(r, **u) for r, u in zip(small.manifest.images, known, strict=True)]
    groups = [replace(r, group=group) for group, r in enumerate(images)]
    small.manifest = small.manifest.model_copy(update={"images": tuple(groups)})
    write_data_report(tmp_path / "report.html", small)
    text = " ".join((tmp_path / "report.html").read_text().split())
    assert "Byte-identical copies of another file: 2." in text
    assert "in another format's extension: 1." in text
    assert "<h2>The largest groups</h2>" not in text  # each has one image


def test_a_picture_is_small(dataset: ImageDataset) -> None:
    uri = picture(dataset.read([0])[0])
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 8_000


def test_of_many_images_a_sample_is_guessed(
    sample: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def scores(dataset: ImageDataset, train: np.ndarray, test: np.ndarray, _: int) -> np.ndarray:
        assert not set(train) & set(test)
        looked_at.extend(test)
        return dataset.labels[test] == 0

    monkeypatch.setattr(report, "metadata_scores", scores)
    monkeypatch.setattr(report, "_IMAGES_GUESSED", 40)
    accuracy = metadata_accuracy(sample, seed=1)
    assert accuracy is not None
    assert accuracy.random_folds.value == accuracy.grouped_folds.value == 1
    assert len(looked_at) == 2 * 40
    assert len(set(looked_at)) == 40
