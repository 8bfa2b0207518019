"""How answers are printed and written; what answers is in tests/serving."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.shared.images.decode import ImageError
from components.shared.images.slices import Slices
from pipelines import predict
from serving.classifier import Prediction

Invoke = Callable[..., tuple[int, str, str]]


def _answer(healthy: float, outcome: str | None = None) -> Prediction:
    label = "Healthy" if healthy > 0.5 else "Brain Tumor"
    return Prediction(
        label=label,
        probability=max(healthy, 1 - healthy),
        probabilities={"Brain Tumor": 1 - healthy, "Healthy": healthy},
        threshold=0.5,
        model_version=3,
        outcome=outcome or label,
    )


class _Classifier:
    """Answers by a file's mean grey; a file's bytes are its grey levels, one a slice."""

    def __init__(self, *_: object, **__: object) -> None:
        """Takes what a classifier takes."""

    def explain(self, images: np.ndarray) -> list[tuple[Prediction, np.ndarray]]:
        heat = np.full((2, 2), 0.5, np.float32)
        return [(_answer(image.mean() / 255), heat) for image in images]

    def of_file(self, answers: list[Prediction], numbers: list[int] | None) -> Prediction:
        if numbers is None:
            return answers[0]
        whole = _answer(0.2, "unsure")
        object.__setattr__(whole, "slices", tuple(zip(numbers, answers, strict=True)))
        return whole

    def classify_files(self, paths: list[Path], max_slices: int) -> Iterator[tuple[Path, object]]:
        for path in paths:
            read = _read(path, max_slices)
            if isinstance(read, ImageError):
                yield path, read
                continue
            answers = [a for a, _ in self.explain(np.stack([i.pixels for i in read.images]))]
            yield path, self.of_file(answers, read.numbers if read.of > 1 else None)


def _read(path: Path, max_slices: int) -> Slices | ImageError:
    if not path.exists():
        return ImageError("unreadable", "No such file or directory")
    greys = path.read_bytes()[:max_slices]
    images = tuple(_Image(np.full((150, 150, 3), grey, np.uint8)) for grey in greys)
    return Slices(images, tuple(range(11, 11 + len(greys))), len(greys))  # type: ignore[arg-type]


class _Image:
    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels


@pytest.fixture(autouse=True)
def a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def version_folder(_: str) -> Iterator[Path]:
        yield tmp_path

    monkeypatch.setattr(predict, "Classifier", _Classifier)
    monkeypatch.setattr(predict, "version_folder", version_folder)
    monkeypatch.setattr(predict, "read_file", _read)
    monkeypatch.chdir(tmp_path)
    Path("scans/a").mkdir(parents=True)
    Path("scans/=1+1.png").write_bytes(b"\x10")
    Path("scans/a/volume.nii").write_bytes(b"\x20\xf0")


FILES = ["scans", "missing.png"]
OF_CSV = [
    ("scans/=1+1.png", "", "Brain Tumor", "Brain Tumor", ""),
    ("scans/a/volume.nii", "", "Brain Tumor", "unsure", ""),
    ("scans/a/volume.nii", "11", "Brain Tumor", "Brain Tumor", ""),
    ("scans/a/volume.nii", "12", "Healthy", "Healthy", ""),
    ("missing.png", "", "", "", "unreadable: No such file or directory"),
]


def _of_csv(text: str) -> list[tuple[str, ...]]:
    return [
        tuple(row[name] for name in ("file", "slice", "label", "outcome", "error"))
        for row in csv.DictReader(io.StringIO(text))
    ]


def test_answers_as_csv_to_a_file(invoke: Invoke) -> None:
    status, out, err = invoke("predict", "model", *FILES, "--csv", "out/answers.csv")
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "wrote out/answers.csv: answers (1 Brain Tumor, 1 unsure)",
        "1 not classified: the column error of out/answers.csv says why",
    ]
    assert _of_csv(Path("out/answers.csv").read_text()) == OF_CSV
    assert [path.name for path in Path("out").iterdir()] == ["answers.csv"]


def test_answers_as_csv_to_a_pipe_are_no_formulas(invoke: Invoke) -> None:
    Path("=1+1.png").write_bytes(b"\x10")
    status, out, err = invoke("predict", "model", "=1+1.png", "--csv", "-")
    assert (status, err) == (0, "")
    assert _of_csv(out)[0][0] == "'=1+1.png"


def test_heat_maps(invoke: Invoke) -> None:
    status, out, _ = invoke("predict", "model", *FILES, "--heatmaps", "maps", "-f", "json")
    assert status == 1
    scan, volume, missing = json.loads(out)
    written = [scan["heatmap"], *(slice["heatmap"] for slice in volume["slices"])]
    assert written == [
        "maps/0001-_1_1.png",
        "maps/0002-volume-slice-11.png",
        "maps/0002-volume-slice-12.png",
    ]
    assert sorted(map(str, Path("maps").iterdir())) == written
    assert "heatmap" not in missing
    with Image.open(written[0]) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (150, 150, 3)
    assert pixels[0, 0].tolist() != [16, 16, 16], "the evidence is over it"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ["--csv", "scans/a.png"],
            "--csv: scans/a.png is not the name of a CSV file; give one such as",
        ),
        (["--csv", "scans"], "--csv: scans is not the name of a CSV file"),
        (["--csv", "a.csv", "-f", "json"], "--csv and --format json: give one of the two"),
        (
            ["--csv", "scans/=1+1.png/a.csv"],
            "scans/=1+1.png/a.csv: a file is where a folder",
        ),
        (["--heatmaps", "scans/=1+1.png"], "--heatmaps: scans/=1+1.png is a file; give a"),
    ],
)
def test_what_cannot_be_written(told: Callable[..., str], options: list[str], reason: str) -> None:
    assert told("predict", "model", "scans", *options).startswith(reason)
    assert Path("scans/=1+1.png").read_bytes() == b"\x10"


def test_no_folder_is_made_for_heat_maps_that_there_are_none_of(invoke: Invoke) -> None:
    status, out, _ = invoke("predict", "model", FILES[-1], "--csv", "a.csv", "--heatmaps", "maps")
    assert status == 1
    assert out.startswith("wrote a.csv: no answer\n1 not classified: ")
    assert not Path("maps").exists()


@pytest.mark.parametrize("options", [[], ["--csv", "a.csv"], ["-f", "json"]])
def test_nothing_to_classify(told: Callable[..., str], options: list[str]) -> None:
    Path("empty").mkdir()
    assert told("predict", "model", "empty", *options).startswith("no files to classify")
    assert not Path("a.csv").exists()


def test_many_files_show_how_far_it_is_beside_the_answers(invoke: Invoke) -> None:
    for number in range(100):
        Path(f"scans/{number}.png").write_bytes(b"\x10")
    status, out, err = invoke("predict", "model", "scans", "-f", "json")
    assert status == 0
    assert len(json.loads(out)) == 102
    assert err.splitlines()[-1].startswith("102 of 102 files classified (")
