"""Google Cloud Storage, through its own client."""

import base64
import builtins
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import requests
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from typing_extensions import override

from components.shared.errors import UserError, network_reason, one_line
from components.shared.storage import transfer
from components.shared.storage.store import NotFound, disk_error
from components.shared.storage.transfer import (
    PIECE,
    Checksum,
    DamagedError,
    ObjectStore,
    Piece,
    in_parallel,
)

_TIMEOUT = (10, 60)  # seconds, to connect and to read
_ERRORS = (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException)


class GCSStore(ObjectStore):
    """A folder of a bucket of Google Cloud Storage."""

    def __init__(self, bucket: str, prefix: str, what: str) -> None:
        """Finds credentials in the environment; asks the bucket nothing yet.

        Args:
            bucket: The bucket.
            prefix: The folder in it, without slashes around it.
            what: What the folder is, for error messages.

        Raises:
            UserError: The credentials are malformed.
        """
        super().__init__(f"gs://{bucket}/{prefix}".rstrip("/"), prefix, what)
        with self._translated_errors(""):
            try:
                client = storage.Client(project=None)
            except DefaultCredentialsError:
                if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
                    raise
                client = storage.Client.create_anonymous_client()  # public buckets allow it
        self._bucket = client.bucket(bucket)

    @override
    def _entries(self, key_prefix: str) -> Iterator[tuple[str, int, str]]:
        for blob in self._blobs(key_prefix):
            yield blob.name, blob.size or 0, blob.crc32c or str(blob.generation)

    @override
    def _folders(self, key_prefix: str) -> Iterator[str]:
        listing = self._blobs(key_prefix, "/")
        for _ in listing:  # the prefixes are known once all pages have come
            pass
        yield from listing.prefixes

    @override
    def _piece(self, key: str, start: int, stamp: str) -> Piece:
        blob = self._bucket.blob(key)
        try:
            content = blob.download_as_bytes(
                start=start,
                end=start + PIECE - 1,
                raw_download=True,
                checksum=None,  # of the whole object only
                timeout=_TIMEOUT,
                retry=self._retry(),
            )
        except exceptions.RequestRangeNotSatisfiable:  # nothing lies there: the object has ended
            return Piece(b"", stamp, None)
        generation = str(blob.generation)
        if stamp and stamp != generation:
            raise DamagedError(
                f"{self.what} {self.uri}: {key} changed while it was read; try again"
            )
        return Piece(content, generation, _checksum(blob.crc32c))

    @override
    def _create(self, key: str, content: bytes) -> bool | None:
        attempts = 0

        def put() -> None:
            nonlocal attempts
            attempts += 1
            self._bucket.blob(key).upload_from_string(
                content,
                "application/octet-stream",
                if_generation_match=0,
                checksum="crc32c",
                timeout=_TIMEOUT,
                retry=None,
            )

        try:
            self._retry()(put)()
        except exceptions.PreconditionFailed:
            return None if attempts > 1 else False
        return True

    @override
    def _put(self, path: Path, key: str) -> None:
        digest = google_crc32c.Checksum()
        with open(path, "rb") as file:
            for _ in digest.consume(file, PIECE):
                pass
        blob = self._bucket.blob(key, chunk_size=PIECE)
        try:
            blob.upload_from_filename(
                path,
                "application/octet-stream",
                checksum="crc32c",
                timeout=_TIMEOUT,
                retry=self._retry(),
            )
            intact = blob.crc32c == base64.b64encode(digest.digest()).decode()
        except DataCorruption:
            intact = False
        except exceptions.NotFound as error:
            if not self._has_bucket():
                raise
            raise DamagedError(
                f"{self.what} {self.uri}: the server forgot the upload of {key}; try again"
            ) from error
        if not intact:
            raise DamagedError(
                f"{self.what} {self.uri}: the server holds other bytes of {key} than were sent; "
                "check the network"
            )

    @override
    def _remove(self, keys: builtins.list[str]) -> None:
        in_parallel(self._remove_one, keys)

    @override
    def sweep(self, name: str) -> None:
        """Does nothing: an unfinished upload is no object, and Google forgets it in a week."""

    def _remove_one(self, key: str) -> None:
        with contextlib.suppress(exceptions.NotFound):
            self._bucket.blob(key).delete(timeout=_TIMEOUT, retry=self._retry())

    def _blobs(self, key_prefix: str, delimiter: str | None = None) -> Any:
        return self._bucket.list_blobs(
            prefix=key_prefix, delimiter=delimiter, timeout=_TIMEOUT, retry=self._retry()
        )

    def _retry(self) -> Retry:
        """Returns the client's own rule of what to repeat, within this project's bounds."""
        waits = {"initial": transfer.FIRST_WAIT, "maximum": transfer.MAX_WAIT}
        return DEFAULT_RETRY.with_delay(**waits).with_timeout(transfer.RETRY_SECONDS)

    @override
    @contextlib.contextmanager
    def _translated_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            cause = error.cause if isinstance(error, exceptions.RetryError) else error
            raise self._explain(cause or error, f"{self.what} {self.address(name)}") from error
        except OSError as error:  # after those of requests, this is the local disk
            raise disk_error(f"{self.what} {self.address(name)}", error) from error

    def _explain(self, error: Exception, where: str) -> UserError:
        if isinstance(error, exceptions.NotFound):
            if self._has_bucket():
                return NotFound(f"{where}: there is no such object; check the name")
            return UserError(
                f"{where}: there is no bucket {self._bucket.name}; check the name, or make it"
            )
        if isinstance(error, exceptions.Unauthorized | GoogleAuthError):
            return UserError(
                f"{where}: Google refuses the credentials: {one_line(error).rstrip('.')}; set "
                "GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account"
            )
        if isinstance(error, exceptions.Forbidden):
            return UserError(
                f"{where}: no permission: {one_line(error)}; give the service account the role "
                "roles/storage.objectUser on the bucket"
            )
        answer = getattr(error, "response", None)
        said = f"HTTP status {answer.status_code}" if answer is not None else network_reason(error)
        return UserError(
            f"{where}: cannot talk to {self._bucket.client.api_endpoint}: {said}; check the "
            "network and the service"
        )

    def _has_bucket(self) -> bool:
        try:
            next(iter(self._bucket.list_blobs(max_results=1, retry=None)), None)
        except exceptions.NotFound:
            return False
        except _ERRORS:  # it cannot be told
            return True
        return True


def _checksum(crc32c: str | None) -> Checksum | None:
    """Returns the checksum that a header holds; transcoded objects have none."""
    try:
        digest = base64.b64decode(crc32c or "", validate=True)
    except ValueError:
        return None
    return Checksum("crc32c", digest) if len(digest) == 4 else None
