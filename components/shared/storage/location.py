"""What a URI names: the one reader for sources of images and for registries."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*):/", re.I)
# By the scheme of a store's addresses, where its class is. It is imported late, because the clients
# of the stores take seconds.
STORES = {
    "s3": ("components.shared.storage.s3", "S3Store"),
    "gs": ("components.shared.storage.gcs", "GCSStore"),
}
_MISSPELT = re.compile(rf"(?P<scheme>{'|'.join(STORES)})(:(?!//)|//)", re.I)


@dataclass(frozen=True)
class Location:
    """A place.

    Attributes:
        scheme: In lower case; `file` for every path.
        place: What follows `scheme://`; for `file` an absolute path.
    """

    scheme: str
    place: str

    @property
    def in_store(self) -> bool:
        """Whether the place is in a bucket."""
        return self.scheme in STORES

    def __str__(self) -> str:
        """Returns the place in the form that every step reads in the same way."""
        return self.place if self.scheme == "file" else f"{self.scheme}://{self.place}"


def read_location(uri: str) -> Location:
    """Reads a URI.

    Args:
        uri: A path, relative or absolute, with or without `~`; `file:///absolute/path`, where
            `%20` stands for a space; or another scheme. `S3://` is `s3://`.

    Returns:
        The place.

    Raises:
        ValueError: The URI is malformed.
    """
    found = _SCHEME.match(uri)
    scheme = found["scheme"].lower() if found else "file"
    if misspelt := _MISSPELT.match(uri):
        raise ValueError(f"write {misspelt['scheme'].lower()}:// with a colon and two slashes")
    if scheme != "file":
        if not uri.startswith("://", len(scheme)):
            raise ValueError(f"write {scheme}:// with a colon and two slashes")
        return Location(scheme, uri[len(scheme) + 3 :])
    try:
        path = _file_path(uri) if found else Path(uri).expanduser()
    except RuntimeError as error:  # no such home
        raise ValueError(str(error)) from error
    if not uri or "\0" in str(path):
        raise ValueError("is not a path")
    return Location("file", str(path.absolute()))


def _file_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc.lower() not in ("", "localhost"):
        raise ValueError(f"names another machine, {parts.netloc!r}")
    if parts.query or parts.fragment:
        raise ValueError("? and # have no place in it (write %3F and %23)")
    return Path(url2pathname(parts.path))
