"""The HTTP server's side of one connection: uvicorn's, with bounds on what a connection may cost.

uvicorn bounds neither the size of a head nor how long it may take, keeps answers that nobody reads,
takes any number of connections, and loses the body of a request that asks for an upgrade.
"""

import asyncio
import fcntl
import sys
import termios
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving import metrics
from serving.errors import RETRY_AFTER_SECONDS, PredictorError
from serving.settings import Settings

MAX_HEADERS = 100
MAX_URL_BYTES = 8 * 2**10
MAX_PIPELINED = 16
_LOOK_SECONDS = 0.5


class Connection(HttpToolsProtocol):
    """A client's connection.

    A head and the trailers have a size and a time, an answer has to be read, an idle connection is
    closed where another one needs its place, and upgrades are ignored (RFC 9110, 7.8).
    """

    def __init__(self, settings: Settings, **uvicorn: Any) -> None:
        """Args: settings: the limits; uvicorn: what uvicorn gives its protocols."""
        super().__init__(**uvicorn)
        self._settings = settings
        self._all: set[Any] = self.connections  # of this class
        self._unfruitful = 0  # bytes since the last one of a body, or the end of a message
        self._since = self.loop.time()  # when the state last changed: open, idle, a head begun
        self._in_head = True
        self._unread = 0  # of answers, bytes, when it was last seen to shrink
        self._unread_since = 0.0
        self._refused = False

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room where there are too many connections.

        Args:
            transport: The connection's.
        """
        super().connection_made(transport)
        if len(self.connections) <= self._settings.max_connections:
            return
        idle = [c for c in self._all if not c.busy and c is not self]
        if idle:  # first those that have asked for nothing yet
            longest = min(idle, key=lambda c: (c.cycle is not None, c._since))
            self.connections.discard(longest)
            longest.transport.abort()
        else:
            self._refuse(PredictorError("overloaded", "too many connections; try again shortly"))

    def data_received(self, data: bytes) -> None:
        """Parses what has come, and refuses what is none of HTTP or has no end.

        Args:
            data: The bytes.
        """
        if not self.busy and not self._in_head:
            self._in_head, self._since = True, self.loop.time()
        self._unset_keepalive_if_required()
        while data and not self._refused and not self.transport.is_closing():
            room = self._settings.max_head_bytes - self._unfruitful
            piece, data = data[:room], data[room:]
            self._unfruitful += len(piece)
            self._parse(piece)
            if self._unfruitful >= self._settings.max_head_bytes:
                self._refuse(_too_large(self._settings))

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.parser.get_method() == b"CONNECT":
                self._refuse(PredictorError("malformed", "this server is not a proxy"))
            else:
                self._parse(self._head_without_upgrade() + data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__  # of what a callback raised
            if not isinstance(cause, PredictorError):
                cause = PredictorError("malformed", "the request is not HTTP/1.1")
            self._refuse(cause)

    def _head_without_upgrade(self) -> bytes:
        """Starts the message again, because the parser ended it with the head."""
        method = self.parser.get_method()
        self.parser = httptools.HttpRequestParser(self)
        lines = [b"%s %s HTTP/1.1" % (method, self.url)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Takes a part of the URL."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            raise PredictorError("url-size", f"the URL has more than {MAX_URL_BYTES:,} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header, or a trailer."""
        if not self._in_head:  # trailers are no headers, whatever they are called
            return
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            raise PredictorError("head-size", f"more than {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Starts to answer."""
        if self.parser.should_upgrade():
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            raise PredictorError("overloaded", "too many requests wait on one connection")
        super().on_headers_complete()
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body."""
        self._unfruitful = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request's body."""
        if self.parser.should_upgrade():
            return
        self._unfruitful = 0
        super().on_message_complete()
        if not self.busy:  # the answer did not wait for the body
            self._in_head, self._since = True, self.loop.time()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        self._since = self.loop.time()
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            self.flow.pause_reading()

    def pause_writing(self) -> None:
        """Bounds what is not read on all connections: who has not read for longest is closed."""
        super().pause_writing()
        self._look_at_unread()
        stuck = sorted((c for c in self._all if c._unread), key=lambda c: c._unread_since)
        over = sum(c._buffered() for c in stuck) - self._settings.max_held_bytes
        for connection in stuck:
            if over <= 0:
                break
            over -= connection._buffered()
            self.loop.call_soon(connection.cut_off)

    def close_if_overdue(self) -> None:
        """Closes the connection where its client takes too long, with a head or with reading."""
        now = self.loop.time()
        self._look_at_unread()
        if self._unread:
            if now > self._unread_since + self._settings.write_seconds:
                self.cut_off()
        elif not self.busy and self._in_head and now > self._since + self._settings.head_seconds:
            self.transport.close()

    def cut_off(self) -> None:
        """Closes, whatever has not been read."""
        metrics.REJECTED.labels("unread").inc()
        self.transport.abort()

    def _look_at_unread(self) -> None:
        buffered = self._buffered()
        unread = buffered + _in_kernel(self.transport) if buffered else 0
        if not unread or not self._unread or unread < self._unread:
            self._unread, self._unread_since = unread, self.loop.time()

    def _buffered(self) -> int:
        return self.transport.get_write_buffer_size()

    def _refuse(self, error: PredictorError) -> None:
        """Answers with an error, and closes."""
        self._refused = True
        metrics.REJECTED.labels(error.reason).inc()
        if self.busy and not self.cycle.more_body:  # an answer to an earlier request is on its way
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.cycle is None or not self.cycle.more_body or not self.cycle.response_started:
            metrics.RESPONSES.labels("rest", "other", error.http).inc()
            self.transport.write(_answer(error))
        self.transport.close()


async def close_overdue(connections: set[Any]) -> None:
    """Looks after connections and counts them, for as long as it is not cancelled.

    Args:
        connections: Of `Connection`; more come, and some go.
    """
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for connection in tuple(connections):
            connection.close_if_overdue()
        metrics.CONNECTIONS.set(len(connections))


def _in_kernel(transport: asyncio.Transport) -> int:
    """Returns how many bytes the kernel has taken and the client has not, where it tells."""
    try:
        said = fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(said, sys.byteorder)
    except OSError:
        return 0


def _too_large(settings: Settings) -> PredictorError:
    return PredictorError("head-size", f"headers of more than {settings.max_head_bytes:,} bytes")


def _answer(error: PredictorError) -> bytes:
    body = orjson.dumps({"error": str(error)})
    retry = b"retry-after: %d\r\n" % RETRY_AFTER_SECONDS if error.http == 503 else b""
    return (
        STATUS_LINE[error.http]
        + b"content-type: application/json\r\nconnection: close\r\n"
        + retry
        + b"content-length: %d\r\n\r\n" % len(body)
        + body
    )
