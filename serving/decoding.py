"""Files -> slices, in processes that are killed and replaced where one takes too long or breaks."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

from components.shared.images.decode import SHAPE
from serving import metrics, tracing
from serving.decoder import ANSWER, NUMBER, REQUEST
from serving.errors import PredictorError
from serving.settings import Settings

PROCESSES = 2
_START_SECONDS = 60
_SMALL_PIXELS = 2_000_000
_NOT_SMALL = {"too-many-pixels", "too-much-work"}
_TOO_LARGE = {"too-large", *_NOT_SMALL}
_SLICE_BYTES = NUMBER.size + int(np.prod(SHAPE))
_Answer = tuple[bool, bytearray]  # whether it is an image; its slices, or why not
# Else glibc gives the memory of each image back to the kernel and asks for it again: a tenth of the
# time of decoding goes into page faults.
_KEPT_BYTES = "4194304"
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
    "MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
}


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
    """Some processes. The event loop speaks to them: a thread for each would take more CPU.

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
        self._limits = (settings.max_image_bytes, settings.max_pixels, settings.max_slices)
        self._all = {_Process(*self._limits) for _ in range(PROCESSES)}
        self._idle: asyncio.Queue[_Process] = asyncio.Queue()
        for process in self._all:
            self._idle.put_nowait(process)

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
        for process in self._all:
            process.end()

    async def _decoded(self, data: bytes, pixels: int, asked: float) -> Slices:
        try:
            good, content = await self._answer(data, pixels, asked)
        except TimeoutError as error:
            raise PredictorError(
                "decode-time", f"the image was not decoded within {self._seconds:g} s"
            ) from error
        except OSError as error:
            raise PredictorError(
                "image", "unreadable: the image takes too much memory, or breaks its decoder"
            ) from error
        if good:
            return _slices(content)
        reason, _, line = content.decode().partition("\0")
        if reason in _NOT_SMALL and pixels < self._max_pixels:
            raise _NotSmallError
        raise PredictorError("image-size" if reason in _TOO_LARGE else "image", line)

    async def _answer(self, data: bytes, pixels: int, asked: float) -> _Answer:
        """Asks an idle process about a file; see `_Process.ask`.

        A process is idle again when it has answered, even if nobody waits for the answer any more.
        """
        process = await self._idle.get()
        try:
            if time.monotonic() > asked + self._seconds:
                raise PredictorError(
                    "overloaded", "too many images wait to be decoded; try again shortly"
                )
            if process.has_ended:
                self._all.discard(process)
                process = _Process(*self._limits)
                self._all.add(process)
            await process.started()
            answer = process.ask(data, pixels, self._seconds)
        except BaseException:
            self._idle.put_nowait(process)
            raise
        answer.add_done_callback(lambda _: self._idle.put_nowait(process))
        with metrics.STAGE["decode"].time():
            return await asyncio.shield(answer)


def _slices(content: bytearray) -> Slices:
    """Reads what a process sends of a file; see `serving.decoder`."""
    count = (len(content) - NUMBER.size) // _SLICE_BYTES
    of, *numbers = struct.unpack_from(f"<{1 + count}I", content)
    pixels = np.frombuffer(content, np.uint8, offset=NUMBER.size * (1 + count))
    return Slices(pixels.reshape(count, *SHAPE), tuple(numbers) if of > 1 else None)


class _NotSmallError(Exception):
    """An image is to be decoded as a large one."""


class _Process(asyncio.BufferedProtocol):
    """A process, until it ends. It decodes one file at a time."""

    def __init__(self, max_bytes: int, max_pixels: int, max_slices: int) -> None:
        """Starts it; arguments are those of `serving.decoder.main`."""
        self._received = bytearray(ANSWER.size + NUMBER.size + max_slices * _SLICE_BYTES)
        self._count = 0  # bytes of an answer that have come
        self._answer: asyncio.Future[_Answer] | None = None  # the first one says that it is ready
        self._transport: asyncio.Transport | None = None
        self._connection, theirs = socket.socketpair()
        arguments = (theirs.fileno(), max_bytes, max_pixels, max_slices)
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.decoder", *map(str, arguments)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff tells of each fault of a file
                env=os.environ | _ENVIRONMENT | {"PYTHONPATH": path},
            )

    @property
    def has_ended(self) -> bool:
        """Whether it cannot be asked any more."""
        return self._process.poll() is not None

    async def started(self) -> None:
        """Waits until it is ready for files.

        Raises:
            OSError: It has ended, or does not begin to answer.
        """
        if self._answer is None:
            self._answer = self._expected(_START_SECONDS)
            loop = asyncio.get_running_loop()
            await loop.create_unix_connection(lambda: self, sock=self._connection)
        if not self._answer.done():
            await asyncio.shield(self._answer)

    def ask(self, data: bytes, pixels: int, seconds: float) -> "asyncio.Future[_Answer]":
        """Sends a file; the process is ready, and has answered what it was asked before.

        Args:
            data: The file's bytes.
            pixels: That it may have.
            seconds: After which the process is killed.

        Returns:
            The answer; a `TimeoutError` if it takes longer, another `OSError` if the process ends.
        """
        assert self._transport
        self._answer = self._expected(seconds)
        self._transport.write(REQUEST.pack(len(data), pixels) + data)
        return self._answer

    def end(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()
        if self._transport:
            self._transport.abort()
        else:
            self._connection.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes the way to the process."""
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Returns where the next bytes go."""
        return memoryview(self._received)[self._count :]

    def buffer_updated(self, nbytes: int) -> None:
        """Takes bytes, and the answer when it is whole."""
        self._count += nbytes
        if self._count < ANSWER.size:
            return
        good, length = ANSWER.unpack_from(self._received)
        end = ANSWER.size + length
        if end > len(self._received) or self._count > end:  # so it has been taken over
            self._fail(ConnectionError("the process sends more than it should"))
        elif self._count == end:
            self._count = 0
            if self._answer and not self._answer.done():
                self._answer.set_result((good, self._received[ANSWER.size : end]))

    def connection_lost(self, error: Exception | None) -> None:
        """Tells who waits that the process has ended."""
        self._fail(ConnectionError("the process has ended"))

    def _expected(self, seconds: float) -> "asyncio.Future[_Answer]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Answer] = loop.create_future()
        timer = loop.call_later(seconds, self._fail, TimeoutError())
        answer.add_done_callback(lambda _: timer.cancel())
        return answer

    def _fail(self, error: OSError) -> None:
        """Kills the process, whatever it does."""
        self.end()
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)
