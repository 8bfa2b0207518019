"""Images are decoded in processes that may hang, break or be killed; the server goes on."""

import asyncio
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from serving.decoder import ANSWER
from serving.decoding import Decoders
from serving.settings import Settings

PREDICT = "/v1/models/brain-tumor:predict"


def _file(side: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 90).save(file, "JPEG", **options)
    return file.getvalue()


SMALL = _file(40)


def _ask(server: Any, file: bytes) -> httpx.Response:
    headers = {"Content-Type": "image/jpeg"}
    return httpx.post(server.url + PREDICT, content=file, headers=headers, timeout=120)


def _processes(server: Any) -> list[int]:
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = {int(child) for file in children for child in file.read_text().split()}
    return [child for child in found if b"decoder" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_process_that_dies_is_replaced(predictor: Any) -> None:
    assert _ask(predictor, SMALL).status_code == 200
    first = _processes(predictor)
    assert len(first) == 2
    for process in first:
        os.kill(process, signal.SIGKILL)
    for _ in range(4):
        assert _ask(predictor, SMALL).status_code == 200
    assert not set(_processes(predictor)) & set(first)


def _stop(processes: list[int]) -> None:
    for process in processes:
        os.kill(process, signal.SIGSTOP)


def test_a_decode_that_takes_too_long_is_ended(start: Callable[..., Any]) -> None:
    with start(decode_seconds=1) as server:
        first = _processes(server)
        _stop(first)
        for _ in first:
            answer = _ask(server, SMALL)
            assert answer.status_code == 422
            assert answer.json()["error"] == "the image was not decoded within 1 s"
        assert not set(_processes(server)) & set(first)
        assert any(_ask(server, SMALL).status_code == 200 for _ in range(10))
        assert "Traceback" not in server.log.read_text()


def test_it_ends_whatever_is_decoded(start: Callable[..., Any]) -> None:
    with start(decode_seconds=600, grace_seconds=1) as server, ThreadPoolExecutor(4) as pool:
        processes = _processes(server)
        _stop(processes)
        for _ in range(4):
            pool.submit(_ask, server, SMALL)
        while "brain_tumor_queue_length 4.0" not in httpx.get(server.url + "/metrics").text:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert not any(Path(f"/proc/{process}/cmdline").exists() for process in processes)


@contextmanager
def _started(**settings: Any) -> Iterator[Decoders]:
    decoders = Decoders(Settings(**settings))
    try:
        yield decoders
    finally:
        decoders.stop()


def test_an_answer_that_nobody_waits_for_is_not_taken_for_the_next() -> None:
    other = io.BytesIO()
    Image.new("RGB", (30, 30), (10, 200, 90)).save(other, "PNG")

    async def ask() -> tuple[set[int], set[int], list[int]]:
        with _started(decode_seconds=60) as decoders:
            await asyncio.gather(*(decoders.decode(SMALL) for _ in range(4)))
            before = {process._process.pid for process in decoders._all}
            for _ in range(6):
                asked = asyncio.create_task(decoders.decode(SMALL))
                await asyncio.sleep(0)  # it is on its way
                asked.cancel()
            found = (await decoders.decode(other.getvalue())).pixels[0, 0, 0].tolist()
            return before, {process._process.pid for process in decoders._all}, found

    before, after, found = asyncio.run(ask())
    assert found == [10, 200, 90]
    assert after == before  # a client that goes away costs no process


@pytest.mark.parametrize("sent", [ANSWER.pack(True, 2**31), ANSWER.pack(True, 0) * 2])
def test_a_process_that_sends_too_much_is_ended(sent: bytes) -> None:
    async def ask() -> str:
        with _started(decode_seconds=60) as decoders:
            await asyncio.gather(*(decoders.decode(SMALL) for _ in range(4)))
            for process in decoders._all:  # as if it had been taken over
                process.get_buffer(-1)[: len(sent)] = sent
                process.buffer_updated(len(sent))
            assert all(process.has_ended for process in decoders._all)
            return str((await decoders.decode(SMALL)).pixels.shape)

    assert asyncio.run(ask()) == "(1, 150, 150, 3)"


def test_those_that_wait_too_long_may_come_again() -> None:
    async def ask(decoders: Decoders) -> list[Any]:
        asked = (decoders.decode(SMALL) for _ in range(8))
        return await asyncio.gather(*asked, return_exceptions=True)

    async def wait_and_ask() -> list[Any]:
        with _started(decode_seconds=1) as decoders:
            await ask(decoders)  # they are ready
            _stop([process._process.pid for process in decoders._all])
            return await ask(decoders)

    reasons = [getattr(answer, "reason", "decoded") for answer in asyncio.run(wait_and_ask())]
    assert reasons.count("decode-time") == 2  # waiting is not decoding
    assert reasons.count("overloaded") > 0
    assert set(reasons) <= {"decode-time", "overloaded", "decoded"}


def test_large_images_leave_a_process_to_small_ones() -> None:
    file = io.BytesIO()
    Image.new("F", (4400, 4400)).save(file, "TIFF", compression="tiff_adobe_deflate")
    ended: list[str] = []

    async def decode(decoders: Decoders, file: bytes, kind: str) -> None:
        assert (await decoders.decode(file)).pixels.shape == (1, 150, 150, 3)
        ended.append(kind)

    async def ask() -> None:
        with _started(decode_seconds=60) as decoders:
            large = [decode(decoders, file.getvalue(), "large") for _ in range(6)]
            small = [decode(decoders, SMALL, "small") for _ in range(20)]
            await asyncio.gather(*large, *small)

    asyncio.run(ask())
    assert ended.count("large") == 6
    assert "large" not in ended[:10]
