"""A table beside the images: which class, patient, site, sequence, type and plane each is of.

It is CSV in UTF-8 with a header, and comma, semicolon or tab between the cells. Its columns are
`path` and any of `label`, `patient`, `site`, `sequence`, `type` and `plane`; others are not read. A
table with the column `label` says which images are used and of which class they are, whatever
folders they lie in.
"""

import csv
import hashlib
import io
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from components.shared.data.class_folders import Assigned, ClassNames, likely_class, path_parts
from components.shared.data.classes import CLASSES, STRANGERS
from components.shared.data.dataset import KINDS, MAX_NAME
from components.shared.errors import UserError, one_line
from components.shared.placeholders import is_placeholder
from components.shared.reports.numbers import counted
from components.shared.reports.text import printable

MAX_BYTES = 256 * 2**20  # two million rows of usual length
MAX_ROWS = 2_000_000
MAX_ROW = 2**16  # characters
MAX_DEPTH = 32  # folders of a path, and its name

COLUMNS = ("path", "label", "patient", *KINDS)
_MAX_CHARACTERS = {"path": 4096, "label": 256, "patient": 256} | dict.fromkeys(KINDS, MAX_NAME)
_SEPARATORS = ",;\t"


class Row(NamedTuple):
    """What a table says of one image.

    Attributes:
        number: As a spreadsheet counts; the header is row 1.
        path: With forward slashes and without `./`.
        assigned: The class, or why there is none; None where the table has no labels.
        patient: None where unknown: the cell is empty, or a word such as `unknown` or `NA`. So
            are an empty site, sequence, type and plane.
        site: See there.
        sequence: See there.
        type: See there.
        plane: See there.
    """

    number: int
    path: str
    assigned: Assigned | None
    patient: str | None
    site: str | None
    sequence: str | None
    type: str | None
    plane: str | None


class Labels:
    """A table that was read and checked, and which of its rows files were found for.

    Attributes:
        name: For messages.
        digest: SHA-256 of the table.
        says_labels: Whether it has the column `label`.
        without_patient: Rows of which no patient is known, if it has the column `patient`.
    """

    def __init__(self, name: str, content: bytes, classes: ClassNames) -> None:
        """Reads a table.

        Args:
            name: Of the file, for messages.
            content: At most `MAX_BYTES`.
            classes: What the labels mean.

        Raises:
            UserError: Names the first row that cannot be used, and what to do.
        """
        self.name = name
        self.digest = hashlib.sha256(content).hexdigest()
        self._rows: dict[str, Row] = {}
        self._file_of: dict[str, str] = {}  # by a row's path: the file that it names
        records = _records(name, content)
        header = _Header(name, next(records, (1, []))[1])
        self.says_labels = "label" in header.places
        self.without_patient = 0
        for number, cells in records:
            try:
                self._add(number, header.named(cells), classes)
            except ValueError as error:
                raise UserError(f"labels {name}, row {number:,}: {error}") from error
        if not self._rows:
            raise UserError(f"labels {name}: names no image; give a row for each")

    def __len__(self) -> int:
        """Returns how many images the table names."""
        return len(self._rows)

    def find(self, path: str) -> Row | None:
        """Returns the row of a file, or None where the table does not name it.

        A row names the file whose path ends with its own: `a.png` names `scans/a.png` if that is
        the only `a.png`. If several rows fit, the longest path counts.

        Args:
            path: Inside the source, as the source has it.

        Raises:
            UserError: The row names another file too.
        """
        file = _plain(path)
        parts = file.split("/")[-MAX_DEPTH:]
        for start in range(len(parts)):
            row = self._rows.get("/".join(parts[start:]))
            if row is None:
                continue
            same = row.path if row.path == file else file  # memory for each path once
            other = self._file_of.setdefault(row.path, same)
            if other != file:
                raise UserError(
                    f"labels {self.name}, row {row.number:,}: '{printable(row.path)}' fits two "
                    f"files, {printable(other)} and {printable(path)}; give each a row with its "
                    "whole path"
                )
            return row
        return None

    @property
    def fit(self) -> bool:
        """Whether a file was found for any row."""
        return bool(self._file_of)

    def missing(self) -> Iterator[Row]:
        """Yields the rows that no file was found for."""
        return (row for path, row in self._rows.items() if path not in self._file_of)

    def patients_of_several_sites(self) -> int:
        """Returns how many patients the table has at more than one site."""
        sites: dict[str, str] = {}
        moved = set()
        for row in self._rows.values():
            if row.patient and row.site and sites.setdefault(row.patient, row.site) != row.site:
                moved.add(row.patient)
        return len(moved)

    def _add(self, number: int, cells: Mapping[str, str], classes: ClassNames) -> None:
        path = _table_path(cells["path"])
        if path in self._rows:
            raise ValueError(
                f"'{printable(path)}' is in row {self._rows[path].number:,} too; remove one of them"
            )
        assigned = _assigned(cells["label"], classes) if self.says_labels else None
        if is_placeholder(cells.get("patient", "known")):
            self.without_patient += 1
            cells = {**cells, "patient": ""}
        shared = [sys.intern(cells[name]) if cells.get(name) else None for name in COLUMNS[2:]]
        self._rows[path] = Row(number, path, assigned, *shared)


