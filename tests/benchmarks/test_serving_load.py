"""The load generator: its arithmetic, and what it counts against real sockets."""

import asyncio
import contextlib
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle, islice

import pytest

from benchmarks.serving import load, measure, report
from benchmarks.serving.load import Load, arrivals, closed_loop, open_loop, percentile, summed_up

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def request(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def answer(body: bytes, status: int = 200, headers: bytes = b"") -> bytes:
    length = len(body)
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, length, body)


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[int]:
    """Runs a server in a thread; the handler gets each request's body."""
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    up = threading.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await handler(await reader.readexactly(length), writer)

    async def start() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        up.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    up.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def seen(latencies: tuple[float, ...], **changes: object) -> Load:
    facts: dict[str, object] = {
        "seconds": 2.0,
        "latencies": latencies,
        "in_time": len(latencies),
        "errors": 0,
        "unanswered": 0,
        "late": (),
        "cpu_seconds": 0.0,
    }
    return Load(**(facts | changes))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)]
)
def test_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_percentile_of_few_values_is_the_largest_rather_than_a_guess_between() -> None:
    assert percentile([1.0, 9.0], 0.99) == 9.0
    assert percentile([1.0], 0.5) == 1.0
    assert math.isnan(percentile([], 0.5))


def test_runs_are_pooled_and_rates_averaged() -> None:
    figures = summed_up(
        [seen((0.1, 0.2, 0.3, 0.4), cpu_seconds=0.3), seen((0.5,) * 8, cpu_seconds=0.9)]
    )
    assert figures.requests == 12
    assert (figures.slowest, figures.requests_per_second, figures.fastest) == (2.0, 3.0, 4.0)
    assert (figures.p50, figures.p95, figures.p99) == (0.5, 0.5, 0.5)
    assert figures.generator_seconds == pytest.approx(0.1)


def test_what_is_answered_after_the_end_counts_for_latency_and_not_for_the_rate() -> None:
    figures = summed_up([seen((0.1, 0.1, 3.0), in_time=2)])
    assert figures.requests_per_second == 1.0
    assert figures.p99 == 3.0


def test_failures_are_infinitely_slow() -> None:
    figures = summed_up([seen((0.1,) * 98, errors=1, unanswered=1)])
    assert (figures.requests, figures.failed) == (100, 2)
    assert figures.p95 == 0.1
    assert figures.p99 == math.inf


def test_arrivals_repeat_with_the_seed_and_come_at_the_rate() -> None:
    times = list(arrivals(100, 50, seed=1))
    assert times == list(arrivals(100, 50, seed=1))
    assert times != list(arrivals(100, 50, seed=2))
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 50
    assert abs(len(times) - 5000) < 4 * math.sqrt(5000)


def test_a_client_sends_in_turn_and_keeps_its_connection() -> None:
    bodies: list[bytes] = []
    writers = set()

    async def handle(body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        writers.add(writer)
        writer.write(answer(b"fine"))

    with serving(handle) as port:
        found = closed_loop(port, [request(b"a"), request(b"b"), request(b"c")], 1, 0.2)
    assert found.errors == found.unanswered == 0
    assert len(found.latencies) == len(bodies) >= 3
    assert bodies == list(islice(cycle([b"a", b"b", b"c"]), len(bodies)))
    assert len(writers) == 1
    assert found.in_time in (len(bodies), len(bodies) - 1)


def test_clients_wait_for_each_other_never_and_for_their_own_answer_always() -> None:
    waiting: list[asyncio.StreamWriter] = []

    async def handle(body: bytes, writer: asyncio.StreamWriter) -> None:
        waiting.append(writer)
        assert len(set(waiting)) == len(waiting)
        if len(waiting) == 4:  # only four clients at once can get here
            for one in waiting:
                one.write(answer(b""))
            waiting.clear()

    with serving(handle) as port:
        found = closed_loop(port, [request(b"")], 4, 0.2)
    assert len(found.latencies) >= 4
    assert len(found.latencies) % 4 == 0


def test_a_server_that_closes_after_each_answer_is_asked_again() -> None:
    async def handle(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"x", headers=b"Connection: close\r\n"))
        writer.close()

    with serving(handle) as port:
        found = closed_loop(port, [request(b"")], 2, 0.2)
    assert found.errors == 0
    assert len(found.latencies) > 2


def test_chunked_answers_are_read_to_their_end() -> None:
    async def handle(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"2\r\nde\r\n0\r\n\r\n")

    with serving(handle) as port:
        found = closed_loop(port, [request(b"")], 1, 0.1)
    assert found.errors == 0
    assert min(found.latencies) >= 0.01


