"""A web server for the images that `image_url` names; costs next to nothing.

    python -m benchmarks.serving.file_server FOLDER PORT

All files are in memory and their answers rendered, because it shares the cores with what is
measured.
"""

import asyncio
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_message_complete(self) -> None:
        self._transport.write(self._answers.get(self._path, _MISSING))
        self._path = b""
        if not self._parser.should_keep_alive():
            self._transport.close()


def _rendered(folder: Path) -> dict[bytes, bytes]:
    answers = {}
    for file in folder.iterdir():
        body = file.read_bytes()
        kind = {".png": "image/png"}.get(file.suffix, "image/jpeg")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        answers[f"/{file.name}".encode()] = head.encode() + body
    return answers


async def _serve(folder: Path, port: int) -> None:
    answers = _rendered(folder)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(answers), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
