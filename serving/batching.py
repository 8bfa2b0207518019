"""Micro-batches: what arrives while the model is busy goes through it together."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Barrier
from typing import Any, Generic, TypeVar

import numpy as np

from serving import metrics, tracing
from serving.errors import PredictorError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    """An image in the queue: what becomes of it, since when it waits, and for which request."""

    image: np.ndarray
    result: asyncio.Future[T]
    since: float
    request: Any


class Batcher(Generic[T]):
    """Inference threads behind one bounded queue.

    Images that come while the model is busy go through it together, a share of them in each thread.
    Before a batch starts it waits, for milliseconds, for images that are still being decoded, and
    for as many as were here together during the last one: who was just answered may be back at
    once. A lone client never waits.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], Sequence[T]],
        largest: int,
        wait_seconds: float,
        bound: int,
        threads: int,
    ) -> None:
        """Sets up; `start` begins.

        Args:
            run: From uint8 [n, 150, 150, 3], n up to `largest`, to n results.
            largest: Images in a batch.
            wait_seconds: For a batch to fill.
            bound: Images accepted and not yet answered.
            threads: Batches that go through the model at the same time.
        """
        self._run = run
        self._largest = largest
        self._wait = wait_seconds
        self._bound = bound
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._queue: asyncio.Queue[_Waiting[T]] = asyncio.Queue()
        self._accepted = 0
        self._submitted = 0
        self._together = 0  # the most accepted at once since the last batch
        self._workers: list[asyncio.Task[None]] = []

    def in_each_thread(self, prepare: Callable[[], object]) -> None:
        """Runs a function once in every thread, in all of them at the same time.

        Args:
            prepare: The function; oneDNN remembers for each thread what it has prepared.
        """
        together = Barrier(self._threads)

        def run(_: int) -> None:
            together.wait()  # so that no thread takes two turns
            prepare()

        list(self._pool.map(run, range(self._threads)))

    @contextmanager
    def accept(self, count: int) -> Iterator[None]:
        """Takes places in the queue, before the images are decoded.

        Args:
            count: Of images.

        Raises:
            PredictorError: There are not so many places.
        """
        if self._accepted + count > self._bound:
            raise PredictorError(
                "overloaded",
                f"{self._accepted} images are waiting and at most {self._bound} may; "
                "try again shortly",
            )
        self._accepted += count
        self._together = max(self._together, self._accepted)
        metrics.QUEUE_LENGTH.set(self._accepted)
        try:
            yield
        finally:
            self._accepted -= count
            metrics.QUEUE_LENGTH.set(self._accepted)

    async def submit(self, image: np.ndarray) -> T:
        """Sends an accepted image through the model.

        Args:
            image: uint8 [150, 150, 3].

        Returns:
            Its result.
        """
        loop = asyncio.get_running_loop()
        if not self._workers:
            self._workers = [loop.create_task(self._work()) for _ in range(self._threads)]
        future: asyncio.Future[T] = loop.create_future()
        self._submitted += 1
        self._queue.put_nowait(_Waiting(image, future, loop.time(), tracing.current_context()))
        try:
            return await future
        finally:
            self._submitted -= 1

    async def alone(self, function: Callable[[np.ndarray], R], images: np.ndarray) -> R:
        """Runs another function of the model in one of its threads, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, images)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            started = loop.time()
            for waited in batch:
                metrics.STAGE["queue"].observe(started - waited.since)
                tracing.record_stage("queue", waited.request, waited.since, started)
            images = np.stack([waited.image for waited in batch])
            try:
                results = await loop.run_in_executor(self._pool, self._run, images)
            except Exception as error:
                for waited in batch:
                    if not waited.result.done():
                        waited.result.set_exception(error)
                continue
            ended = loop.time()
            metrics.STAGE["inference"].observe(ended - started)
            metrics.BATCH_SIZE.observe(len(batch))
            for waited, result in zip(batch, results, strict=True):
                tracing.record_stage("inference", waited.request, started, ended)
                if not waited.result.done():  # done where its client has gone
                    waited.result.set_result(result)

    async def _next_batch(self) -> list[_Waiting[T]]:
        batch = [await self._queue.get()]
        deadline = asyncio.get_running_loop().time() + self._wait
        while len(batch) < min(self._largest, math.ceil(self._together / self._threads)):
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
                continue
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            try:
                batch.append(await asyncio.wait_for(self._queue.get(), remaining))
            except TimeoutError:
                break
        self._together = self._accepted
        return batch