@pytest.mark.parametrize("reply", [answer(b"", 503), b"", b"no HTTP at all\r\n\r\n"])
def test_other_statuses_and_broken_connections_are_errors(reply: bytes) -> None:
    async def handle(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        if not reply:
            writer.close()

    with serving(handle) as port:
        found = closed_loop(port, [request(b"")], 1, 0.1)
    assert found.latencies == ()
    assert found.errors > 0
    assert found.unanswered == 0


def test_nobody_listening_is_an_error_and_no_end() -> None:
    found = open_loop(1, [request(b"")], rate=100, seconds=0.1, seed=0)
    assert found.errors == len(list(arrivals(100, 0.1, 0)))


def test_the_generator_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "DRAIN_SECONDS", 0.1)

    async def handle(body: bytes, writer: asyncio.StreamWriter) -> None:
        if body == b"answer":
            writer.write(answer(b""))

    with serving(handle) as port:
        closed = closed_loop(port, [request(b"hang")], 3, 0.1)
        opened = open_loop(port, [request(b"hang"), request(b"answer")], 100, 0.2, seed=0)
    assert (closed.unanswered, closed.latencies) == (3, ())
    count = len(list(arrivals(100, 0.2, 0)))
    assert opened.unanswered == math.ceil(count / 2)
    assert len(opened.latencies) == count // 2
    assert opened.errors == 0


def test_a_stall_is_charged_to_all_that_was_due_meanwhile() -> None:
    due = list(arrivals(100, 0.3, seed=3))
    waiting: list[asyncio.StreamWriter] = []

    async def handle(body: bytes, writer: asyncio.StreamWriter) -> None:
        waiting.append(writer)
        if len(waiting) == len(due):  # nobody is answered before the last one has asked
            for one in waiting:
                one.write(answer(b""))

    with serving(handle) as port:
        found = open_loop(port, [request(b"")], 100, 0.3, seed=3)
    assert found.errors == found.unanswered == 0
    at_least = sorted(due[-1] - one for one in due)
    for latency, least in zip(sorted(found.latencies), at_least, strict=True):
        assert latency >= least
    assert min(found.late) >= 0


def row(key: str, form: str, rates: list[float], latency: float) -> report.Row:
    few, many = measure.Scenario("12 KB", clients=1), measure.Scenario("12 KB", clients=8)
    rounds = [summed_up([seen((latency,) * round(2 * rate))]) for rate in rates]
    pooled = summed_up([seen((latency,) * round(2 * rate)) for rate in rates])
    both, each = {few: pooled, many: pooled}, {few: rounds, many: rounds}
    return report.Row(key, f"{key}, {form}", form, both, each, {few: 1.0, many: 1.0}, 1, 1.0)


def test_ratios_are_taken_within_a_round_so_that_a_machine_that_drifts_does_no_harm() -> None:
    lines = report.goals(
        [
            row("ours", "URL", [300.0, 30.0, 150.0], 0.05),
            row("reference", "URL", [20.0, 2.0, 5.0], 0.4),
            row("litserve", "URL", [100.0, 60.0, 150.0], math.inf),
        ]
    )
    assert lines == [
        "requests/s, 12 KB, 8 clients: URL is 15.00 times as good as reference, URL "
        "(15.00, 15.00, 30.00); goal 15: reached",
        "requests/s, 12 KB, 8 clients: URL is 1.00 times as good as litserve, URL "
        "(3.00, 0.50, 1.00)",
        "requests/s, 12 KB, 8 clients: URL is number 1 of 3",
        "p99, 12 KB, 8 clients: URL is 8.00 times as good as reference, URL "
        "(8.00, 8.00, 8.00); goal 10: MISSED",
        "p99, 12 KB, 8 clients: URL is inf times as good as litserve, URL (inf, inf, inf)",
        "p99, 12 KB, 8 clients: URL is number 1 of 3",
        "p50, 12 KB, 1 client: URL is 8.00 times as good as reference, URL "
        "(8.00, 8.00, 8.00); goal 6: reached",
        "p50, 12 KB, 1 client: URL is inf times as good as litserve, URL (inf, inf, inf)",
        "p50, 12 KB, 1 client: URL is number 1 of 3",
    ]


def test_fetching_by_address_is_compared_with_fetching_by_address() -> None:
    lines = report.goals(
        [
            row("ours", "JSON", [800.0], 0.01),
            row("ours", "URL", [100.0], 0.05),
            row("reference", "URL", [5.0], 0.5),
            row("litserve", "JSON", [900.0], 0.01),
        ]
    )
    assert not any("JSON is" in line and "reference" in line for line in lines)
    assert not any("URL is" in line and "litserve" in line for line in lines)
    assert "requests/s, 12 KB, 8 clients: JSON is number 2 of 2" in lines
    assert "requests/s, 12 KB, 8 clients: URL is number 1 of 2" in lines


def test_a_server_that_was_not_measured_is_no_rival_and_no_error() -> None:
    assert report.goals([row("reference", "URL", [5.0], 0.5)]) == []
    assert report.goals([row("ours", "JSON", [5.0], 0.5)]) == []
