"""What stands before every route: limits on bodies, counted answers, no text of an inner error."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import metrics
from serving.compression import Inflater, coding_of
from serving.errors import RETRY_AFTER_SECONDS, PredictorError
from serving.headers import number
from serving.intake import Intake
from serving.settings import Settings

_log = logging.getLogger("brain_tumor")
_JSON = [(b"content-type", b"application/json")]
_CLOSE = (b"connection", b"close")


class Guard:
    """Limits and decodes a request's body, and turns every error into one line.

    While the server drains, each answer closes its connection, so that clients go elsewhere.
    """

    def __init__(
        self, app: ASGIApp, intake: Intake, settings: Settings, draining: Callable[[], bool]
    ) -> None:
        """Sets up.

        Args:
            app: What it stands before.
            intake: Shared with gRPC.
            settings: The limits.
            draining: Tells whether the server is about to close.
        """
        self._app = app
        self._intake = intake
        self._draining = draining
        self._most = settings.max_body_bytes
        self._seconds = settings.body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request.

        Args:
            scope: Of ASGI.
            receive: Of ASGI.
            send: Of ASGI.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        answered = 0
        body = _Body()

        async def counted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = message["status"]
                if self._draining():
                    message["headers"] = [*message["headers"], _CLOSE]
            await send(message)

        try:
            await self._app(scope, self._limited(scope, receive, body), counted)
        except PredictorError as error:
            if not answered:
                await send_error(error, counted, body.whole)
        except ClientDisconnect:  # before its body had come
            metrics.REJECTED.labels("gone").inc()
            return
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if not answered:
                await send_error(PredictorError("internal", "internal error"), counted, body.whole)
        finally:
            self._intake.release(body.received + body.decoded)
        asked = operation(scope["path"])
        metrics.RESPONSES.labels("rest", asked, answered).inc()
        if asked != "other":
            metrics.STAGE["request"].observe(time.perf_counter() - started)

    def _limited(self, scope: Scope, receive: Receive, body: "_Body") -> Receive:
        declared = _header(scope, b"content-length").decode("latin-1")
        if declared and number("Content-Length", declared) > self._most:
            raise self._too_large()
        if scope["method"] in ("GET", "HEAD"):
            return receive
        coding = coding_of(_header(scope, b"content-encoding").decode("latin-1"))
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def limited() -> Message:
            if body.whole:  # what comes now is only the news that the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise PredictorError(
                    "slow-body", f"the body did not arrive within {self._seconds:g} s"
                ) from error
            size = len(message.get("body", b""))
            body.received += size
            body.whole = not message.get("more_body", False)
            self._intake.hold(size)
            if body.received > self._most:
                raise self._too_large()
            if not body.whole:
                await self._intake.next_chunk()
            return message

        return self._decoded(limited, coding, body).__anext__ if coding else limited

    async def _decoded(
        self, receive: Receive, coding: str, body: "_Body"
    ) -> AsyncIterator[Message]:
        """Yields the messages of a body that is compressed, with a pause after each piece."""
        inflater = Inflater(coding)
        while not body.whole:
            message = await receive()
            for piece in inflater.pieces(message.get("body", b"")):
                body.decoded += len(piece)
                self._intake.hold(len(piece))
                if body.decoded > self._most:
                    raise self._too_large()
                await self._intake.next_chunk()
                yield {"type": "http.request", "body": piece, "more_body": True}
        if message["type"] == "http.request":
            inflater.finish()
            yield {"type": "http.request", "body": b"", "more_body": False}
        while True:
            yield await receive()

    def _too_large(self) -> PredictorError:
        return PredictorError("body-size", f"the body has more than {self._most:,} bytes")


@dataclass(slots=True)
class _Body:
    """How much of a request's body has come, and of what more was made of it."""

    received: int = 0
    decoded: int = 0
    whole: bool = False


async def send_error(error: PredictorError, send: Send, read: bool) -> None:
    """Answers with an error.

    Args:
        error: What to tell.
        send: Of ASGI.
        read: Whether the body has come.
    """
    metrics.REJECTED.labels(error.reason).inc()
    headers = list(_JSON)
    if error.http == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    if error.http == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.http == 415:
        headers.append((b"accept-encoding", b"gzip, deflate"))
    if error.reason in ("body-size", "slow-body") and not read:
        headers.append(_CLOSE)  # nor will the rest be
    body = orjson.dumps({"error": str(error)})
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": error.http, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> bytes:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return b",".join([value for key, value in headers if key == name])


def operation(path: str) -> str:
    """Returns what a path asks for, one of a few words.

    Args:
        path: Of the URL.
    """
    for ending, name in _OPERATIONS.items():
        if path.endswith(ending):
            return name
    return "other"


_OPERATIONS: dict[str, Any] = {
    ":predict": "predict",
    ":explain": "explain",
    "/infer": "infer",
    "/predict": "reference",
}
