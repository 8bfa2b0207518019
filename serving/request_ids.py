"""A request's id and its place in a trace: taken from the client, in every log line, in the answer.

The place in a trace is W3C's header `traceparent`; the id is the header `x-request-id`.
"""

import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
from grpc_interceptor.server import AsyncServerInterceptor
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import tracing
from serving.middleware import operation

REQUEST_ID, TRACEPARENT = "x-request-id", "traceparent"
_NAMES = {REQUEST_ID, TRACEPARENT, "tracestate"}
_RAW_NAMES = {name.encode(): name for name in _NAMES}
ACCESS = "brain_tumor.access"
_SANE = re.compile(r"[!-~]{1,128}")
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_FAILURES = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN}
_access = logging.getLogger(ACCESS)


@dataclass(frozen=True, slots=True)
class Ids:
    """What a request is known by.

    Attributes:
        request: Its id, at most 128 printable ASCII characters.
        trace: The trace that it is a part of, 32 hexadecimal digits.
        traceparent: The same with this server's own part, as W3C writes it.
    """

    request: str
    trace: str
    traceparent: str

    def headers(self) -> list[tuple[str, str]]:
        """Returns what an answer says of them."""
        return [(REQUEST_ID, self.request), (TRACEPARENT, self.traceparent)]


CURRENT: ContextVar[Ids | None] = ContextVar("ids", default=None)


def ids_from_headers(headers: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Returns what a client says of its request's ids; what it says twice is empty.

    Args:
        headers: Names in lower case, with their values.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _NAMES and isinstance(value, str):
            found[name] = value if name not in found else ""
    return found


def ids_of(given: Mapping[str, str], span: Any = None) -> Ids:
    """Takes a request's ids as given; what is missing or not sane is made.

    Args:
        given: What `ids_from_headers` found.
        span: Of the request, where traces are on.
    """
    request = given.get(REQUEST_ID, "")
    if not _SANE.fullmatch(request):
        request = f"{random.getrandbits(128):032x}"
    own = span.get_span_context() if span else None
    if own and own.is_valid:  # it is not where OTEL_SDK_DISABLED is set
        trace, part, flags = f"{own.trace_id:032x}", f"{own.span_id:016x}", f"{own.trace_flags:02x}"
    else:
        trace, flags = _trace(given.get(TRACEPARENT, ""))
        part = f"{random.getrandbits(64) or 1:016x}"
    return Ids(request, trace, f"00-{trace}-{part}-{flags}")


def _trace(traceparent: str) -> tuple[str, str]:
    """Returns the trace of a traceparent and its flags, of which version 00 knows two."""
    parts = _TRACEPARENT.fullmatch(traceparent)
    if parts and not (parts["version"] == "00" and parts["more"]):
        return parts["trace"], f"{int(parts['flags'], 16) & 3:02x}"
    return f"{random.getrandbits(128) or 1:032x}", "02"  # made at random, and not recorded


class RequestMiddleware:
    """Gives REST requests their ids, and logs each where that is wanted."""

    def __init__(self, app: ASGIApp) -> None:
        """Args: app: what it stands before; everything, so that every answer has its ids."""
        self._app = app

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
        given = ids_from_headers(_decoded(scope["headers"]))
        if scope["method"] != "POST":
            await self._answer(scope, receive, send, ids_of(given))
            return
        with tracing.request(f"POST {operation(scope['path'])}", given) as span:
            status = await self._answer(scope, receive, send, ids_of(given, span))
            if span:
                span.set_attribute("url.path", scope["path"])
                span.set_attribute("http.response.status_code", status)
                _mark_failure(span, status >= 500)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, ids: Ids) -> int:
        """Returns the status of the answer; 0 where the client has gone before."""
        started, status = time.perf_counter(), 0
        CURRENT.set(ids)  # each request has a task of its own
        own = [(name.encode(), value.encode()) for name, value in ids.headers()]

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        try:
            await self._app(scope, receive, identified)
        finally:
            if _access.isEnabledFor(logging.INFO):
                client = scope["client"][0] if scope["client"] else ""
                path = scope["raw_path"].decode("latin-1")  # as sent: no line ends in it
                _log_access(client, scope["method"], path, status, started)
        return status


class _Metadatum(NamedTuple):
    """A pair as gRPC's own, whose parts KServe asks for by name."""

    key: str
    value: str


class RequestInterceptor(AsyncServerInterceptor):
    """The same for gRPC calls: ids come as metadata, and go as trailing metadata."""

    async def intercept(
        self,
        method: Callable[..., Any],
        request_or_iterator: Any,
        context: grpc.aio.ServicerContext,
        method_name: str,
    ) -> Any:
        """Answers one call.

        Args:
            method: What answers.
            request_or_iterator: What the client sends.
            context: Of gRPC.
            method_name: With the service's.

        Returns:
            The answer.
        """
        given = ids_from_headers(context.invocation_metadata() or ())
        if not method_name.endswith("/ModelInfer"):
            return await self._answer(
                method, request_or_iterator, context, name=method_name, given=given
            )
        with tracing.request(method_name[1:], given) as span:
            try:
                return await self._answer(
                    method, request_or_iterator, context, name=method_name, given=given, span=span
                )
            finally:
                if span:
                    code = _code(context)
                    span.set_attribute("rpc.grpc.status_code", code.value[0])
                    _mark_failure(span, code in _FAILURES)

    async def _answer(
        self,
        method: Callable[..., Any],
        request: Any,
        context: grpc.aio.ServicerContext,
        *,
        name: str,
        given: dict[str, str],
        span: Any = None,
    ) -> Any:
        started, ids = time.perf_counter(), ids_of(given, span)
        CURRENT.set(ids)  # each call has a task of its own
        context.set_trailing_metadata(tuple(_Metadatum(*pair) for pair in ids.headers()))
        try:
            return await super().intercept(method, request, context, name)
        finally:
            if _access.isEnabledFor(logging.INFO):
                client = _address(context.peer())
                _log_access(client, "gRPC", name, _code(context).name, started)


def _address(peer: str) -> str:
    """Returns the address in what gRPC calls a peer, such as ipv6:%5B::1%5D:5000."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


def _code(context: grpc.aio.ServicerContext) -> grpc.StatusCode:
    """Returns a call's status, which gRPC tells as one or as its number."""
    code = context.code()
    return code if isinstance(code, grpc.StatusCode) else _CODES[code or 0]


def _mark_failure(span: Any, failed: bool) -> None:
    from opentelemetry.trace import StatusCode

    if failed:
        span.set_status(StatusCode.ERROR)


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name in _RAW_NAMES:
            yield _RAW_NAMES[name], value.decode("latin-1")


def _log_access(client: str, method: str, path: str, status: object, started: float) -> None:
    seconds = round(time.perf_counter() - started, 6)
    fields = {"client": client, "method": method, "path": path, "status": status}
    _access.info(
        '%s "%s %s" %s %.3f s',
        *fields.values(),
        seconds,
        extra=fields | {"seconds": seconds},
    )
