"""What Prometheus says, and what something else says in its place.

`recorded/prometheus.json.gz` holds what a real Prometheus 3.4.2 answered. Its week of counts was
made of a predictor's answers to 1,454 FLAIR slices of other hospitals, in two pods of which one
restarts.
"""

import gzip
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from components.drift import prometheus as client
from components.drift.prometheus import Prometheus
from components.shared.errors import UserError
from components.shared.model_folder.drift_reference import DriftReference, Quantity
from tests.drift.prometheus_server import Answers, serving

END = datetime(2026, 11, 26, 18, tzinfo=UTC)
LAST = int(END.timestamp())
FLAGGED = Quantity(
    name="flagged",
    of="in_distribution_score",
    bins=("no", "yes"),
    edges=(0.5,),
    blocks=((3, 1), (4, 0)),
)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """The real answers, the model's reference, and how many images were sent for each bin."""
    content = Path(__file__).with_name("recorded") / "prometheus.json.gz"
    return dict(json.loads(gzip.decompress(content.read_bytes())))


def _replay(recorded: dict[str, Any], *names: str) -> Answers:
    """Returns what answers as the real one did, and checks that it is asked the same."""
    told = iter([recorded["answers"][name] for name in names])

    def answer(path: str, query: dict[str, str], handler: Any) -> None:
        real = next(told)
        asked = {name: value.replace("d" * 64, "DIGEST") for name, value in query.items()}
        assert path == real["path"]
        for name in {"query", "start", "end", "step"} & asked.keys():
            if names[0] in ("counted", "versions"):
                assert asked[name] == real["query"][name]
        body = real["body"].replace("DIGEST", "d" * 64).encode()
        handler.send_response(real["status"])
        handler.send_header("Content-Type", real["kind"])
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


REAL_END = datetime(2026, 11, 26, 17, tzinfo=UTC)


def test_a_real_prometheus_counts_what_was_sent(recorded: dict[str, Any]) -> None:
    quantities = DriftReference.model_validate(recorded["reference"]).quantities
    with serving(_replay(recorded, "counted")) as address:
        found = Prometheus(address).served("d" * 64, quantities, REAL_END, 7 * 24)
    sent = {(name, bin): count for name, bin, count in recorded["sent"]}
    for quantity in quantities:
        counts = found[quantity.name]
        assert (counts.sum(axis=1) > 0).sum() == 65  # of ten hours a day
        total = sum(count for (name, _), count in sent.items() if name == quantity.name)
        assert counts.sum() == pytest.approx(total, rel=0.01)
        for bin, count in zip(quantity.bins, counts.sum(axis=0), strict=True):
            # It estimates what came between two scrapes, which lie a minute apart.
            assert count == pytest.approx(sent[quantity.name, bin], rel=0.05, abs=2)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("nothing", "versions"), "it has counts of version 1"),
        (("nothing", "no_series"), "it has no brain_tumor_drift_images_total at all"),
        (("bad_query",), "HTTP 400: invalid parameter .*unclosed left parenthesis"),
        (("too_many",), "HTTP 400: exceeded maximum resolution of 11,000 points"),
        (("nowhere",), "HTTP 404; check the path before /api/v1"),
    ],
)
def test_what_a_real_prometheus_says_instead(
    recorded: dict[str, Any], names: tuple[str, ...], told: str
) -> None:
    replay = _replay(recorded, *names)

    def answer(path: str, query: dict[str, str], handler: Any) -> None:
        recorded["answers"]["nowhere"]["path"] = path  # of another server
        replay(path, query, handler)

    with serving(answer) as address, pytest.raises(UserError, match=told):
        _served(address)


def _answer(*series: Any, **more: Any) -> bytes:
    data = {"resultType": "matrix", "result": list(series)}
    return json.dumps({"status": "success", "data": data} | more).encode()


def _series(values: Any, quantity: str = "flagged", bin: str = "no") -> dict[str, Any]:
    return {"metric": {"quantity": quantity, "bin": bin}, "values": values}


def _served(address: str, hours: int = 3) -> np.ndarray:
    return Prometheus(address).served("d" * 64, [FLAGGED], END, hours)["flagged"]


def test_counts_come_hour_by_hour() -> None:
    asked = {}

    def answer(path: str, query: dict[str, str], handler: Any) -> bytes:
        asked.update(query, path=path, token=handler.headers.get("Authorization"))
        return _answer(
            _series([[LAST - 7200, "4.5"], [LAST, "2"]]), _series([[LAST, "1"]], bin="yes")
        )

    with serving(answer) as address:
        assert _served(address + "/prefix/").tolist() == [[4.5, 0], [0, 0], [2, 1]]
    assert asked["path"] == "/prefix/api/v1/query_range"
    assert asked["token"] is None
    assert f'{{digest="{"d" * 64}"}}' in asked["query"]
    assert (asked["start"], asked["end"], asked["step"]) == (str(LAST - 7200), str(LAST), "3600")


