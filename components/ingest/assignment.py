"""What each file of a source is: its class, patient, site and so on, or why it is left out."""

from collections import Counter
from collections.abc import Iterable, Iterator

from components.ingest.junk import junk
from components.ingest.labels import Labels, Row
from components.ingest.listing import Found, Listed
from components.shared.data.class_folders import (
    IN_NO_CLASS,
    MASKS_BY_NAME,
    ClassNames,
    advice,
    folder_counts,
    telling_folder,
)
from components.shared.data.classes import STRANGER, STRANGERS
from components.shared.errors import UserError
from components.shared.reports.numbers import counted
from components.shared.reports.text import printable

_UNNAMED = "which the labels do not name"
_STRANGER = f"{STRANGERS}, by which models are judged and not trained"
_FOLDERS_KEPT = 1000  # names of folders that are counted apart


class Assignment:
    """Goes through a source's files once, and counts what it leaves out.

    Attributes:
        left_out: How many files are no images of a class, by what they are.
    """

    def __init__(
        self,
        classes: ClassNames,
        labels: Labels | None = None,
        table: str = "",
        *,
        judging: bool = False,
    ) -> None:
        """Takes what is known beforehand.

        Args:
            classes: What folders mean.
            labels: A table beside the images.
            table: Where it lies in the source, if it does.
            judging: Whether a model is to be judged by the images, so that strangers count.
        """
        self.left_out: Counter[str] = Counter()
        self._classes, self._labels, self._table = classes, labels, table
        self._judging = judging
        self._folders: Counter[str] = Counter()  # of files in no class
        self._spreadsheet = ""  # the first CSV file in no class, which may say the classes
        self._unnamed = 0  # of which the table knows no patient
        self._contradicted: list[str] = []  # their folder says another class than the table

    def listed(self, found: Iterable[Found]) -> Iterator[Listed]:
        """Yields what belongs to a class, or may, and what the table names and nothing is.

        Args:
            found: All that the source has.

        Raises:
            UserError: The table does not fit the source.
        """
        example = ""
        for file in found:
            listed, left = None, junk(file.name)
            if file.is_folder and not left:
                listed, left = self._folder(file)
            elif not left and file.name != self._table:
                example = example or file.name
                listed, left = self._file(file)
            if left:
                self.left_out[left] += 1
            elif listed:
                yield listed
        if self._labels:
            yield from self._missing(self._labels, example)

    def advice(self, lacking: int) -> str:
        """Returns what to do where the source has no image of a class."""
        if self._labels and self._labels.says_labels:
            return f"name some in {self._labels.name}"
        told = advice(self._folders, lacking)
        if not self._spreadsheet:
            return told
        name = printable(self._spreadsheet)
        return f'{told}; if {name} says the class of each image, give --labels "{name}"'

    def notes(self) -> list[str]:
        """Returns what people should know of the assignment, a line each, in plain text."""
        notes = []
        if self._folders:
            notes.append(f"folders of no class: {folder_counts(self._folders)}")
        if unused := self._classes.unused():
            named = ", ".join(f"'{printable(name)}'" for name in unused)
            notes.append(f"class_folders: no file and no label has the name {named}")
        if not self._labels:
            return notes
        name = self._labels.name
        if self._unnamed:
            notes.append(
                f"{counted(self._unnamed, 'file')} not named in {name}: the patient is unknown, "
                "except where a DICOM's tags say it"
            )
        if self._labels.without_patient:
            notes.append(
                f"rows of {name} without a known patient: {self._labels.without_patient:,} (the "
                "cell is empty, or a word such as unknown or NA); a split may divide such a "
                "person's images, except where a DICOM's tags say the patient"
            )
        if self._contradicted:
            notes.append(
                f"{counted(len(self._contradicted), 'image')} in a folder of another class than "
                f"{name} says, which counts; the first is {printable(self._contradicted[0])}"
            )
        if moved := self._labels.patients_of_several_sites():
            notes.append(
                f"{counted(moved, 'patient')} with more than one site in {name}; if they are "
                "different people, write the site into the patient, as in Ulm-17"
            )
        return notes

    def _file(self, file: Found) -> tuple[Listed | None, str | None]:
        """Returns a file with what is known of it, or why it is left out."""
        row = self._labels.find(file.name) if self._labels else None
        by_folder = self._classes.of_path(file.name)
        assigned = row.assigned if row and row.assigned else by_folder
        if self._labels and row is None:
            if self._labels.says_labels:
                return None, _UNNAMED
            self._unnamed += by_folder.label is not None
        elif None not in (assigned.label, by_folder.label) and assigned.label != by_folder.label:
            self._contradicted.append(file.name)
        if assigned.label is None:
            if assigned is by_folder and not assigned.chosen and assigned.reason != MASKS_BY_NAME:
                self._count_folder(file.name)
                if not self._spreadsheet and file.name.lower().endswith(".csv"):
                    self._spreadsheet = file.name
            return None, assigned.reason
        if assigned.label == STRANGER and not self._judging:
            return None, _STRANGER
        return _listed(file, assigned.label, row), None

    def _folder(self, folder: Found) -> tuple[Listed | None, str | None]:
        """Returns a folder of which nothing is known; one in no class may hold some."""
        assigned = self._classes.of_path(f"{folder.name}/")
        if assigned.reason not in ("", IN_NO_CLASS):
            return None, assigned.reason
        if assigned.label == STRANGER and not self._judging:
            return None, _STRANGER
        return _listed(folder, assigned.label, None), None

    def _count_folder(self, path: str) -> None:
        folder = telling_folder(path)
        if folder in self._folders or len(self._folders) < _FOLDERS_KEPT:
            self._folders[folder] += 1

    def _missing(self, labels: Labels, example: str) -> Iterator[Listed]:
        """Yields what the table names and the source has not: files that cannot be used."""
        if not labels.fit:
            raise UserError(
                f"labels {labels.name}: none of its {len(labels):,} paths is in the source, such "
                f"as {printable(next(labels.missing()).path)}; the source has "
                f"{printable(example) or 'no files'}"
            )
        for row in labels.missing():
            assigned = row.assigned or self._classes.of_path(row.path)
            if assigned.label is not None and (assigned.label != STRANGER or self._judging):
                problem = f"not in the source, though row {row.number:,} of the labels names it"
                yield _listed(Found(row.path, problem=problem), assigned.label, row)


def _listed(file: Found, label: int | None, row: Row | None) -> Listed:
    known = row[3:] if row else ()
    return Listed(file, printable(file.name), label, *known)
