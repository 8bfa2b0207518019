"""Files -> pixels, in processes that are killed and replaced where one takes too long or breaks."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from components.images import SHAPE
from serving import metrics, tracing
from serving.decoder import ANSWER, READY, REQUEST
from serving.errors import PredictorError
from serving.settings import Settings

PROCESSES = 2
_START_SECONDS = 60
_TOO_LARGE = {"too-large", "too-many-pixels", "too-much-work"}


class Decoders:
    """Some processes, and a thread for each that waits for it."""

    def __init__(self, settings: Settings) -> None:
        """Starts the processes.

        Args:
            settings: Limits of an image, and of the time for it.
        """
        self._seconds = settings.decode_seconds
        limits = (settings.max_image_bytes, settings.max_pixels)
        self._threads = ThreadPoolExecutor(PROCESSES, thread_name_prefix="decode")
        self._all = [_Process(*limits) for _ in range(PROCESSES)]
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for process in self._all:
            self._idle.put(process)

    async def decode(self, data: bytes) -> np.ndarray:
        """Decodes a file.

        Args:
            data: Its bytes.

        Returns:
            uint8 [150, 150, 3].

        Raises:
            PredictorError: It is no image, too large, takes too long, or too many wait before it.
        """
        loop = asyncio.get_running_loop()
        with tracing.stage("decode"):
            return await loop.run_in_executor(self._threads, self._decode, data, time.monotonic())

    def stop(self) -> None:
        """Ends the processes, whatever they decode."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.end()

    def _decode(self, data: bytes, asked: float) -> np.ndarray:
        if time.monotonic() > asked + self._seconds:
            raise PredictorError(
                "overloaded", "too many images wait to be decoded; try again shortly"
            )
        process = self._idle.get()
        try:
            process.ensure_started()
            with metrics.STAGE["decode"].time():
                good, content = process.ask(data, self._seconds)
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
            return np.frombuffer(content, np.uint8).reshape(SHAPE)
        reason, _, line = content.decode().partition("\0")
        raise PredictorError("image-size" if reason in _TOO_LARGE else "image", line)


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

    def ask(self, data: bytes, seconds: float) -> tuple[bool, bytearray]:
        """Returns whether a file is an image, and pixels or why not.

        Raises:
            TimeoutError: It takes longer.
            OSError: The process has ended.
        """
        end = time.monotonic() + seconds
        self._connection.settimeout(seconds)
        self._connection.sendall(REQUEST.pack(len(data)) + data)
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
