"""Folders of objects, wherever they lie: on this machine, in S3 or in Google Cloud Storage."""

import re
from importlib import import_module

from components.shared.errors import UserError
from components.shared.storage.local import LocalStore, local_folder
from components.shared.storage.location import STORES, Location, read_location
from components.shared.storage.store import Entry, NotFound, Store

__all__ = [
    "STORES",
    "Entry",
    "Location",
    "NotFound",
    "Store",
    "local_folder",
    "open_store",
    "read_location",
]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


def open_store(uri: str, what: str) -> Store:
    """Opens the folder that a URI names; it need not exist.

    Args:
        uri: A path, `file:///path`, `s3://bucket/folder` or `gs://bucket/folder`.
        what: What the folder is, for error messages.

    Returns:
        The store. Credentials and endpoint come from the environment (docs/storage.md).

    Raises:
        UserError: The URI is malformed or of a scheme that is not supported, or the environment
            lacks what the store needs.
    """
    try:
        location = read_location(uri)
    except ValueError:
        location = None
    if location and location.scheme not in (*STORES, "file"):
        raise UserError(
            f"{what}: {location.scheme}:// is not supported; give a folder, s3://bucket/folder or "
            "gs://bucket/folder"
        )
    if location is None or not location.in_store:
        return LocalStore(local_folder(uri, what), what)
    scheme = location.scheme
    bucket, _, prefix = location.place.partition("/")
    if not _BUCKET.fullmatch(bucket):  # not repeated: it may hold a password
        raise UserError(
            f"{what}: what follows {scheme}:// is not a bucket name; give {scheme}://bucket/folder"
        )
    module, name = STORES[scheme]
    store: Store = getattr(import_module(module), name)(bucket, prefix.strip("/"), what)
    return store
