"""What hostile and what ordinary clients do below HTTP's requests, over real sockets."""

import base64
import http.client
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

PREDICT = "/v1/models/brain-tumor:predict"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 2**20
MANY = 120  # images whose answer is more than a socket takes


def _file() -> bytes:
    file = io.BytesIO()
    Image.new("L", (30, 30), 204).save(file, "PNG")
    return file.getvalue()


FILE = _file()


def _head(*lines: str, path: str = PREDICT) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *lines, "", "")).encode("latin-1")


def _connect(server: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def _answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, Any]]]:
    """Reads that many answers, or fewer where the server closes."""
    found = []
    with connection.makefile("rb") as file:
        for _ in range(count):
            try:
                status = file.readline()
                headers = http.client.parse_headers(file)
                body = file.read(int(headers["content-length"] or 0))
            except ConnectionError:
                break
            if not status:
                break
            found.append((int(status.split()[1]), json.loads(body)))
    return found


def _closed(connection: socket.socket) -> bool:
    """Waits until the server closes."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def _still_answers(server: Any) -> None:
    answer = httpx.post(
        server.url + PREDICT, content=FILE, headers={"Content-Type": "image/png"}, timeout=30
    )
    assert answer.status_code == 200


# Row 7: a number in a header.


@pytest.mark.parametrize("digits", ["9" * 5000, "0" * 5000 + "5", "-1", "+1", "0x1", "1_0", "٣"])
@pytest.mark.parametrize("header", ["Content-Length", "Inference-Header-Content-Length"])
def test_a_header_that_is_no_usable_number(predictor: Any, header: str, digits: str) -> None:
    head = f"POST /v2/models/brain-tumor/infer HTTP/1.1\r\nHost: x\r\n{header}: {digits}\r\n"
    if header != "Content-Length":
        head += "Content-Length: 2\r\n"
    with _connect(predictor) as connection:
        connection.sendall(head.encode() + b"\r\n{}")
        ((status, said),) = _answers(connection, 1)
    assert status == 400
    assert said["error"]
    assert "Traceback" not in predictor.log.read_text()


# Row 8: an upgrade that is asked for.


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    "asked",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Key: x"),
        ("Connection: upgrade", "Upgrade: TLS/1.0"),
    ],
)
def test_an_upgrade_is_ignored_and_the_body_read(
    predictor: Any, asked: tuple[str, ...], whole: bool, chunked: bool
) -> None:
    inner = FILE + LIVE  # what a body holds is no request
    if chunked:
        lines = (*asked, "Content-Type: image/png", "Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (inner[:9], inner[9:]))
        body += b"0\r\n\r\n"
    else:
        lines = (*asked, "Content-Type: image/png", f"Content-Length: {len(inner)}")
        body = inner
    sent = _head(*lines) + body + LIVE
    with _connect(predictor) as connection:
        for part in (sent,) if whole else (sent[i : i + 7] for i in range(0, len(sent), 7)):
            connection.sendall(part)
        answers = _answers(connection, 2)
        connection.sendall(LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers += _answers(connection, 2)
    assert [status for status, _ in answers] == [200, 200, 200]
    assert answers[0][1]["predictions"][0]["probabilities"]["Healthy"] == pytest.approx(
        0.8, abs=1e-5
    )
    assert answers[1][1] == answers[2][1] == {"live": True}


def test_it_is_no_proxy(predictor: Any) -> None:
    with _connect(predictor) as connection:
        connection.sendall(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE)
        ((status, said),) = _answers(connection, 2)
    assert (status, said) == (400, {"error": "this server is not a proxy"})


# Row 1: heads and trailers without end.


def _endless(kind: str) -> Iterator[bytes]:
    filler = b"a" * 8192
    chunked = _head("Transfer-Encoding: chunked")
    yield {
        "url": b"GET /",
        "name": LIVE[:-2],
        "value": LIVE[:-2] + b"X: ",
        "headers": LIVE[:-2],
        "trailer": chunked + b"1\r\na\r\n0\r\nX: ",
        "trailers": chunked + b"1\r\na\r\n0\r\n",
        "extension": chunked + b"1;",
        "after an upgrade": _head("Connection: upgrade", "Upgrade: h2c")[:-2] + b"X: ",
        "empty lines": b"",
    }[kind]
    filler = {"headers": b"X: y\r\n", "trailers": b"X: y\r\n", "empty lines": b"\r\n"}.get(
        kind, filler
    )
    while True:
        yield filler * (8192 // len(filler))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("url", 414),
        ("name", 431),
        ("value", 431),
        ("headers", 431),
        ("trailer", 431),
        ("trailers", 431),
        ("extension", 431),
        ("after an upgrade", 431),
        ("empty lines", 431),
    ],
)
def test_what_has_no_end_is_refused_soon(predictor: Any, kind: str, status: int) -> None:
    before, sent = predictor.resident_bytes(), 0
    with _connect(predictor) as connection:
        try:
            for part in _endless(kind):
                connection.sendall(part)
                sent += len(part)
                assert sent < 64 * MIB, "nothing bounds it"
        except (BrokenPipeError, ConnectionResetError):
            pass
        answers = _answers(connection, 1)
    assert [code for code, _ in answers] == [status]
    assert predictor.resident_bytes() - before < 8 * MIB
    _still_answers(predictor)


def test_what_is_long_but_ends_is_read(predictor: Any) -> None:
    # 60 KiB in one header, a URL of 7 KiB, and as much around the chunks of a body.
    chunks = b"".join(b"%x;%s\r\n%c\r\n" % (1, b"e" * 200, byte) for byte in FILE * 20)
    sent = _head(
        "Content-Type: image/png",
        "Transfer-Encoding: chunked",
        "X: " + "a" * 50_000,
        path=PREDICT + "?" + "b" * 7000,
    )
    with _connect(predictor) as connection:
        connection.sendall(sent + chunks + b"0\r\nX: y\r\n\r\n" + LIVE)
        answers = _answers(connection, 2)
    assert [status for status, _ in answers] == [200, 200]


def test_a_trailer_is_no_header(predictor: Any) -> None:
    sent = _head("Content-Type: image/png", "Transfer-Encoding: chunked")
    body = b"%x\r\n%s\r\n0\r\nContent-Type: application/json\r\n\r\n" % (len(FILE), FILE)
    with _connect(predictor) as connection:
        connection.sendall(sent + body)
        ((status, _),) = _answers(connection, 1)
    assert status == 200


def test_pipelined_requests_are_answered_in_order_and_bounded(predictor: Any) -> None:
    with _connect(predictor) as connection:
        connection.sendall(LIVE * 10)
        assert [status for status, _ in _answers(connection, 10)] == [200] * 10
    before, sent = predictor.resident_bytes(), 0
    with _connect(predictor) as connection:
        try:
            while sent < 64 * MIB:
                connection.sendall(LIVE * 1000)
                sent += len(LIVE) * 1000
        except (BrokenPipeError, ConnectionResetError):
            pass
        answers = _answers(connection, 100)
    assert sent < 64 * MIB
    assert all(status == 200 for status, _ in answers)
    assert predictor.resident_bytes() - before < 8 * MIB


@pytest.mark.parametrize(
    "sent",
    [b"hello\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x00", b"\x00" * 9],
)
def test_what_is_no_http_is_told_so(predictor: Any, sent: bytes) -> None:
    with _connect(predictor) as connection:
        connection.sendall(sent)
        assert _answers(connection, 1) == [(400, {"error": "the request is not HTTP/1.1"})]


def test_what_follows_a_request_and_is_no_http_spoils_no_answer(predictor: Any) -> None:
    sent = _head("Content-Type: image/png", f"Content-Length: {len(FILE)}") + FILE
    with _connect(predictor) as connection:
        connection.sendall(sent + b"rubbish\r\n\r\n")
        ((status, said),) = _answers(connection, 2)
    assert status == 200
    assert said["predictions"]


# Row 6: time, and how many.


@pytest.fixture(scope="module")
def hasty(start: Callable[..., Any]) -> Iterator[Any]:
    with start(
        head_seconds=1,
        keep_alive_seconds=1,
        body_seconds=1,
        write_seconds=1,
        max_connections=20,
        max_instances=MANY,
    ) as server:
        yield server


@pytest.mark.parametrize("sent", [b"", LIVE[:20], LIVE, LIVE + b"\r\n", LIVE + LIVE[:5]])
def test_an_idle_or_slow_client_is_closed(hasty: Any, sent: bytes) -> None:
    with _connect(hasty) as connection:
        connection.sendall(sent)
        if LIVE in sent:
            assert [status for status, _ in _answers(connection, 1)] == [200]
        assert _closed(connection)


@pytest.mark.parametrize("sent", [LIVE[:20], LIVE, b"\r\n", _head("Content-Length: 99", path="/")])
def test_a_client_that_sends_a_byte_now_and_then_is_closed(hasty: Any, sent: bytes) -> None:
    more = b"\r\n" if sent in (LIVE, b"\r\n") else b"a"
    with _connect(hasty) as connection:
        connection.sendall(sent)
        with pytest.raises(ConnectionError):
            _dribble(connection, more)


def _dribble(connection: socket.socket, more: bytes) -> None:
    connection.settimeout(0.1)
    while True:
        connection.sendall(more)
        try:
            if connection.recv(2**16) == b"":
                raise ConnectionResetError
        except TimeoutError:
            pass


def test_idle_connections_make_room(hasty: Any) -> None:
    idle = [_connect(hasty) for _ in range(60)]
    for connection in idle[::2]:
        connection.sendall(LIVE[:10])
    for _ in range(10):
        _still_answers(hasty)
    for connection in idle:
        connection.close()


# Row 5: answers that nobody reads.


def _cut_off(server: Any) -> int:
    said = httpx.get(server.url + "/metrics").text
    found = re.search(r'^brain_tumor_rejected_total{reason="unread"} (\d+)', said, re.MULTILINE)
    return int(found[1]) if found else 0


def _ask_for_much(server: Any) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    noise = io.BytesIO()
    Image.effect_noise((150, 150), 90).save(noise, "PNG")
    instance = {"b64": base64.b64encode(noise.getvalue()).decode()}
    body = json.dumps({"instances": [instance] * MANY}).encode()
    path = "/v1/models/brain-tumor:explain"
    connection.sendall(_head(f"Content-Length: {len(body)}", path=path) + body)
    return connection


def test_an_answer_that_is_not_read_is_given_up(hasty: Any) -> None:
    unread = [_ask_for_much(hasty) for _ in range(2)]
    while _cut_off(hasty) < len(unread):
        time.sleep(0.1)
    for connection in unread:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()
    _still_answers(hasty)


def test_answers_that_are_not_read_are_bounded_together(start: Callable[..., Any]) -> None:
    most = 12 * MIB  # two requests, but not their answers
    with start(max_instances=MANY, max_held_bytes=most, write_seconds=600) as server:
        unread = [_ask_for_much(server) for _ in range(2)]
        while _cut_off(server) < 1:  # long before their time is over
            time.sleep(0.1)
        for connection in unread:
            connection.close()
        _still_answers(server)


def test_a_slow_reader_gets_its_answer(hasty: Any) -> None:
    with _ask_for_much(hasty) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        pieces = []
        for pause in [0.5] * 5 + [0.0] * 10_000:
            time.sleep(pause)
            pieces.append(answer.read(64 * 2**10))
            if not pieces[-1]:
                break
    assert len(json.loads(b"".join(pieces))["predictions"]) == MANY


@pytest.mark.parametrize("field", ["id", "name", "datatype", "output"])
def test_no_answer_repeats_much_of_a_request(predictor: Any, field: str) -> None:
    much = "x" * MIB
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}
    request: dict[str, Any] = {"inputs": [tensor]}
    if field in ("name", "datatype"):
        tensor[field] = much
    elif field == "id":
        request["id"] = much
    else:
        tensor |= {"name": "images", "datatype": "UINT8", "shape": [1, 150, 150, 3]}
        tensor["data"] = [0] * 67_500
        request["outputs"] = [{"name": much}]
    answer = httpx.post(predictor.url + "/v2/models/brain-tumor/infer", json=request)
    assert answer.status_code == 400
    assert len(answer.content) < 1000
