"""`brain-tumor predict`: files classified by a registered model; a table, JSON, CSV, pictures."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from rich.markup import escape

from components.shared.errors import UserError
from components.shared.images.decode import ImageError
from components.shared.images.slices import MAX_SLICES
from components.shared.model_folder.signing import Trust
from components.shared.registry.reference import version_folder
from components.shared.reports.text import csv_lines, printable
from components.shared.run.progress import track
from components.shared.storage.files import write_atomically, written_atomically
from components.shared.storage.store import on_disk
from pipelines.output import PlainTable, console, errors
from pipelines.progress_bar import progress_shown
from pipelines.quiet import quiet_stderr
from serving.classifier import Classifier, Prediction, find_files, read_file
from serving.explain import explanation

STANDARD_OUTPUT = Path("-")
_FEW = 64  # files that need no progress shown
_COLUMNS = (
    "file",
    "slice",
    "label",
    "probability",
    "outcome",
    "in_distribution",
    "in_distribution_score",
    "threshold",
    "model_version",
    "heatmap",
    "error",
)

Row = dict[str, Any]


class Summary(NamedTuple):
    """What became of all files.

    Attributes:
        answers: How many files got each outcome, or label where the model knows of no outcome.
        failed: How many could not be classified.
    """

    answers: Counter[str]
    failed: int


def answers(
    model: str, files: Sequence[Path], slices: int | None, heatmaps: Path | None
) -> Iterator[Row]:
    """Classifies files, and shows how far it is on standard error.

    Args:
        model: As `version_folder` takes it.
        files: Images, volumes and folders of them.
        slices: That are read of a volume, at most; None for the default.
        heatmaps: Folder that gets a picture of each image or slice: what the model saw, with its
            evidence over it. None draws none.

    Yields:
        For each file its name with the answer, or with the reason why there is none.

    Raises:
        UserError: The model or the folder cannot be used, or there is no file.
    """
    paths = list(find_files(files))
    if not paths:
        raise UserError("no files to classify: give images, or folders that hold some")
    if heatmaps and heatmaps.exists() and not heatmaps.is_dir():
        raise UserError(f"--heatmaps: {heatmaps} is a file; give a folder")
    with version_folder(model) as folder, quiet_stderr():
        classifier = Classifier(folder, trust=Trust.from_environment())
    limit = slices or MAX_SLICES
    rows: Iterator[Row]
    if heatmaps:
        rows = map(partial(_explained, classifier, limit, heatmaps), range(len(paths)), paths)
    else:
        rows = (_row(*each) for each in classifier.classify_files(paths, max_slices=limit))
    if len(paths) <= _FEW:
        yield from rows
        return
    with progress_shown("predict", errors):
        yield from track(rows, len(paths), "files classified")


def _row(path: Path, answer: Prediction | ImageError) -> Row:
    told = {"error": str(answer)} if isinstance(answer, ImageError) else answer.as_json()
    return {"file": str(path)} | told


def _explained(
    classifier: Classifier, max_slices: int, folder: Path, number: int, path: Path
) -> Row:
    """Classifies a file, and writes a picture of each of its slices."""
    read = read_file(path, max_slices)
    if isinstance(read, ImageError):
        return _row(path, read)
    images = np.stack([image.pixels for image in read.images])
    explained = classifier.explain(images)
    numbers = read.numbers if read.of > 1 else None
    row = _row(path, classifier.of_file([answer for answer, _ in explained], numbers))
    shown = row.get("slices") or [row]
    for image, (answer, heat), slice in zip(images, explained, shown, strict=True):
        suffix = f"-slice-{slice['number']}" if "number" in slice else ""
        stem = re.sub(r"[^\w.-]+", "_", path.stem, flags=re.ASCII)[:100]
        file = folder / f"{number + 1:04}-{stem}{suffix}.png"
        with on_disk(file):
            write_atomically(file, explanation(image, answer, heat).overlay)
        slice["heatmap"] = str(file)
    return row


def write_csv(rows: Iterator[Row], path: Path) -> Summary:
    """Writes answers as CSV, one line a file, and below that of a volume one line a slice.

    Args:
        rows: As `answers` yields them. They are not held in memory.
        path: File that is there when all are written; `-` for standard output.

    Raises:
        UserError: The file cannot be written.
    """
    if path == STANDARD_OUTPUT:
        return _written(rows, sys.stdout)
    if path.suffix.lower() != ".csv" or path.is_dir():  # an image, as in `--csv a.png b.png`
        raise UserError(
            f"--csv: {path} is not the name of a CSV file; give one such as answers.csv"
        )
    with on_disk(path), written_atomically(path) as file:
        return _written(rows, file)


def _written(rows: Iterator[Row], file: TextIO) -> Summary:
    file.write(csv_lines([_COLUMNS]))
    found, failed = Counter[str](), 0
    for row in rows:
        slices = [{**slice, "slice": slice["number"]} for slice in row.get("slices", ())]
        lines = [_cells(line) for line in (row, *slices)]
        lines[1:] = [[row["file"], *line[1:]] for line in lines[1:]]
        file.write(csv_lines(lines))
        if "error" in row:
            failed += 1
        else:
            found[row.get("outcome") or row["label"]] += 1
    return Summary(found, failed)


def _cells(row: Row) -> list[object]:
    told = row | {"file": printable(row.get("file", ""))}
    return [told.get(column, "") for column in _COLUMNS]


def show_summary(found: Summary, path: Path, heatmaps: Path | None) -> None:
    """Prints how many files got which answer, what was written and what has no answer."""
    told = ", ".join(f"{count:,} {name}" for name, count in found.answers.most_common())
    answers = f"answers ({told})" if told else "no answer"
    console.print(f"wrote {escape(str(path))}: {answers}", soft_wrap=True)
    if heatmaps and told:
        console.print(f"wrote heat maps to {escape(str(heatmaps))}", soft_wrap=True)
    if found.failed:
        console.print(
            f"[red]{found.failed:,} not classified[/]: the column error of {escape(str(path))} "
            "says why",
            soft_wrap=True,
        )


def show_answers(rows: Sequence[Row]) -> None:
    """Prints answers as a table."""
    table = PlainTable()
    headings = ["file", "answer", "its probability"]
    if any("outcome" in row for row in rows):
        headings.append("outcome")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        file = escape(printable(row["file"]))  # a line break in a name too
        if "error" in row:
            table.add_row(file, f"[red]{escape(row['error'])}[/]", "")
            continue
        table.add_row(file, *_shown(row))
        for slice in row.get("slices", ()):
            table.add_row(f"  slice {slice['number']}", *_shown(slice))
    console.print(table)


def _shown(answer: Row) -> list[str]:
    strange = answer.get("in_distribution") is False
    note = " [yellow](no brain MRI?)[/]" if strange else ""
    cells = [answer["label"] + note, f"{answer['probability']:.1%}"]
    if outcome := answer.get("outcome"):
        cells.append(f"[blue]{outcome}[/]" if outcome == "unsure" else outcome)
    return cells