def _records(name: str, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yields the records that hold something, with their numbers from 1."""
    _check_encoding(name, content)
    number = 0
    try:
        lines = _Lines(content)
        reader = csv.reader(lines, delimiter=_separator(content), strict=True)
        for number, cells in enumerate(reader, start=1):
            if number > MAX_ROWS:
                raise UserError(f"labels {name}: has more than {MAX_ROWS:,} rows")
            if any(cell.strip() for cell in cells):
                yield number, [cell.strip() for cell in cells]
            lines.left = MAX_ROW
    except csv.Error as error:
        raise UserError(
            f"labels {name}, row {number + 1:,}: {one_line(error)}; put text that holds the "
            'separator, a line break or " between double quotes, and write "" for "'
        ) from error


class _Lines(Iterator[str]):
    """The lines of a table, as long as its rows stay short.

    Attributes:
        left: Characters that the present row may still have.
    """

    def __init__(self, content: bytes) -> None:
        self._text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
        self.left = MAX_ROW

    def __next__(self) -> str:
        """Returns the next line; raises csv.Error where the row is too long."""
        line = self._text.readline(self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            raise csv.Error(f"it has more than {MAX_ROW:,} characters")
        if not line:
            raise StopIteration
        return line


def _check_encoding(name: str, content: bytes) -> None:
    encoding = ""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "UTF-16"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        encoding = encoding or f"no UTF-8 (byte {content[error.start]:#04x} in line {line:,})"
    if encoding:
        raise UserError(f"labels {name}: is {encoding}; save it as UTF-8 ('CSV UTF-8' in Excel)")


def _separator(content: bytes) -> str:
    """Returns what stands between the cells: that with which the first row has the column path."""
    for separator in _SEPARATORS:
        first = next(csv.reader(_Lines(content), delimiter=separator), [])
        if "path" in (cell.strip().lower() for cell in first):
            return separator
    return _SEPARATORS[0]


class _Header:
    """The first row.

    Attributes:
        places: Where each column that is known stands.
    """

    def __init__(self, name: str, cells: list[str]) -> None:
        """Reads it; raises UserError where it says too little."""
        columns = [cell.lower() for cell in cells]
        known = [column for column in columns if column in COLUMNS]
        if "path" not in known or len(known) < 2:
            # Nothing of the row is shown: where it is no header, it may name a patient.
            raise UserError(
                f"labels {name}: the first row has to name the columns path and label, or path "
                f"and one of {', '.join(COLUMNS[2:])}, with comma, semicolon or tab between them; "
                f"known of its {counted(len(cells), 'cell')}: {', '.join(known) or 'none'}"
            )
        if len(set(known)) < len(known):
            raise UserError(
                f"labels {name}: the first row names a column twice; remove one of them"
            )
        self.places = {column: columns.index(column) for column in known}
        self._count = len(cells)
        unread = [printable(c)[:40] for c in cells if c and c.lower() not in COLUMNS]
        if unread:
            print(f"labels {name}: columns that are not read: {', '.join(unread[:10])}", flush=True)

    def named(self, cells: list[str]) -> dict[str, str]:
        """Returns a row's cells by column, bounded; raises ValueError where it does not fit."""
        if any(cells[self._count :]):
            raise ValueError(
                f"has {len(cells)} cells, the first row has {self._count}; put text that holds the "
                "separator between double quotes"
            )
        named = {
            column: cells[place] if place < len(cells) else ""
            for column, place in self.places.items()
        }
        for column in KINDS:
            if column in named:
                named[column] = printable(" ".join(named[column].split()))
        for column, text in named.items():
            if len(text) > (limit := _MAX_CHARACTERS[column]):
                raise ValueError(
                    f"the {column} has {len(text):,} characters, at most {limit:,} are allowed"
                )
        return named


def _table_path(path: str) -> str:
    """Returns a table's path in the form of `_plain`; ValueError: it cannot lie in a source."""
    plain = _plain(path)
    if re.match(r"[/\\]|[A-Za-z]:|[A-Za-z0-9+.-]+://", path):
        fault = "is absolute"
    elif ".." in path_parts(path):
        fault = "holds '..'"
    elif not plain:
        fault = "is empty"
    elif plain.count("/") >= MAX_DEPTH:
        fault = f"has more than {MAX_DEPTH - 1} folders"
    else:
        return plain
    raise ValueError(
        f"the path '{printable(path)[:200]}' {fault}; give it from the top of the source, such as "
        "scans/a.png"
    )


def _plain(path: str) -> str:
    """Returns a path with forward slashes and without `./`, composed as most systems do."""
    parts = (part for part in path_parts(path) if part not in ("", "."))
    return unicodedata.normalize("NFC", "/".join(parts))


def _assigned(label: str, classes: ClassNames) -> Assigned:
    """Returns what a label means; raises ValueError where nobody has said so."""
    found = classes.of_label(label)
    if found is None:
        said = f"the label '{printable(label)[:60]}' is not known" if label else "has no label"
        example = printable(label)[:60] if label and not re.search("[,=]", label) else "glioma"
        raise ValueError(
            f"{said}; labels are {', '.join((*CLASSES, STRANGERS))}, and what --class-folders says "
            f'of others, such as "{example}={likely_class(example)}", or "{example}=none" to leave '
            "these images out"
        )
    return found
