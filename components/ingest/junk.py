"""What systems leave between the files of people."""

import re
from functools import lru_cache

# Of Windows, macOS, Synology, QNAP, Linux. Names that begin with a dot besides.
_JUNK = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    "dicomdir",  # the list of the files on a clinic's disc
    *("__macosx", "icon\r", "@eadir", "#recycle", "@recycle", "#snapshot", "lost+found"),
}
_FOLDERS_KEPT = 1024  # of the answers for a folder, since files come folder by folder
_ZONE = "zone.identifier"  # from which site Windows has a file


def junk(path: str) -> str | None:
    """Returns the part of a path that no person made, as a system names it, or None."""
    at = max(path.rfind("/"), path.rfind("\\"))
    return _folder(path[: max(at, 0)]) or _part(path[at + 1 :])


@lru_cache(maxsize=_FOLDERS_KEPT)
def _folder(folder: str) -> str | None:
    return next(filter(None, map(_part, re.split(r"[/\\]+", folder))), None)


def _part(part: str) -> str | None:
    name = part.lower()
    if name in _JUNK:
        return part
    if name.endswith((_ZONE, f"{_ZONE}:$data")):
        return "Zone.Identifier"
    if name.startswith("._"):
        return "._* (macOS)"
    if name.startswith(".") and name not in (".", ".."):
        return "hidden (begins with a dot)"
    return None
