"""All attacks by name: who sends what, and how many of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event, Timer

from benchmarks.hostile import over_grpc, over_rest
from benchmarks.hostile.over_rest import INFER, JSON, PREDICT, Session, endless, head, requests


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


Attack = Callable[[Target, Event], int]


def run(name: str, target: Target, seconds: float) -> int:
    """Attacks.

    Args:
        name: Of an attack in `ATTACKS`.
        target: Who.
        seconds: For how long.

    Returns:
        Bytes sent.
    """
    stop = Event()
    Timer(seconds, stop.set).start()
    return ATTACKS[name](target, stop)


def _rest(session: Session, connections: int = 8, receive_bytes: int = 0) -> Attack:
    def attack(target: Target, stop: Event) -> int:
        return over_rest.attack(session, target.http, stop, connections, receive_bytes)

    return attack


def _slow_addresses(target: Target, stop: Event) -> int:
    session = over_rest.urls(f"http://127.0.0.1:{target.slow}/x.jpg")
    return over_rest.attack(session, target.http, stop)


def _grpc(attacker: Callable[[str, int, Event], int], count: int = 1) -> Attack:
    def attack(target: Target, stop: Event) -> int:
        with ThreadPoolExecutor(count) as threads:
            every = [threads.submit(attacker, "127.0.0.1", target.grpc, stop) for _ in range(count)]
        return sum(one.result() for one in every)

    return attack


_LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = head(PREDICT, "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n"
_LONG_NUMBER = head(INFER, "Content-Length: " + "9" * 5000)
_SCANS = partial(over_rest.many_scans, 1595, 4472)
_FLOATS = partial(over_rest.float_tiff, 4472)
_GZIP = "Content-Encoding: gzip"

ATTACKS: dict[str, Attack] = {
    "headers without end": _rest(endless(_LIVE, b"X: y\r\n")),
    "a URL without end": _rest(endless(b"GET /", b"a")),
    "trailers without end": _rest(endless(_CHUNKED, b"X: y\r\n")),
    "numbers of 5,000 digits": _rest(endless(_LONG_NUMBER, _LONG_NUMBER)),
    "2,000 idle connections": _rest(over_rest.idle, 2000),
    "500 heads, a byte a second": _rest(over_rest.slow_head, 500),
    "answers that are not read": _rest(over_rest.unread, 40, receive_bytes=4096),
    "JPEGs of 1,595 scans": _rest(over_rest.image(_SCANS, "jpeg"), 4),
    "float TIFFs of 20 megapixels": _rest(over_rest.image(_FLOATS, "tiff"), 4),
    "32 slow addresses a request": _slow_addresses,
    "270,000 outputs": _rest(requests(INFER, over_rest.outputs, JSON), 4),
    "1,000,000 parameters": _rest(requests(INFER, over_rest.parameters, JSON), 4),
    "gzip of 512 MiB": _rest(requests(PREDICT, over_rest.bomb, JSON, _GZIP), 4),
    "gRPC: headers by HPACK's table": _grpc(over_grpc.small_headers, 4),
    "gRPC: headers on open streams": _grpc(over_grpc.header_frames, 4),
    "gRPC: wrong headers": _grpc(over_grpc.bad_headers),
    "gRPC: rapid reset": _grpc(over_grpc.rapid_reset, 2),
    "gRPC: streams without end": _grpc(over_grpc.many_streams, 2),
    "gRPC: 1,000 unfinished calls": _grpc(over_grpc.unfinished_calls),
    "gRPC: 2,000 idle connections": _grpc(over_grpc.idle_connections),
    "gRPC: gzip bombs": _grpc(over_grpc.compressed_bombs),
}
