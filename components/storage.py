"""Where a URI leads."""

import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from components.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


def local_folder(uri: str, what: str) -> Path:
    """Returns the local folder that a URI names; it need not exist.

    Args:
        uri: A path, relative or absolute, with or without `~`; or `file:///absolute/path`.
        what: What the folder is, for the error message.

    Returns:
        An absolute path.

    Raises:
        UserError: The URI is empty, malformed, or of a scheme that is not supported.
    """
    scheme = _SCHEME.match(uri)
    if scheme and scheme[1].lower() != "file":
        raise UserError(
            f"{what}: {scheme[1]}:// is not supported; give a folder, as a path or as file:///path"
        )
    try:
        path = _file_path(uri) if scheme else Path(uri).expanduser()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{what}: {uri!r}: {error}; give a path or file:///path") from error
    if not uri or "\0" in str(path):
        raise UserError(f"{what}: {uri!r} is no path; give a folder, as a path or file:///path")
    return path.absolute()


def _file_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"names another machine, {parts.netloc!r}")
    if parts.query or parts.fragment:
        raise ValueError("? and # have no place in it (write %3F and %23)")
    return Path(url2pathname(parts.path))