def test_a_token_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_TOKEN", "a-secret\n")

    def refuse(path: str, query: dict[str, str], handler: Any) -> None:
        assert handler.headers["Authorization"] == "Bearer a-secret"
        handler.send_error(401)

    with (
        serving(refuse) as address,
        pytest.raises(UserError, match="HTTP 401; put a token into PROMETHEUS_TOKEN") as caught,
    ):
        _served(address)
    assert "a-secret" not in str(caught.value)
    monkeypatch.setenv("PROMETHEUS_TOKEN", "a b")
    with pytest.raises(UserError, match="characters that no token has"):
        Prometheus("http://localhost")


BOMB = gzip.compress(b" " * 2**24)


def _compressed(path: str, query: dict[str, str], handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(BOMB)


def _endless(path: str, query: dict[str, str], handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" " * 2**16)


def _elsewhere(path: str, query: dict[str, str], handler: Any) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/login")
    handler.end_headers()


def _refused(path: str, query: dict[str, str], handler: Any) -> None:
    body = b'{"status":"error","errorType":"bad_data","error":"no\\nsuch \\u001b[31mquery"}'
    handler.send_response(400)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (_answer(_series([[LAST, "NaN"]])), "'NaN' as a count"),
        (_answer(_series([[LAST, "+Inf"]])), "as a count"),
        (_answer(_series([[LAST, "-1"]])), "as a count"),
        (_answer(_series([[LAST, "1e300"]])), "as a count"),
        (_answer(_series([[LAST, "0x10\x1b[31m"]])), "as a count"),
        (_answer(_series([[LAST + 3600, "1"]])), "hours that were not asked for"),
        (_answer(_series([[LAST - 1.5, "1"]])), "hours that were not asked for"),
        (_answer(_series([[1e308, "1"]])), "hours that were not asked for"),
        (_answer(_series([[LAST, "1"]], bin="3")), "bins that the model does not have"),
        (_answer(_series([[LAST, "1"]], quantity="more")), "bins that the model does not have"),
        (_answer(*[_series([])] * 2001), "something else than its API does"),
        (_answer(_series([[LAST, "1"]] * 3000)), "something else than its API does"),
        (_answer(_series([[LAST, "1" * 2000]])), "something else than its API does"),
        (_answer(status="error"), "something else than its API does"),
        (b"<html>", "something else than its API does"),
        (b"[" * 100_000, "something else than its API does"),
        (b"\xff\xfe", "something else than its API does"),
        (_compressed, "compressed, which was not asked for"),
        (_endless, "more than 1,000,000 bytes"),
        (_elsewhere, "answers HTTP 302"),
        (_refused, r"HTTP 400: no such \[31mquery"),
    ],
)
def test_what_no_prometheus_says_is_refused_in_a_line(
    answer: bytes | Answers, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_MAX_BYTES", 1_000_000)
    answers: Answers = answer if callable(answer) else lambda *_: answer
    with serving(answers) as address, pytest.raises(UserError, match=told) as caught:
        _served(address)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_server_that_dawdles_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_SECONDS", 0.2)

    def dawdle(path: str, query: dict[str, str], handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            stop.wait(0.05)

    stop = Event()
    with serving(dawdle) as address:
        with pytest.raises(UserError, match=r"too slowly|cannot be reached"):
            _served(address)
        stop.set()


@pytest.mark.parametrize(
    ("versions", "told"),
    [((), "it has no brain_tumor_drift_images_total at all"), (("3", "12"), "of version 12, 3")],
)
def test_a_version_that_nobody_counted(versions: tuple[str, ...], told: str) -> None:
    def answer(path: str, query: dict[str, str], handler: Any) -> bytes:
        if path.endswith("query_range"):
            return _answer()
        found = [{"metric": {"version": version}, "value": [1, "9"]} for version in versions]
        return json.dumps(
            {"status": "success", "data": {"resultType": "vector", "result": found}}
        ).encode()

    with serving(answer) as address, pytest.raises(UserError, match=told):
        _served(address)


@pytest.mark.parametrize(
    "address",
    [
        "prometheus:9090",
        "ftp://prometheus",
        "http://",
        "http://a:0",
        "http://a?b=c",
        "http://user:word@prometheus",
    ],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UserError, match="prometheus: ") as caught:
        Prometheus(address)
    if "word" in address:
        assert "word" not in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(UserError, match=r"cannot be reached: nothing answers there \(conn"):
        _served("http://127.0.0.1:1")


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match=r"^http://prom cannot be reached: Name or service not"):
        _served("http://prom")
