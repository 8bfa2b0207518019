"""Who may ask: bearer tokens (RFC 6750) from a file that is read again and again."""

import asyncio
import hashlib
import hmac
import logging
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
from starlette.types import ASGIApp, Receive, Scope, Send

from components.shared.errors import UserError
from serving import metrics
from serving.errors import PredictorError

MAX_BYTES = 64 * 2**10
MIN_CHARACTERS = 16
_LOOK_SECONDS = 1.0
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

# What tells no more than whether the server is up, and the page, which holds no secret.
_OPEN_PATHS = re.compile(
    r"/|/web/.*|/docs|/openapi\.json|/v1/models(/[^/]+)?|/v2/health/(live|ready)"
    r"|/v2/models/[^/]+(/versions/[^/]+)?/ready"
)
_SERVICE = "/inference.GRPCInferenceService/"
_OPEN_CALLS = {_SERVICE + name for name in ("ServerLive", "ServerReady", "ModelReady")} | {
    f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch")
}
_INFER = _SERVICE + "ModelInfer"
_log = logging.getLogger("brain_tumor")

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]]


class Tokens:
    """The tokens of a file: one a line, what follows a # is a comment.

    Only their digests are kept, and no token is ever named in a log or an error.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Args:
            path: Of the file, which may be a link, as in a Secret that Kubernetes mounts.

        Raises:
            UserError: It cannot be read, is too large, holds no token, or one that is too short.
        """
        self._path = path
        self._digests = _digests(path)
        self._fault = ""

    def check(self, headers: Iterable[bytes | str]) -> None:
        """Checks what a request says of itself.

        Args:
            headers: The values of all its Authorization headers.

        Raises:
            PredictorError: It has no token, more than one, or one that is not in the file.
        """
        values = [v.decode("latin-1") if isinstance(v, bytes) else v for v in headers]
        scheme, _, token = values[0].strip().partition(" ") if len(values) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise PredictorError(
                "unauthenticated", "a token is needed, in one header Authorization: Bearer TOKEN"
            )
        digest = _digest(token.strip())
        # Each is compared, so the time tells neither which of them fits nor how far it does.
        if not any([hmac.compare_digest(digest, known) for known in self._digests]):
            raise PredictorError("unauthenticated", "the token is not known here")

    async def watch(self) -> None:
        """Reads the file again each second, for as long as it is not cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self.read_again)

    def read_again(self) -> None:
        """Takes the file's tokens if they changed; if the file broke, the last good ones stay."""
        try:
            found = _digests(self._path)
        except UserError as error:
            if str(error) != self._fault:
                _log.error("the tokens read before stay: %s", error)
            self._fault = str(error)
            return
        if self._fault or found != self._digests:
            _log.info("%s: %d tokens are accepted now", self._path, len(found))
        self._fault, self._digests = "", found


class TokenMiddleware:
    """Turns REST requests without a token away, before their body is read."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        """Args: app: what it stands before; tokens: those that are accepted."""
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request.

        Args:
            scope: Of ASGI.
            receive: Of ASGI.
            send: Of ASGI.

        Raises:
            PredictorError: It needs a token and has no good one.
        """
        if scope["type"] == "http" and not _is_open(scope):
            self._tokens.check(v for name, v in scope["headers"] if name == b"authorization")
        await self._app(scope, receive, send)


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Turns gRPC calls without a token away, before their message is received."""

    def __init__(self, tokens: Tokens) -> None:
        """Args: tokens: those that are accepted."""
        self._tokens = tokens

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Returns what answers a call.

        Args:
            continuation: Finds it.
            handler_call_details: Of the call.
        """
        method = handler_call_details.method
        metadata = handler_call_details.invocation_metadata
        if method not in _OPEN_CALLS:
            try:
                self._tokens.check(v for name, v in metadata if name == "authorization")
            except PredictorError as error:
                return _refusal(error, method)
        return await continuation(handler_call_details)


def _refusal(error: PredictorError, method: str) -> grpc.RpcMethodHandler:
    async def refuse(requests: Any, context: grpc.aio.ServicerContext) -> None:
        if method == _INFER:
            metrics.count_refused_call(error.reason, error.status_code.name)
        else:
            metrics.REJECTED.labels(error.reason).inc()
        await context.abort(error.status_code, str(error))

    # A handler of streams is called before anything is received, whatever the client sends.
    return grpc.stream_stream_rpc_method_handler(refuse)


def _is_open(scope: Scope) -> bool:
    reads = scope["method"] in ("GET", "HEAD")
    return reads and _OPEN_PATHS.fullmatch(scope["path"]) is not None


def _digests(path: Path) -> frozenset[bytes]:
    """Returns the digests of a file's tokens."""
    try:
        content = _content(path)
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"{path}: the tokens cannot be read: {reason}") from None
    found = set()
    for number, line in enumerate(lines, start=1):
        token = line.partition("#")[0].strip()
        if not token:
            continue
        if not _TOKEN.fullmatch(token):
            raise UserError(
                f"{path}, line {number}: a token is letters, digits and -._~+/ with = at its end"
            )
        if len(token) < MIN_CHARACTERS:
            raise UserError(
                f"{path}, line {number}: a token needs at least {MIN_CHARACTERS} characters; "
                "openssl rand -hex 32 makes a good one"
            )
        found.add(_digest(token))
    if not found:
        raise UserError(f"{path}: there is no token in it; write one on a line of its own")
    return frozenset(found)


def _content(path: Path) -> bytes:
    """Returns what a regular file holds, and waits for no pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "it is not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(None, f"it has more than {MAX_BYTES:,} bytes")
    return content


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
