"""Attackers of the REST port: what each does on one connection, and how many connections it has.

A new connection is opened wherever the server closes one. An attacker reads no more than it has to.
"""

import asyncio
import base64
import gzip
import io
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from threading import Event

import orjson
from PIL import Image

PREDICT = "/v1/models/brain-tumor:predict"
EXPLAIN = "/v1/models/brain-tumor:explain"
INFER = "/v2/models/brain-tumor/infer"
JSON = "Content-Type: application/json"
_PIECE = 16 * 2**10


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


Session = Callable[[Wire], Awaitable[None]]


def attack(
    session: Session, port: int, stop: Event, connections: int = 8, receive_bytes: int = 0
) -> int:
    """Attacks until it is told to stop.

    Args:
        session: What is done on one connection, from its start.
        port: Of REST, on this machine.
        stop: Tells to stop.
        connections: How many at once.
        receive_bytes: Of each connection's buffer for answers; 0 is the system's own choice.

    Returns:
        Bytes sent.
    """
    return asyncio.run(_attack(session, port, stop, connections, receive_bytes))


async def _attack(
    session: Session, port: int, stop: Event, connections: int, receive_bytes: int
) -> int:
    wires: list[Wire] = []

    async def attacker() -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await _one(session, port, receive_bytes, wires)
            await asyncio.sleep(0.01)  # whoever is turned away tries again

    tasks = [asyncio.create_task(attacker()) for _ in range(connections)]
    await asyncio.to_thread(stop.wait)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sum(wire.sent for wire in wires)


async def _one(session: Session, port: int, receive_bytes: int, wires: list[Wire]) -> None:
    connection = socket.socket()
    connection.setblocking(False)
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection)
    except BaseException:
        connection.close()
        raise
    wires.append(Wire(reader, writer))
    try:
        await session(wires[-1])
    finally:
        writer.transport.abort()


def head(path: str, *lines: str) -> bytes:
    """Returns the head of a POST request.

    Args:
        path: Of the request.
        lines: Headers.
    """
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def endless(start: bytes, filler: bytes) -> Session:
    """Sends something that has no end.

    Args:
        start: Sent once.
        filler: Sent again and again.
    """

    async def session(wire: Wire) -> None:
        await wire.send(start)
        while True:
            await wire.send(filler * (_PIECE // len(filler)))

    return session


def requests(path: str, body: Callable[[], bytes], *lines: str) -> Session:
    """Sends one request after another.

    Args:
        path: Of the request.
        body: Makes the body, once, when it is needed.
        lines: Headers.
    """
    made = cache(body)

    async def session(wire: Wire) -> None:
        content = made()
        await wire.send(head(path, f"Content-Length: {len(content)}", *lines) + content)
        await wire.answer()  # its rest is short: a new connection costs no more than to read it

    return session


async def idle(wire: Wire) -> None:
    """Sends nothing."""
    await wire.until_closed()


async def slow_head(wire: Wire) -> None:
    """Sends a byte a second."""
    await wire.send(b"GET / HTTP/1.1\r\nX: ")
    while True:
        await wire.send(b"a")
        await asyncio.sleep(1)


async def unread(wire: Wire) -> None:
    """Asks for large answers, and reads none."""
    noise = io.BytesIO()
    Image.effect_noise((150, 150), 90).save(noise, "PNG")
    instance = {"b64": base64.b64encode(noise.getvalue()).decode()}
    body = orjson.dumps({"instances": [instance] * 4})  # some hundred KB of answer
    for _ in range(16):
        await wire.send(head(EXPLAIN, f"Content-Length: {len(body)}") + body)
    await asyncio.Event().wait()


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


def image(make: Callable[[], bytes], kind: str) -> Session:
    """Sends an image file again and again.

    Args:
        make: Makes it.
        kind: Its media type behind `image/`.
    """
    return requests(PREDICT, make, f"Content-Type: image/{kind}")


def urls(address: str) -> Session:
    """Asks for 32 images at an address, again and again."""
    body = orjson.dumps({"instances": [{"image_url": address}] * 32})
    return requests(PREDICT, lambda: body, JSON)


def outputs() -> bytes:
    """Returns a v2 request of 270,000 outputs."""
    return orjson.dumps({"inputs": [_TENSOR], "outputs": [{"name": "label"}] * 270_000})


def parameters() -> bytes:
    """Returns a v2 request of 1,000,000 parameters."""
    many = {f"p{number}": 0 for number in range(1_000_000)}
    return orjson.dumps({"inputs": [_TENSOR], "parameters": many})


def bomb() -> bytes:
    """Returns 512 MiB of zeros, compressed."""
    return gzip.compress(bytes(512 * 2**20), 1)


_TENSOR = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}
