"""The load generator: what a client sees of a server, at as little cost of CPU as Python allows.

Closed loop: each client sends its next request when the last one is answered. Open loop: requests
are sent at times fixed beforehand, whether or not earlier ones are answered, and a latency counts
from the time its request was due. So a server that stalls is charged for all that arrived
meanwhile (no coordinated omission).

It runs in a process of its own. Requests are rendered before, connections are kept alive.
"""

import asyncio
import gc
import math
import random
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice
from multiprocessing import get_context
from typing import Any, cast

import httptools
import uvloop

DRAIN_SECONDS = 10.0  # what is not answered so long after the end never was
_MAX_CONNECTIONS = 256
_PAUSE_AFTER_ERROR = 0.01


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the generator saw.

    Attributes:
        seconds: How long requests were sent.
        latencies: Seconds, of every request that was answered with status 200.
        in_time: How many of those were answered before the end.
        errors: Other statuses and broken connections.
        unanswered: Requests that had no answer ten seconds after the end.
        late: Open loop: seconds by which each request left after it was due.
        cpu_seconds: What the generator itself took.
    """

    seconds: float
    latencies: tuple[float, ...]
    in_time: int
    errors: int
    unanswered: int
    late: tuple[float, ...]
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Several runs, summed up.

    Attributes:
        requests_per_second: Answered in time; the mean of the runs.
        slowest, fastest: That of the slowest and of the fastest run.
        p50, p95, p99: Seconds, over all requests of all runs. A request that failed or was never
            answered counts as infinitely slow.
        requests: How many were sent.
        failed: How many of them failed or were never answered.
        late_p99: Seconds, of the generator itself.
        generator_seconds: CPU of the generator for one request.
    """

    requests_per_second: float
    slowest: float
    fastest: float
    p50: float
    p95: float
    p99: float
    requests: int
    failed: int
    late_p99: float
    generator_seconds: float


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least a share of all values does not exceed.

    Args:
        values: In any order; none gives NaN.
        share: 0 < share <= 1.
    """
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summed_up(loads: Sequence[Load]) -> Figures:
    """Sums up runs of the same kind.

    Args:
        loads: At least one.
    """
    failed = sum(load.errors + load.unanswered for load in loads)
    latencies = [latency for load in loads for latency in load.latencies] + failed * [math.inf]
    late = [seconds for load in loads for seconds in load.late]
    rates = [load.in_time / load.seconds for load in loads]
    return Figures(
        requests_per_second=sum(rates) / len(rates),
        slowest=min(rates),
        fastest=max(rates),
        p50=percentile(latencies, 0.50),
        p95=percentile(latencies, 0.95),
        p99=percentile(latencies, 0.99),
        requests=len(latencies),
        failed=failed,
        late_p99=percentile(late, 0.99),
        generator_seconds=sum(load.cpu_seconds for load in loads) / max(1, len(latencies)),
    )


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Draws when independent clients send: a Poisson process.

    Args:
        rate: Requests a second.
        seconds: How long.
        seed: The same seed gives the same times.

    Yields:
        Seconds from the start, ascending.
    """
    rng = random.Random(seed)
    due = rng.expovariate(rate)
    while due < seconds:
        yield due
        due += rng.expovariate(rate)


class Connection(asyncio.Protocol):
    """A kept-alive HTTP/1.1 connection that carries one request at a time."""

    def __init__(self) -> None:
        """Starts idle."""
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser: Any = None
        self._body = b""

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Sends a request.

        Args:
            request: Head and body, rendered.

        Returns:
            Status and body of the answer.

        Raises:
            ConnectionError: The connection broke before the answer was whole.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("closed by the server")
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Closes it."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        self._fail("closed by the server")

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(str(error))
            self.close()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), self._body))

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))


class _Clients:
    """Connections to one server, and what was counted."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []
        self._all: list[Connection] = []
        self._few = asyncio.Semaphore(_MAX_CONNECTIONS)
        self.finished: list[tuple[float, float]] = []  # started or due, and answered
        self.late: list[float] = []
        self.errors = 0

    async def measure(self, request: bytes, due: float | None = None) -> bool:
        """Sends a request and counts; returns whether it was answered with status 200."""
        async with self._few:
            started = time.perf_counter()
            if due is not None:
                self.late.append(started - due)
            try:
                connection = await self._connection()
                status, _ = await connection.ask(request)
            except OSError:
                status = 0
            else:
                self._idle.append(connection)
        if status != 200:
            self.errors += 1
            return False
        self.finished.append((started if due is None else due, time.perf_counter()))
        return True

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, "127.0.0.1", self._port
        )
        self._all.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._all:
            connection.close()


def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Runs clients that each wait for an answer before they ask again.

    Args:
        port: Of the server, on this machine.
        requests: Sent in turn; each client starts with another one.
        clients: How many.
        seconds: How long new requests are sent.
    """

    async def run() -> Load:
        pool = _Clients(port)
        end = time.perf_counter() + seconds

        async def client(number: int) -> None:
            for request in islice(cycle(requests), number, None):
                if time.perf_counter() >= end:
                    return
                if not await pool.measure(request):
                    await asyncio.sleep(_PAUSE_AFTER_ERROR)

        return await _watched(pool, [client(number) for number in range(clients)], seconds, end)

    return _run(run())


def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int) -> Load:
    """Sends requests at times fixed beforehand.

    Args:
        port: Of the server, on this machine.
        requests: Sent in turn.
        rate: Requests a second, on average.
        seconds: How long.
        seed: Of the times.
    """

    async def run() -> Load:
        pool = _Clients(port)
        start = time.perf_counter()
        sent: list[asyncio.Task[bool]] = []

        async def send() -> None:
            for offset, request in zip(
                arrivals(rate, seconds, seed), cycle(requests), strict=False
            ):
                while (wait := start + offset - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                sent.append(asyncio.create_task(pool.measure(request, start + offset)))
            await asyncio.gather(*sent)

        return await _watched(pool, [send()], seconds, start + seconds, sent)

    return _run(run())


async def _watched(
    pool: _Clients,
    work: Sequence[Coroutine[Any, Any, None]],
    seconds: float,
    end: float,
    sent: Sequence["asyncio.Task[bool]"] = (),
) -> Load:
    """Waits for the work, but not for ever."""
    tasks = [asyncio.create_task(one) for one in work]
    _, pending = await asyncio.wait(tasks, timeout=seconds + DRAIN_SECONDS)
    # In a closed loop a client that hangs has one request out; in an open one all are tasks.
    unanswered = sum(not task.done() for task in sent) if sent else len(pending)
    for task in (*pending, *sent):
        task.cancel()
    outcomes = await asyncio.gather(*tasks, *sent, return_exceptions=True)
    pool.close()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return Load(
        seconds=seconds,
        latencies=tuple(answered - started for started, answered in pool.finished),
        in_time=sum(answered <= end for _, answered in pool.finished),
        errors=pool.errors,
        unanswered=unanswered,
        late=tuple(pool.late),
        cpu_seconds=0.0,
    )


def _run(load: Coroutine[Any, Any, Load]) -> Load:
    """Runs it without the garbage collector, and adds what it cost."""
    gc.collect()
    gc.disable()
    before = time.process_time()
    try:
        seen = uvloop.run(load)
    finally:
        gc.enable()
    return replace(seen, cpu_seconds=time.process_time() - before)


def generator_process() -> ProcessPoolExecutor:
    """Returns the process that `closed_loop` and `open_loop` are submitted to."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))
