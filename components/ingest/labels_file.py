"""Where a table of labels lies: inside the source, on this machine's disk, or in a store."""

import hashlib
import posixpath
from collections.abc import Callable
from pathlib import Path

from components.ingest.labels import MAX_BYTES
from components.shared.errors import UserError
from components.shared.storage import open_store, read_location
from components.shared.storage.files import open_regular

_DIGEST = "#sha256="  # after the place: only this content is meant


def is_inside(place: str) -> bool:
    """Returns whether a table lies in the source: its place is a path that is not absolute."""
    return "://" not in place and not place.startswith(("/", "~", "file:"))


def read_table(
    given: str, inside: Callable[[str, int], bytes], source: str = ""
) -> tuple[str, bytes]:
    """Reads the bytes of a table.

    Args:
        given: A path inside the source, such as `data/labels.csv`; an absolute path; `s3://` or
            `gs://`. With `#sha256=DIGEST` behind it, a table that has changed is refused.
        inside: Reads a file of the source, of at most so many bytes, or raises.
        source: Its address, for error messages.

    Returns:
        The place without the digest, and the content.

    Raises:
        UserError: There is no such table, it is too large or it has changed.
    """
    place, _, digest = given.partition(_DIGEST)
    try:
        content = _read(place, inside)
    except UserError as error:  # of a store
        raise UserError(f"labels {place}: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        where = f"in the source {source}" if is_inside(place) else "from where this step runs"
        raise UserError(
            f"labels {place}: cannot be read {where}: {reason}; give a path inside the source, an "
            "absolute path, s3:// or gs://"
        ) from error
    if len(content) > MAX_BYTES:
        raise UserError(f"labels {place}: has more than {MAX_BYTES:,} bytes")
    if digest and hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"labels {place}: has changed since the run was started; start it again")
    return place, content


def pinned(given: str) -> str:
    """Returns a table as a run on this machine names it, so that a change of it is noticed.

    Args:
        given: As for `read_table`; or a relative path, which is that of a file here if there is
            one, and else lies inside the source.

    Returns:
        The place; of a table outside of the source with its digest.

    Raises:
        UserError: As for `read_table`.
    """
    if not given or _DIGEST in given:
        return given
    if is_inside(given):
        if not Path(given).is_file():
            return given
        given = str(Path(given).absolute())
    place, content = read_table(given, _nothing_inside)
    return f"{place}{_DIGEST}{hashlib.sha256(content).hexdigest()}"


def plain_name(place: str) -> str:
    """Returns a path inside a source without `./`; raises ValueError where it leads out."""
    name = posixpath.normpath(place.replace("\\", "/"))
    if name.startswith("../") or name in ("..", "."):
        raise ValueError("it leads out of the source")
    return name


def _read(place: str, inside: Callable[[str, int], bytes]) -> bytes:
    if is_inside(place):
        return inside(plain_name(place), MAX_BYTES + 1)
    location = read_location(place)
    if location.in_store:
        folder, _, name = str(location).rpartition("/")
        return open_store(folder, "labels").read(name, MAX_BYTES)
    if location.scheme != "file":
        raise ValueError(f"{location.scheme}:// has no files that can be read one by one")
    return read_file(Path(location.place), MAX_BYTES + 1)


def read_file(path: Path, max_bytes: int) -> bytes:
    """Returns up to so many bytes of a regular file; raises OSError where it is another thing."""
    with open(path, "rb", opener=open_regular) as file:
        return file.read(max_bytes)


def _nothing_inside(_: str, __: int) -> bytes:
    raise ValueError("there is no source")
