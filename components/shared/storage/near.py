"""A path that is there and written like one that is not, for the end of an error message."""

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

from components.shared.errors import did_you_mean

_LOOKED_AT = 1000  # entries of a folder


def path_near(missing: str | Path, usable: Callable[[Path], bool] = Path.exists) -> str:
    """Returns `; did you mean 'runs/registry'?` where such a path is there, else nothing.

    Args:
        missing: A path of this machine, each part of which may be misspelt; a bucket's address has
            no near ones.
        usable: Whether a path is what was looked for.
    """
    if "://" in str(missing):
        return ""
    whole = Path(missing)
    found = Path(whole.anchor)
    parts = whole.relative_to(whole.anchor).parts
    with contextlib.suppress(OSError):
        for number, part in enumerate(parts, 1):
            fits = usable if number == len(parts) else Path.is_dir
            if not fits(found / part):
                if part.isdecimal():  # a version that is missing is not another one, misspelt
                    return ""
                beside = itertools.islice(found.iterdir(), _LOOKED_AT)
                names = [one.name for one in beside if one.name != part and fits(one)]
                meant = did_you_mean(part, names)
                part = next((name for name in names if meant == f"did you mean '{name}'?"), "")
                if not part:
                    return ""
            found /= part
        here = os.path.relpath(found) if found.is_relative_to(Path.cwd()) else found
        return "" if found == whole else f"; did you mean '{here}'?"
    return ""
