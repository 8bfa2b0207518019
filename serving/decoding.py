"""Files -> slices, in processes that are killed and replaced where one takes too long or breaks."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np

from components.shared.images.decode import SHAPE
from serving import metrics, tracing
from serving.decoder import ANSWER, NUMBER, READY, REQUEST
from serving.errors import PredictorError
from serving.settings import Settings

PROCESSES = 2
_START_SECONDS = 60
_SMALL_PIXELS = 2_000_000
_NOT_SMALL = {"too-many-pixels", "too-much-work"}
_TOO_LARGE = {"too-large", *_NOT_SMALL}


@dataclass(frozen=True, slots=True)
class Slices:
    """What was read of a file, or sent as pixels.

    Attributes:
        pixels: uint8 [n, 150, 150, 3].
        numbers: Of the n slices in their volume, counted from 1; None where the file is no volume.
    """

    pixels: np.ndarray
    numbers: tuple[int, ...] | None = None


class Decoders:
    """Some processes, and a thread for each that waits for it.

    Large images leave one process to small ones, which so wait for none of them. How large an image
    is, a process sees before it decodes it: each is first tried as a small one.
    """

    def __init__(self, settings: Settings) -> None:
        """Starts the processes.

        Args:
            settings: Limits of an image, and of the time for it.
        """
        self._seconds = settings.decode_seconds
        self._max_pixels = settings.max_pixels
        self._large = asyncio.Semaphore(PROCESSES - 1)
        limits = (settings.max_image_bytes, settings.max_pixels, settings.max_slices)
        self._threads = ThreadPoolExecutor(PROCESSES, thread_name_prefix="decode")
        self._all = [_Process(*limits) for _ in range(PROCESSES)]
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for process in self._all:
            self._idle.put(process)

    async def decode(self, data: bytes) -> Slices:
        """Decodes a file.

        Args:
            data: Its bytes.

        Returns:
            One slice of an image file, some of a volume.

        Raises:
            PredictorError: It is no image, too large, takes too long, or too many wait before it.
        """
        asked = time.monotonic()
        with tracing.stage("decode"):
            try:
                return await self._decoded(data, min(_SMALL_PIXELS, self._max_pixels), asked)
            except _NotSmallError:
                async with self._large:
                    return await self._decoded(data, self._max_pixels, asked)

    def stop(self) -> None:
        """Ends the processes, whatever they decode."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.end()

    async def _decoded(self, data: bytes, pixels: int, asked: float) -> Slices:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._decode, data, pixels, asked)

    def _decode(self, data: bytes, pixels: int, asked: float) -> Slices:
        if time.monotonic() > asked + self._seconds:
            raise PredictorError(
                "overloaded", "too many images wait to be decoded; try again shortly"
            )
        process = self._idle.get()
        try:
            process.ensure_started()
            with metrics.STAGE["decode"].time():
                good, content = process.ask(data, pixels, self._seconds)
        except TimeoutError as error:
            process.end()
            raise PredictorError(
                "decode-time", f"the image was not decoded within {self._seconds:g} s"
            ) from error
        except OSError as error:
            process.end()
            raise PredictorError(
                "image", "unreadable: the image takes too much memory, or breaks its decoder"
            ) from error
        finally:
            self._idle.put(process)
        if good:
            return _slices(content)
        reason, _, line = content.decode().partition("\0")
        if reason in _NOT_SMALL and pixels < self._max_pixels:
            raise _NotSmallError
        raise PredictorError("image-size" if reason in _TOO_LARGE else "image", line)


def _slices(content: bytearray) -> Slices:
    """Reads what a process sends of a file; see `serving.decoder`."""
    count = (len(content) - NUMBER.size) // (NUMBER.size + int(np.prod(SHAPE)))
    of, *numbers = struct.unpack_from(f"<{1 + count}I", content)
    pixels = np.frombuffer(content, np.uint8, offset=NUMBER.size * (1 + count))
    return Slices(pixels.reshape(count, *SHAPE), tuple(numbers) if of > 1 else None)


class _NotSmallError(Exception):
    """An image is to be decoded as a large one."""


class _Process:
    """One process, started again after it has ended."""

    def __init__(self, *limits: int) -> None:
        self._limits = limits
        self._ready = False
        self._start()

    def ensure_started(self) -> None:
        """Waits until it is ready for an image."""
        if self._process.poll() is not None:
            self._start()
        if not self._ready:
            self._connection.settimeout(_START_SECONDS)
            self._ready = self._received(1) == READY

    def ask(self, data: bytes, pixels: int, seconds: float) -> tuple[bool, bytearray]:
        """Returns whether a file is an image of so many pixels at most; its pixels, or why not.

        Raises:
            TimeoutError: It takes longer.
            OSError: The process has ended.
        """
        end = time.monotonic() + seconds
        self._connection.settimeout(seconds)
        self._connection.sendall(REQUEST.pack(len(data), pixels) + data)
        good, length = ANSWER.unpack(self._received(ANSWER.size))
        self._connection.settimeout(max(0.001, end - time.monotonic()))
        return good, self._received(length)

    def end(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _start(self) -> None:
        self._connection, theirs = socket.socketpair()
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "serving.decoder",
                    *map(str, (theirs.fileno(), *self._limits)),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff tells of each fault of a file
                env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            )
        self._ready = False

    def _received(self, count: int) -> bytearray:
        received = bytearray(count)
        rest = memoryview(received)
        while rest:
            size = self._connection.recv_into(rest)
            if size == 0:
                raise ConnectionError("the process has ended")
            rest = rest[size:]
        return received
