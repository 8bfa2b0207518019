"""Which class a folder or a label means: the two names that are known, and those a run gives.

A class folder lies at any depth, and the nearest counts. Case, spaces, dashes and underscores do
not matter: `brain_tumor`, `Brain Tumor` and `Brain-Tumour` are one name.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from components.shared.data.classes import CLASSES, HEALTHY, STRANGER, STRANGERS, TUMOR
from components.shared.errors import UserError
from components.shared.reports.numbers import counted
from components.shared.reports.text import printable

NO_CLASS = "none"  # what a folder or label is given that is to be left out
IN_NO_CLASS = "in no class folder"
MASKS_BY_NAME = "masks, by their names"

_KNOWN = {"brain tumor": TUMOR, "brain tumour": TUMOR, "healthy": HEALTHY}
_KNOWN |= {STRANGERS.lower(): STRANGER}
# Names that other datasets give their classes. They decide nothing by themselves: `no` may mean
# much. But below a folder of the other class they say that something is wrong, and where a class
# is missing they make the advice to the user.
_FINDING = r"(tumou?rs?|cancers?|lesions?|pituitary|menin|\w+omas?)"
_USUAL = {
    TUMOR: re.compile(rf"yes|positive|abnormal|lgg|hgg|gbm|{_FINDING}( tumou?rs?| cancers?)?"),
    HEALTHY: re.compile(
        r"no|normals?|healthy|negative|controls?"
        rf"|(no|non|not|without)( a)? ?{_FINDING}( {_FINDING})?|{_FINDING} (free|negative)"
    ),
}
_SAYS_NOTHING = {
    "brain",
    "brains",
    "mri",
    "mr",
    "image",
    "images",
    "scan",
    "scans",
    "case",
    "cases",
}
_SAYS_NOTHING |= {"class", "patient", "patients", "t1", "t1c+", "t2", "flair"}
_NO_SCANS = {
    *("mask", "masks", "label", "labels", "seg", "segmentation", "segmentations"),
    *("annotation", "annotations", "ground truth", "groundtruth", "gt", "roi", "rois"),
}
_MASK = re.compile(
    r"(^|[ _-])(masks?|seg|segmentation|gt|roi)([ _-]?\d+)?(\.[a-z]+){1,2}$|^masks?[ _-]", re.I
)
_MAX_LENGTH = 4096  # characters of what a run gives
_FOLDERS_NAMED = 10


class Assigned(NamedTuple):
    """What a path says of the class of its file.

    Attributes:
        label: Class index, or that of strangers; None for none.
        reason: Why there is none, fit to count files by; empty where there is one.
        chosen: Whether the run says that there is none.
    """

    label: int | None
    reason: str = ""
    chosen: bool = False


class ClassNames:
    """What folders and labels mean in a run."""

    def __init__(self, given: str = "") -> None:
        """Reads what a run gives.

        Args:
            given: Such as `yes=Brain Tumor,no=Healthy,pred=none`. A name may be a path, as in
                `Training/glioma=Brain Tumor`. The classes' own names need not be given.

        Raises:
            UserError: An entry that cannot be read, or one name with two classes.
        """
        self._class_of: dict[tuple[str, ...], int | None] = {
            (name,): label for name, label in _KNOWN.items()
        }
        self.given = _entries(given)
        self._class_of |= self.given
        self._used: set[tuple[str, ...]] = set()
        self._longest = max(map(len, self._class_of))
        self.of_label = lru_cache(1024)(self._of_label)
        self._in_folder = lru_cache(1024)(self._assign)  # files of a folder come together

    def _of_label(self, label: str) -> Assigned | None:
        """Returns what a label in a table means, or None where nobody has said so."""
        key = _key(label)
        if key not in self._class_of:
            return None
        self._used.add(key)
        return _assigned(self._class_of[key], label)

    def of_path(self, path: str) -> Assigned:
        r"""Returns what the nearest class folder above a file says.

        Windows' separator counts too, as in `Healthy\a.png`. What lies deeper in a folder of masks
        or in one that is usually of the other class, such as `Brain Tumor/notumor`, is in no class.

        Args:
            path: Inside the source. The last part is the file's name.
        """
        at = max(path.rfind("/"), path.rfind("\\"))
        name = path[at + 1 :]
        found = self._in_folder(path[: max(at, 0)])
        if found.label is not None and _MASK.search(name):
            return Assigned(None, MASKS_BY_NAME)
        return found

    def unused(self) -> list[str]:
        """Returns the names that the run gave and nothing had so far."""
        return ["/".join(name) for name in self.given if name not in self._used]

    def _assign(self, folder: str) -> Assigned:
        folders = path_parts(folder)
        names = [_normal(part) for part in folders]
        doubtful = ""  # the nearest folder that is usually something else
        for end in range(len(names), 0, -1):
            for start in range(max(0, end - self._longest), end):  # the most exact first
                key = tuple(names[start:end])
                if key in self._class_of:
                    self._used.add(key)
                    label = self._class_of[key]
                    if label in _USUAL and doubtful and _usual(doubtful) != label:
                        return Assigned(None, _contradiction(doubtful, label))
                    return _assigned(label, "/".join(folders[start:end]))
            if not doubtful and _tells(names[end - 1]):
                doubtful = names[end - 1]
        return Assigned(None, IN_NO_CLASS)


def advice(folders: Mapping[str, int], lacking: int) -> str:
    """Returns what to do where a class is missing.

    Args:
        folders: Files in no class folder, counted by `telling_folder`.
        lacking: The class.

    Returns:
        The folders that were found, and what to give for them.
    """
    names = "image folders named " + " and ".join(CLASSES)
    if not folders:
        return f"give a source with {names}"
    usual = {name: _usual(_normal(name)) for name in folders if not re.search("[,=]", name)}
    option = ",".join(
        f"{printable(name)}={CLASSES[label]}"
        for name, label in sorted(usual.items(), key=lambda item: (str(item[1]), item[0]))
        if label is not None
    )
    if lacking not in usual.values():
        option = ",".join(f"FOLDER={name}" for name in CLASSES)
    return (
        f"found folders: {folder_counts(folders)}; say what they are with --class-folders "
        f'"{option}", or give a source with {names}'
    )


def likely_class(name: str) -> str:
    """Returns the class that other datasets mean by a name; the first where none is usual."""
    return CLASSES[_usual(_normal(name)) or TUMOR]


def telling_folder(path: str) -> str:
    """Returns the folder above a file that may be named after a class, else the nearest."""
    folders = path_parts(path)[:-1]
    for folder in reversed(folders):
        if _tells(_normal(folder)):
            return folder
    return folders[-1] if folders else "the top folder"


def path_parts(path: str) -> list[str]:
    """Returns the parts of a path, whichever system wrote it."""
    return re.split(r"[/\\]+", path)


def folder_counts(folders: Mapping[str, int]) -> str:
    """Returns folders with their numbers of files in words, the largest first."""
    ranked = sorted(folders.items(), key=lambda folder: (-folder[1], folder[0]))
    shown = [
        f"{printable(name)[:60]} ({counted(files, 'file')})"
        for name, files in ranked[:_FOLDERS_NAMED]
    ]
    if len(ranked) > _FOLDERS_NAMED:
        shown.append(f"{len(ranked) - _FOLDERS_NAMED:,} more")
    return ", ".join(shown)


def _entries(given: str) -> dict[tuple[str, ...], int | None]:
    """Returns the class of each name in what a run gives."""
    found: dict[tuple[str, ...], int | None] = {}
    if len(given) > _MAX_LENGTH:
        raise UserError(f"class_folders: {len(given):,} characters, at most {_MAX_LENGTH:,}")
    for entry in given.split(",") if given.strip() else []:
        name, equals, class_name = entry.rpartition("=")
        key, label = _key(name), _class(class_name)
        if not equals or not any(key) or label == "":
            raise UserError(
                f"class_folders: '{printable(entry)}' cannot be read; write FOLDER=CLASS with "
                "commas between, as in yes=Brain Tumor,no=Healthy, where a class is "
                f"{', '.join((*CLASSES, STRANGERS))} or {NO_CLASS}"
            )
        if found.setdefault(key, label) != label:  # type: ignore[arg-type]  # no str by now
            raise UserError(f"class_folders: '{printable(name)}' has two classes; give it one")
    return found


def _class(name: str) -> int | str | None:
    """Returns a class by its name, None for none, and an empty text where there is no such."""
    normal = _normal(name)
    return None if normal == NO_CLASS else _KNOWN.get(normal, "")


def _key(name: str) -> tuple[str, ...]:
    return tuple(_normal(part) for part in path_parts(name.strip().strip("/\\")))


def _normal(part: str) -> str:
    composed = unicodedata.normalize("NFC", part)  # which macOS does not write
    return re.sub(r"[\s_-]+", " ", composed).strip().lower()


def _tells(normal: str) -> bool:
    """Returns whether a name is usual for a class, or for what is no scan."""
    return _usual(normal) is not None or not _NO_SCANS.isdisjoint((normal, *normal.split(" ")))


def _usual(normal: str) -> int | None:
    """Returns the class that folders of such a name usually are of."""
    telling = " ".join(word for word in normal.split(" ") if word not in _SAYS_NOTHING)
    return next((label for label, name in _USUAL.items() if name.fullmatch(telling)), None)


def _assigned(label: int | None, name: str) -> Assigned:
    if label is None:
        return Assigned(
            None, f"which class_folders leaves out: {printable(name)[:60]}", chosen=True
        )
    return Assigned(label)


def _contradiction(name: str, label: int) -> str:
    usual = _usual(name)
    option = f"{name}={CLASSES[label if usual is None else usual]}"
    return f"below {CLASSES[label]} in {name!r}; if they count, give --class-folders {option!r}"
