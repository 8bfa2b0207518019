"""An HTTP server that speaks Kubeflow Model Registry's REST API for what a registration needs.

Registered models, model versions and model artifacts, kept in memory, with the checks that the
real server makes: required fields, unique names, parents that exist. Errors are `{code, message}`.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = "/api/model_registry/v1"

Resource = dict[str, Any]


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ModelRegistryServer(ThreadingHTTPServer):
    """The server and what it holds.

    Attributes:
        models: Registered models.
        versions: Model versions; `registeredModelId` names the parent.
        artifacts: Model artifacts by the id of their version.
        token: The bearer token that requests need; empty for none.
        faults: Statuses by path: what is answered there instead.
        delay: Seconds before every answer.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: list[Resource] = []
        self.versions: list[Resource] = []
        self.artifacts: dict[str, list[Resource]] = {}
        self.token = ""
        self.faults: dict[str, int] = {}
        self.delay = 0.0
        self.ids = itertools.count(1)
        self.lock = threading.Lock()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, query: dict[str, str], body: Resource) -> Any:
        """Returns status and content of an answer."""
        if path in self.faults:
            raise ApiError(self.faults[path], "a fault")
        with self.lock:
            match method, path:
                case "GET", "/registered_models":
                    return 200, _page(self.models)
                case "GET", "/registered_model":
                    return 200, _found(self.models, name=query["name"])
                case "POST", "/registered_models":
                    return 201, self._create(self.models, body, ("name",), ("name",))
                case "GET", "/model_version":
                    parent = query["parentResourceId"]
                    named = {"name": query["name"], "registeredModelId": parent}
                    return 200, _found(self.versions, **named)
                case "POST", "/model_versions":
                    needed = ("name", "registeredModelId")
                    if "registeredModelId" in body:
                        _found(self.models, id=body["registeredModelId"])
                    return 201, self._create(self.versions, body, needed, needed)
                case _, _ if found := re.fullmatch(r"/model_versions/(\d+)/artifacts", path):
                    _found(self.versions, id=found[1])
                    artifacts = self.artifacts.setdefault(found[1], [])
                    if method == "GET":
                        return 200, _page(artifacts)
                    return 201, self._create(artifacts, body, ("artifactType",), ("name",))
        raise ApiError(404, f"no such path: {method} {path}")

    def _create(
        self, kept: list[Resource], body: Resource, needed: tuple[str, ...], unique: tuple[str, ...]
    ) -> Resource:
        missing = [name for name in needed if not body.get(name)]
        if missing or "id" in body:
            raise ApiError(400, f"bad request: {missing or 'id'}")
        for value in (body.get("customProperties") or {}).values():
            (kind,) = (name for name in value if name != "metadataType")
            if value["metadataType"] != f"Metadata{kind.removesuffix('_value').capitalize()}Value":
                raise ApiError(400, f"bad property: {value}")
        if any(all(other.get(n) == body.get(n) for n in unique) for other in kept):
            raise ApiError(409, "already exists")
        now = str(time.time_ns() // 1_000_000)
        times = {"createTimeSinceEpoch": now, "lastUpdateTimeSinceEpoch": now}
        kept.append({"state": "LIVE"} | body | times | {"id": str(next(self.ids))})
        return kept[-1]


class _Handler(BaseHTTPRequestHandler):
    server: ModelRegistryServer

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.server.delay)
        try:
            expected = f"Bearer {self.server.token}" if self.server.token else None
            if expected and self.headers["Authorization"] != expected:
                raise ApiError(401, "no token")
            if not url.path.startswith(ROOT):
                raise ApiError(404, "another API")
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            path = url.path.removeprefix(ROOT)
            status, content = self.server.answer(method, path, query, json.loads(body or "{}"))
        except ApiError as error:
            status, content = error.status, {"code": str(error.status), "message": str(error)}
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with suppress(BrokenPipeError):  # of a client that waited long enough
            self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""


@contextmanager
def running() -> Iterator[ModelRegistryServer]:
    """Runs a server in a thread."""
    with ModelRegistryServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _page(items: list[Resource]) -> Resource:
    return {"items": items, "size": len(items), "pageSize": len(items), "nextPageToken": ""}


def _found(kept: list[Resource], **wanted: str) -> Resource:
    for resource in kept:
        if all(resource.get(name) == value for name, value in wanted.items()):
            return resource
    raise ApiError(404, f"not found: {wanted}")
