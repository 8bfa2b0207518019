"""S3, of any provider, through the minio client."""

import base64
import builtins
import configparser
import hashlib
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import tenacity
import urllib3
from minio import Minio
from minio.credentials.providers import (
    AWSConfigProvider,
    EnvAWSProvider,
    IamAwsProvider,
    Provider,
)
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error, ServerError
from typing_extensions import override
from urllib3.exceptions import HTTPError, SSLError

from components.shared.errors import UserError, network_reason, one_line, reason
from components.shared.storage import transfer
from components.shared.storage.aws_config import configured_endpoint
from components.shared.storage.store import NotFound, disk_error, is_stale
from components.shared.storage.transfer import (
    PIECE,
    Checksum,
    DamagedError,
    ObjectStore,
    Piece,
)

_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_AWS = "https://s3.amazonaws.com"
_DIGEST = "sha256"  # metadata under which an object's SHA-256 is kept
_CREDENTIALS = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"),
    *("TokenRefreshRequired", "InvalidSecurity", "AuthorizationHeaderMalformed"),
}
# What a server says of bytes that changed on the way, and of an upload that it forgot.
_UPLOAD_AGAIN = {"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "NoSuchUpload"}
_FORBIDDEN = {"AccessDenied", "AllAccessDisabled", "AccountProblem"}


class S3Store(ObjectStore):
    """A folder of an S3 bucket.

    Attributes:
        endpoint: URL of the service.
    """

    def __init__(self, bucket: str, prefix: str, what: str) -> None:
        """Reads endpoint and credentials from the environment; sends nothing yet.

        Args:
            bucket: The bucket.
            prefix: The folder in it, without slashes around it.
            what: What the folder is, for error messages.

        Raises:
            UserError: The environment is malformed.
        """
        super().__init__(f"s3://{bucket}/{prefix}".rstrip("/"), prefix, what)
        named_by, self.endpoint = _endpoint()
        url = urlsplit(self.endpoint)
        if url.scheme not in ("http", "https") or not url.netloc or url.path.strip("/"):
            raise UserError(f"{named_by}: give http://host:port or https://host:port")
        self._bucket = bucket
        self._http = _RepeatingPool(
            timeout=_TIMEOUT,
            maxsize=transfer.THREADS,
            cert_reqs="CERT_REQUIRED" if _verifies() else "CERT_NONE",
            ca_certs=_authorities(),
        )
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region and not url.netloc.endswith(".amazonaws.com"):  # AWS itself is asked
            region = "us-east-1"
        with self._translated_errors(""):
            self._client = Minio(
                url.netloc,
                secure=url.scheme == "https",
                region=region or None,
                credentials=_credentials(),
                http_client=self._http,
            )
        self._honours_conditions = False

    @override
    def _entries(self, key_prefix: str) -> Iterator[tuple[str, int, str]]:
        for found in self._client.list_objects(self._bucket, key_prefix, recursive=True):
            yield found.object_name or "", found.size or 0, found.etag or ""

    @override
    def _folders(self, key_prefix: str) -> Iterator[str]:
        for found in self._client.list_objects(self._bucket, key_prefix):
            if found.is_dir and found.object_name != key_prefix:
                yield found.object_name or ""

    @override
    def _piece(self, key: str, start: int, stamp: str) -> Piece:
        condition = {"If-Match": f'"{stamp}"'} if stamp else {}
        try:
            response = self._client.get_object(
                self._bucket, key, start, PIECE, request_headers=dict(condition)
            )
        except S3Error as error:
            if error.code == "InvalidRange":  # nothing lies there: the object has ended
                return Piece(b"", stamp, None)
            if error.code == "PreconditionFailed":
                raise DamagedError(
                    f"{self.what} {self.uri}: {key} changed while it was read; try again"
                ) from error
            raise
        if start and response.status != 206:
            raise UserError(f"{self.what} {self.uri}: the server at {self.endpoint} has no ranges")
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if total.isdigit() and len(response.data) < min(PIECE, int(total) - start):
            raise DamagedError(
                f"{self.what} {self.uri}: {self.endpoint} sent less of {key} than there is; check "
                "the server"
            )
        etag = response.headers.get("ETag", "").strip('"')
        return Piece(response.data, etag, _checksum(response.headers, etag))

    @override
    def _create(self, key: str, content: bytes) -> bool | None:
        if not self._honours_conditions and self._exists(key):
            return False  # so that a server without conditions has nothing to overwrite here
        status, attempts = self._put_if_absent(key, content)
        if status == 412:
            return None if attempts > 1 else False
        if not self._honours_conditions:
            if self._put_if_absent(key, content)[0] != 412:
                self._remove([key])
                raise UserError(
                    f"{self.what} {self.uri}: the server at {self.endpoint} ignores "
                    "If-None-Match, so two writers could overwrite each other; use a server that "
                    "knows conditional writes"
                )
            self._honours_conditions = True
        return True

    def _exists(self, key: str) -> bool:
        return any(found == key for found, _, _ in self._entries(key))

    def _put_if_absent(self, key: str, content: bytes) -> tuple[int, int]:
        """Returns the status, 200 or 412, and how many attempts it took."""
        # minio's put_object takes no condition; a URL signed by it does, as it signs the host only.
        url = self._client.get_presigned_url(
            "PUT", self._bucket, key, expires=timedelta(minutes=15)
        )
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        headers = {"If-None-Match": "*", "Content-MD5": base64.b64encode(md5).decode()}
        attempts = 0

        def put() -> Any:
            nonlocal attempts
            attempts += 1
            return self._http.once("PUT", url, body=content, headers=headers)

        response = self._http.repeat(put)
        if response.status not in (200, 412):
            if b"<Error" not in response.data:
                raise ServerError(f"HTTP status {response.status}", response.status)
            raise S3Error.fromxml(response)
        return response.status, attempts

    @override
    def _put(self, path: Path, key: str) -> None:
        sha256, etag = _digests(path)
        try:
            with open(path, "rb") as file:
                result = self._client.put_object(
                    self._bucket,
                    key,
                    file,
                    path.stat().st_size,
                    metadata={_DIGEST: sha256},
                    part_size=PIECE,
                    num_parallel_uploads=1,  # files are in parallel already
                )
        except S3Error as error:
            if error.code not in _UPLOAD_AGAIN:
                raise
            raise DamagedError(
                f"{self.what} {self.uri}: the upload of {key} was spoilt ({error.code}); check the "
                "network"
            ) from error
        stored = result.etag or ""
        comparable = len(stored) == len(etag) and not _is_encrypted(result.http_headers or {})
        if comparable and stored != etag:
            raise DamagedError(
                f"{self.what} {self.uri}: the server holds other bytes of {key} than were sent; "
                "check the network"
            )

    @override
    def _remove(self, keys: builtins.list[str]) -> None:
        doomed = [DeleteObject(key) for key in keys]
        for error in self._client.remove_objects(self._bucket, doomed):
            raise UserError(
                f"{self.what} {self.uri}: cannot delete {error.name}: {one_line(error.message)}"
            )

    @override
    def sweep(self, name: str) -> None:
        """Aborts uploads in several parts: their parts are in no listing, and are paid for."""
        with self._translated_errors(name):
            # The client has no public name for these two.
            found = self._client._list_multipart_uploads(self._bucket, prefix=self._below(name))
            for upload in found.uploads:
                if upload.initiated_time and is_stale(upload.initiated_time.timestamp()):
                    self._client._abort_multipart_upload(
                        self._bucket, upload.object_name, str(upload.upload_id)
                    )

    @override
    @contextmanager
    def _translated_errors(self, name: str) -> Iterator[None]:
        where = f"{self.what} {self.address(name)}"
        try:
            yield
        except S3Error as error:
            raise self._explain(error, where) from error
        except SSLError as error:
            raise UserError(
                f"{where}: {self.endpoint} shows a certificate that cannot be trusted: "
                f"{network_reason(error)}; set AWS_CA_BUNDLE to its authority's file"
            ) from error
        except HTTPError as error:
            raise UserError(
                f"{where}: cannot talk to {self.endpoint}: {network_reason(error)}; check "
                "AWS_ENDPOINT_URL, the network and the server"
            ) from error
        except (MinioException, ValueError, ParseError, configparser.Error) as error:
            raise UserError(
                f"{where}: cannot use {self.endpoint}: {one_line(error)}; check AWS_ENDPOINT_URL "
                "and the credentials"
            ) from error
        except OSError as error:  # after HTTPError and SSLError, this is the local disk
            raise disk_error(where, error) from error

    def _explain(self, error: S3Error, where: str) -> UserError:
        code = error.code
        if code == "NoSuchKey":
            return NotFound(f"{where}: there is no such object; check the name")
        if code == "NoSuchBucket":
            return UserError(
                f"{where}: there is no bucket {self._bucket} at {self.endpoint}; check the name "
                "and AWS_ENDPOINT_URL, or make the bucket"
            )
        if code in _CREDENTIALS:
            return UserError(
                f"{where}: {self.endpoint} refuses the credentials ({code}); check "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION"
            )
        if code in _FORBIDDEN:
            return UserError(
                f"{where}: no permission ({code}); let these credentials list, read, write and "
                "delete there, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of some that may"
            )
        return UserError(f"{where}: {self.endpoint} says {code}: {one_line(error.message)}")


class _RepeatingPool(urllib3.PoolManager):
    """Connections whose requests are repeated while they may yet succeed.

    Whole bodies are read here, so that a connection cut in the middle of one counts as well.
    """

    def once(self, method: str, url: str, **options: Any) -> Any:
        """Sends a request one time."""
        options |= {"retries": False, "preload_content": True, "redirect": False}
        return super().urlopen(method, url, **options)

    def repeat(self, send: Any) -> Any:
        """Calls what sends a request, again where that fails in a way that may pass."""
        return tenacity.Retrying(
            retry=_is_transient,
            stop=tenacity.stop_after_delay(transfer.RETRY_SECONDS),
            wait=tenacity.wait_random_exponential(transfer.FIRST_WAIT, transfer.MAX_WAIT),
            before_sleep=_log_retry,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )(send)

    @override
    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> Any:  # type: ignore[override]
        return self.repeat(lambda: self.once(method, url, **options))


def _authorities() -> str | None:
    """Returns the file of authorities to trust; none where the system's are."""
    path = os.environ.get("AWS_CA_BUNDLE")
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:  # of the file or of what it holds
            raise UserError(
                f"AWS_CA_BUNDLE: {path}: {reason(error)}; give a PEM file of authorities to trust"
            ) from error
    return path or None


def _log_retry(state: tenacity.RetryCallState) -> None:
    """Says once for each request that it is repeated."""
    if state.attempt_number == 1:
        error = state.outcome and state.outcome.exception()
        what = network_reason(error) if isinstance(error, Exception) else "the server is busy"
        print(f"S3: {what}; trying again for {transfer.RETRY_SECONDS:.0f} s", flush=True)


def _is_transient(state: tenacity.RetryCallState) -> bool:
    outcome = state.outcome
    if outcome is None:
        return False
    error = outcome.exception()
    if error:
        return isinstance(error, HTTPError) and not isinstance(error, SSLError)
    return outcome.result().status in transfer.RETRIED


def _endpoint() -> tuple[str, str]:
    """Returns what names the service, and its URL, by the rules of the AWS SDKs."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            if url := os.environ.get(variable):
                return variable, url
        if found := configured_endpoint():
            return found
    return "AWS_ENDPOINT_URL", _AWS


def _credentials() -> Provider | None:
    """Returns where keys come from; None leaves requests unsigned, as public buckets allow."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return EnvAWSProvider()
    roles = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if any(os.environ.get(name) for name in (*roles, "AWS_CONTAINER_CREDENTIALS_FULL_URI")):
        return IamAwsProvider()
    shared = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    return AWSConfigProvider() if Path(shared).expanduser().exists() else None


def _verifies() -> bool:
    return os.environ.get("S3_VERIFY_SSL", "1").lower() not in ("0", "false")


def _checksum(headers: Any, etag: str) -> Checksum | None:
    """Returns the digest that an object carries: ours, or the MD5 that its ETag mostly is."""
    ours = headers.get(f"x-amz-meta-{_DIGEST}", "")
    if re.fullmatch("[0-9a-f]{64}", ours):
        return Checksum("sha256", bytes.fromhex(ours))
    if re.fullmatch("[0-9a-f]{32}", etag) and not _is_encrypted(headers):
        return Checksum("md5", bytes.fromhex(etag))  # of several parts it holds a dash
    return None


def _is_encrypted(headers: Any) -> bool:
    """Returns whether the ETag is of encrypted bytes."""
    return str(headers.get("x-amz-server-side-encryption", "")).startswith("aws:kms")


def _digests(path: Path) -> tuple[str, str]:
    """Returns a file's SHA-256 and the ETag that it gets when it is sent in pieces."""
    sha256 = hashlib.sha256()
    parts = []
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            sha256.update(piece)
            parts.append(hashlib.md5(piece, usedforsecurity=False))
    if len(parts) > 1:
        whole = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
        return sha256.hexdigest(), f"{whole.hexdigest()}-{len(parts)}"
    only = parts[0] if parts else hashlib.md5(usedforsecurity=False)
    return sha256.hexdigest(), only.hexdigest()
