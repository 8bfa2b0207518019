"""What a real KFP was asked and answered, as JSON: recorded from one, replayed in its place.

`make cluster-test` asks a real KFP the same again and compares, so that neither drifts apart.
"""

import email
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3

RECORDED = Path(__file__).with_name("recorded")
API = "/apis/v2beta1"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# The package, lines of KFP's own code, and what an installation adds.
LEFT_OUT = {"pipeline_spec", "error_details", "plugins_output"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A request that a server got.

    Attributes:
        target: Path and query.
        data: The body.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    data: bytes

    @property
    def path(self) -> str:
        """The path alone."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, Any]:
        """What the query sets."""
        given = parse_qsl(urlsplit(self.target).query)
        return {key: _parsed(value) for key, value in sorted(given)}

    @property
    def package(self) -> str:
        """The uploaded package; empty where none is."""
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return ""
        message = email.message_from_bytes(f"Content-Type: {kind}\n\n".encode() + self.data)
        (part,) = message.get_payload()
        assert part.get_param("name", header="content-disposition") == "uploadfile"
        return str(part.get_payload(decode=True).decode())

    @property
    def body(self) -> Any:
        """The JSON in it; not a package, which is another in each revision."""
        return "the package" if self.package else _parsed(self.data.decode())

    def as_json(self) -> Json:
        """Returns what is recorded."""
        asked = {"method": self.method, "path": self.path, "query": self.query, "body": self.body}
        return {key: value for key, value in asked.items() if value}


@dataclass(frozen=True)
class Answer:
    """An answer of a server."""

    status: int
    body: bytes
    kind: str = "application/json"
    location: str = ""

    def as_json(self) -> Json:
        """Returns what is recorded."""
        return {"status": self.status, "type": self.kind, "body": _parsed(self.body.decode())}

    @classmethod
    def of(cls, recorded: Json) -> "Answer":
        """Returns a recorded one."""
        body = recorded["body"]
        text = body if isinstance(body, str) else json.dumps(body)
        return cls(recorded["status"], text.encode(), recorded["type"])


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that go away."""


@contextmanager
def serving(
    answer: Callable[[Request], Answer], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Yields the address of a server for as long as it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told = answer(Request(self.command, self.path, self.headers, data))
            self.send_response(told.status)
            self.send_header("Content-Type", told.kind)
            self.send_header("Content-Length", str(len(told.body)))
            if told.location:
                self.send_header("Location", told.location)
            self.end_headers()
            self.wfile.write(told.body)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Replay:
    """A KFP that answers what was recorded, to who asks what was recorded, in that order.

    Args:
        exchanges: What was recorded.
        texts: Texts of today, and what was recorded in their place.
        path: Behind its server's address.

    Attributes:
        requests: What it was asked.
        unlike: Requests that were not recorded, each beside what was.
        left: Exchanges that have not come yet.
    """

    def __init__(self, exchanges: list[Json], texts: dict[str, str], path: str = "") -> None:
        self.requests: list[Request] = []
        self.unlike: list[tuple[Json, Json | None]] = []
        self.left = list(exchanges)
        self._texts = texts
        self._path = path

    def __call__(self, request: Request) -> Answer:
        """Answers a request."""
        self.requests.append(request)
        exchange = self.left.pop(0) if self.left else None
        asked = _replaced(request.as_json(), self._texts)
        asked["path"] = asked["path"].removeprefix(self._path)
        if not exchange or asked != exchange["request"]:
            self.unlike.append((asked, exchange and exchange["request"]))
            return Answer(500, b'{"message": "that was not recorded"}')
        return Answer.of(exchange["answer"])

    def posted(self, path: str) -> list[Request]:
        """The requests that make things of a kind."""
        return [r for r in self.requests if r.method == "POST" and r.path.endswith(API + path)]


def recorded(kind: str, scenario: str) -> list[Json]:
    """Returns the exchanges of a scenario with a kind of KFP."""
    exchanges: list[Json] = json.loads((RECORDED / kind / f"{scenario}.json").read_text())
    return exchanges


def record(kind: str, scenario: str, exchanges: list[Json]) -> None:
    """Writes the exchanges of a scenario with a kind of KFP."""
    path = RECORDED / kind / f"{scenario}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(exchanges, indent=1, ensure_ascii=False) + "\n")


class Recorder:
    """Stands before a real KFP and writes down what passes.

    Args:
        endpoint: Of the real one.
        texts: Texts of this recording, and what is written in their place.
        race: Whether another makes each thing just before it is made.
    """

    def __init__(self, endpoint: str, texts: dict[str, str], race: bool = False) -> None:
        self._endpoint = endpoint
        self._texts = texts
        self._race = race
        self._passed: list[tuple[Request, Answer]] = []

    def __call__(self, request: Request) -> Answer:
        """Passes a request on."""
        if self._race and request.method == "POST" and not request.path.endswith("/runs"):
            self._ask(request)
        answer = self._ask(request)
        self._passed.append((request, answer))
        return answer

    @property
    def exchanges(self) -> list[Json]:
        """What passed, with ids, names and times that are the same in each recording."""
        passed = [{"request": r.as_json(), "answer": a.as_json()} for r, a in self._passed]
        text = json.dumps(_replaced(_without(passed), self._texts))
        for number, found in enumerate(dict.fromkeys(UUID.findall(text)), 1):
            text = text.replace(found, f"00000000-0000-0000-0000-{number:012}")
        same: list[Json] = json.loads(TIME.sub("2026-01-01T00:00:00Z", text))
        return same

    def _ask(self, request: Request) -> Answer:
        passed_on = {"content-type", "authorization"}
        headers = {key: value for key, value in request.headers.items() if key.lower() in passed_on}
        headers["Connection"] = "close"
        found = urllib3.request(
            request.method,
            self._endpoint + request.target,
            body=request.data,
            headers=headers,
            redirect=False,
            timeout=60,
        )
        kind = found.headers.get("Content-Type", "")
        return Answer(found.status, found.data, kind, found.headers.get("Location", ""))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _replaced(value: Any, texts: dict[str, str]) -> Any:
    written = json.dumps(value, ensure_ascii=False)
    for text, instead in texts.items():
        written = written.replace(text, instead)
    return json.loads(written)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(entry) for key, entry in value.items() if key not in LEFT_OUT}
    return [_without(entry) for entry in value] if isinstance(value, list) else value
