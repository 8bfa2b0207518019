"""The split report: what each part holds, and how much of it training has seen."""

import re
from dataclasses import replace
from pathlib import Path

from components.shared.data.dataset import ImageDataset, Split
from components.split.report import write_folds_report, write_split_report


def rows(path: Path) -> dict[str, list[str]]:
    """The cells of the report's table by part."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", path.read_text(), re.DOTALL)[1:]:
        name, *cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        found[name] = cells
    return found


def test_grouped(dataset: ImageDataset, split: Split, tmp_path: Path) -> None:
    write_split_report(tmp_path / "report.html", dataset, split)
    found = rows(tmp_path / "report.html")
    assert found["train"] == ["36", "60.0%", "18", "18", "50.0%", "18", "36 (100.0%)"]
    assert found["validation"] == ["12", "20.0%", "6", "6", "50.0%", "6", "0 (0.0%)"]
    assert found["held out"] == ["12", "20.0%", "6", "6", "50.0%", "6", "0 (0.0%)"]
    text = (tmp_path / "report.html").read_text()
    assert "Near-duplicates stay together" in text
    assert "memory, not skill" not in text


def test_by_name_says_what_it_is(dataset: ImageDataset, by_name: Split, tmp_path: Path) -> None:
    write_split_report(tmp_path / "report.html", dataset, by_name)
    found = rows(tmp_path / "report.html")
    assert found["validation"] == found["held out"]
    assert found["held out"][-1] == "12 (100.0%)"
    assert "memory, not skill" in (tmp_path / "report.html").read_text()


def test_self_contained(dataset: ImageDataset, split: Split, tmp_path: Path) -> None:
    write_split_report(tmp_path / "report.html", dataset, split)
    assert not re.search(r"(src|href)=|https?://|<script", (tmp_path / "report.html").read_text())


def test_patients_are_told_where_they_are_known(
    dataset: ImageDataset, split: Split, tmp_path: Path
) -> None:
    known = ImageDataset(dataset.folder)
    images = [replace(r, patient=r.group % 7) for r in dataset.manifest.images]
    known.manifest = dataset.manifest.model_copy(update={"images": tuple(images)})
    write_split_report(tmp_path / "report.html", known, split)
    write_folds_report(tmp_path / "folds.html", known, [split])
    assert "7 patients are known" in (tmp_path / "report.html").read_text()
    assert "near-duplicates and all images of its patient" in (tmp_path / "folds.html").read_text()
    write_folds_report(tmp_path / "folds.html", dataset, [split])
    assert "patient" not in (tmp_path / "folds.html").read_text()


def test_contradicted_images_are_counted(
    dataset: ImageDataset, split: Split, tmp_path: Path
) -> None:
    assert "contradicted" not in written(tmp_path, dataset, split)
    known = ImageDataset(dataset.folder)
    both = (split.train[0], split.held_out[0], split.held_out[1])
    known.manifest = dataset.manifest.model_copy(update={"contradicted": both})
    text = written(tmp_path, known, split)
    assert "image. 3 images are contradicted" in text
    assert "1 of them is in a train" in text
    without = split.model_copy(update={"train": split.train[1:]})
    assert "None of them is in a train" in written(tmp_path, known, without)


def written(folder: Path, dataset: ImageDataset, split: Split) -> str:
    write_split_report(folder / "report.html", dataset, split)
    return (folder / "report.html").read_text()


def test_a_fold_names_the_source_that_it_holds_out(
    dataset: ImageDataset, split: Split, tmp_path: Path
) -> None:
    # Groups have two images; of four groups the second is of another source.
    folds = [
        split.model_copy(update={"source": "a <scanner>", "held_out": split.held_out[:-8]}),
        split.model_copy(update={"source": "b", "held_out": split.held_out[-8::2]}),
    ]
    write_folds_report(tmp_path / "folds.html", dataset, folds)
    text = (tmp_path / "folds.html").read_text()
    assert "Each fold holds out one whole source" in text
    assert re.findall(r"<td>(.+?)</td><td class=\"number\">(\d+)</td></tr>", text) == [
        ("a &lt;scanner&gt;", "0"),
        ("b", "4"),
    ]
