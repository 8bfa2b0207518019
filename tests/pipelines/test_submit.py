"""Submitting to a server that answers as KFP's API does."""

import email
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from components.errors import UserError
from pipelines import submit as submitting
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from pipelines.submit import Submission, submit
from pipelines.version import version_name

NAME = Pipeline.training.kfp_name
REVISION = "0123456789ab"
PREFIX = "/apis/v2beta1"
Answer = tuple[int, Any]


class Kfp(ThreadingHTTPServer):
    """Pipelines, versions, experiments and runs in memory, behind a token if one is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = ""
        self.path = ""
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.packages: list[str] = []
        self.answer_anything: tuple[int, str, bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{self.path}"

    def get(self, path: str, query: dict[str, str]) -> Answer:
        if path == "/pipelines":
            return 200, {"pipelines": self._found(self.pipelines, query)}
        if path.endswith("/versions"):
            mine = [v for v in self.versions if v["pipeline_id"] == path.split("/")[2]]
            start = int(query.get("page_token") or 0)
            page = {"pipeline_versions": mine[start : start + 2]}
            if start + 2 < len(mine):
                page["next_page_token"] = str(start + 2)
            return 200, page
        if path == "/experiments":
            return 200, {"experiments": self._found(self.experiments, query)}
        return 404, {"message": "no such thing"}

    def post(self, path: str, query: dict[str, str], body: Any) -> Answer:
        if path == "/pipelines/upload":
            space = query.get("namespace", "")
            if any((p["display_name"], p["namespace"]) == (query["name"], space)
                   for p in self.pipelines):  # fmt: skip
                return 409, {"message": f"Already exists: {query['name']}"}
            pipeline = self._made(self.pipelines, "pipeline", query["name"], space)
            self.packages.append(body)
            self._made(self.versions, "pipeline_version", query["name"], **pipeline)
            return 200, pipeline
        if path == "/pipelines/upload_version":
            self.packages.append(body)
            owner = {"pipeline_id": query["pipelineid"]}
            return 200, self._made(self.versions, "pipeline_version", query["name"], **owner)
        if path == "/experiments":
            space = body.get("namespace", "")
            return 200, self._made(self.experiments, "experiment", body["display_name"], space)
        if path == "/runs":
            self.runs.append(body)
            return 200, body | {"run_id": f"run-{len(self.runs)}"}
        return 404, {"message": "no such thing"}

    @staticmethod
    def _found(things: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        (predicate,) = json.loads(query["filter"])["predicates"]
        assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
        wanted = predicate["stringValue"], query.get("namespace", "")
        return [t for t in things if (t["display_name"], t["namespace"]) == wanted]

    @staticmethod
    def _made(
        things: list[dict[str, Any]], kind: str, name: str, namespace: str = "", **more: str
    ) -> dict[str, Any]:
        thing = more | {
            f"{kind}_id": f"{kind}-{len(things) + 1}",
            "display_name": name,
            "namespace": namespace,
        }
        things.append(thing)
        return thing


class _Handler(BaseHTTPRequestHandler):
    server: Kfp

    def do_GET(self) -> None:
        self._answer(lambda path, query: self.server.get(path, query))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers["Content-Type"]
        if kind.startswith("multipart/form-data"):
            message = email.message_from_bytes(f"Content-Type: {kind}\n\n".encode() + data)
            (part,) = message.get_payload()
            assert part.get_param("name", header="content-disposition") == "uploadfile"
            body = part.get_payload(decode=True).decode()
        else:
            body = json.loads(data)
        self._answer(lambda path, query: self.server.post(path, query, body))

    def _answer(self, answer: Any) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        kind, content = "application/json", b""
        if self.server.answer_anything:
            status, kind, content = self.server.answer_anything
        elif self.server.token and (self.headers["Authorization"] != f"Bearer {self.server.token}"):
            status, content = 401, b'{"error":"Unauthenticated","message":"token not\\n known"}'
        elif not url.path.startswith(self.server.path + PREFIX):
            status, kind, content = 404, "text/html", b"<html>not found</html>"
        else:
            status, found = answer(url.path.removeprefix(self.server.path + PREFIX), query)
            content = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kfp() -> Iterator[Kfp]:
    server = Kfp()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "git_revision", lambda: REVISION)


def _submit(kfp: Kfp, cluster: Cluster | None = None, **changed: Any) -> Submission:
    arguments = {
        "pipeline": Pipeline.training,
        "endpoint": kfp.url,
        "token": "",
        "namespace": "",
        "experiment": "brain-tumor",
        "run_name": "",
        "parameters": {},
    }
    return submit(**arguments | changed, cluster=cluster or Cluster())


def test_the_first_time_everything_is_made(kfp: Kfp) -> None:
    done = _submit(kfp)
    assert [pipeline["display_name"] for pipeline in kfp.pipelines] == [NAME]
    assert done.version == REVISION
    version = next(v for v in kfp.versions if v["display_name"] == REVISION)
    assert (done.pipeline_id, done.version_id) == ("pipeline-1", version["pipeline_version_id"])
    spec, platform = yaml.safe_load_all(kfp.packages[-1])
    assert spec["pipelineInfo"]["name"] == NAME
    assert platform["platforms"]
    (run,) = kfp.runs
    assert done.run_id == "run-1"
    assert run["display_name"] == f"{NAME} {REVISION}"
    assert run["experiment_id"] == "experiment-1"
    assert run["pipeline_version_reference"] == {
        "pipeline_id": done.pipeline_id,
        "pipeline_version_id": done.version_id,
    }


def test_the_second_time_only_a_run_is_made(kfp: Kfp) -> None:
    first = _submit(kfp)
    uploads = len(kfp.packages)
    second = _submit(kfp)
    assert len(kfp.packages) == uploads
    assert len(kfp.pipelines) == len(kfp.experiments) == 1
    assert second.version_id == first.version_id
    assert second.run_id != first.run_id


def test_a_new_revision_is_a_new_version(kfp: Kfp, monkeypatch: pytest.MonkeyPatch) -> None:
    revisions = [f"{number:012x}" for number in range(5)]
    for revision in revisions:
        monkeypatch.setattr(submitting, "git_revision", lambda revision=revision: revision)
        _submit(kfp)
    assert [v["display_name"] for v in kfp.versions] == [NAME, *revisions]
    uploads = len(kfp.packages)
    _submit(kfp)  # the last stands on the last of three pages
    assert len(kfp.packages) == uploads


def test_parameters_keep_their_types(kfp: Kfp) -> None:
    parameters = {
        "epochs": 20,
        "min_accuracy": 0.8,
        "source": "kaggle://a/b",
        "gpu_count": "2",
        "gpu_node_selector": {"zone": "a"},
        "gpu_tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    _submit(kfp, parameters=parameters)
    assert kfp.runs[0]["runtime_config"]["parameters"] == parameters | {"git_revision": REVISION}


def test_names_are_settable(kfp: Kfp) -> None:
    _submit(kfp, experiment="mine", run_name="the third")
    assert kfp.experiments[0]["display_name"] == "mine"
    assert kfp.runs[0]["display_name"] == "the third"


def test_each_pipeline_has_versions_of_its_own(kfp: Kfp) -> None:
    _submit(kfp)
    done = _submit(kfp, pipeline=Pipeline.cross_validation, parameters={"folds": 3})
    assert [p["display_name"] for p in kfp.pipelines] == [p.kfp_name for p in Pipeline]
    assert done.pipeline_id == "pipeline-2"
    assert next(yaml.safe_load_all(kfp.packages[-1]))["pipelineInfo"]["name"].endswith("validation")
    run = kfp.runs[-1]
    assert run["runtime_config"]["parameters"] == {"folds": 3, "git_revision": REVISION}
    assert run["display_name"] == f"{Pipeline.cross_validation.kfp_name} {REVISION}"


def test_a_namespace_of_ones_own(kfp: Kfp) -> None:
    _submit(kfp)  # the shared pipeline is another
    first = _submit(kfp, namespace="alice")
    second = _submit(kfp, namespace="alice")
    assert [pipeline["namespace"] for pipeline in kfp.pipelines] == ["", "alice"]
    assert [experiment["namespace"] for experiment in kfp.experiments] == ["", "alice"]
    assert first.version_id == second.version_id


def test_caching_can_be_off(kfp: Kfp) -> None:
    done = _submit(kfp, Cluster(caching=False))
    assert "enableCache: true" not in kfp.packages[-1]
    assert done.version != REVISION


def test_an_endpoint_with_a_path(kfp: Kfp) -> None:
    kfp.path = "/pipeline"
    assert _submit(kfp, endpoint=kfp.url + "/").run_id == "run-1"


def test_a_token(kfp: Kfp) -> None:
    kfp.token = "secret-word"
    assert _submit(kfp, token="secret-word").run_id == "run-1"


def _told(kfp: Kfp, **changed: Any) -> str:
    with pytest.raises(UserError) as error:
        _submit(kfp, **changed)
    line = str(error.value)
    assert "\n" not in line
    assert not kfp.runs
    return line


def test_a_wrong_token(kfp: Kfp) -> None:
    kfp.token = "secret-word"
    line = _told(kfp, token="wrong-word")
    assert f"KFP at {kfp.url} refused with HTTP 401: token not known" in line
    assert "--token" in line
    assert "wrong-word" not in line


@pytest.mark.parametrize("status", [403, 502])
def test_a_proxy_that_refuses_with_a_page(kfp: Kfp, status: int) -> None:
    kfp.answer_anything = status, "text/html", b"<html>\n<h1>no</h1></html>"
    line = _told(kfp)
    assert f"refused with HTTP {status}" in line
    assert "<" not in line


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/html", b"<html>please log in</html>"),
        ("application/json", b"<html>please log in</html>"),
        ("application/json", b""),
        ("application/json", b'{"hello": "world"}'),
        ("application/json", b"[1, 2]"),
        ("application/octet-stream", b"\xff\xfe\x00"),
    ],
)
def test_another_server_answers(kfp: Kfp, kind: str, content: bytes) -> None:
    kfp.answer_anything = 200, kind, content
    assert "gave an answer that is not of KFP's API" in _told(kfp)


def test_nobody_answers(kfp: Kfp) -> None:
    with pytest.raises(UserError, match=r"cannot be reached: .*Connection refused; check") as e:
        _submit(kfp, endpoint="http://127.0.0.1:9")
    assert "\n" not in str(e.value)


def test_a_server_that_never_answers(kfp: Kfp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "TIMEOUT", (0.05, 0.05))
    monkeypatch.setattr(kfp, "get", lambda *_: threading.Event().wait(1) or (200, {}))
    with pytest.raises(UserError, match=r"cannot be reached: .*timed out"):
        _submit(kfp)


def test_the_account_of_the_steps(kfp: Kfp) -> None:
    _submit(kfp)
    _submit(kfp, service_account="brain-tumor-pipeline")
    assert [run.get("service_account") for run in kfp.runs] == [None, "brain-tumor-pipeline"]


@pytest.mark.parametrize(
    "endpoint", ["", "localhost:8080", "ftp://x", "http://", "http://x:99999", "http://x/?a=1"]
)
def test_an_endpoint_that_is_none(kfp: Kfp, endpoint: str) -> None:
    assert _told(kfp, endpoint=endpoint).startswith("--endpoint: ")


def test_a_version_is_named_by_the_revision_where_that_says_all() -> None:
    assert version_name("abc", "package", Cluster()) == "abc"


def test_a_name_never_stands_for_two_packages() -> None:
    other = Cluster(image="other")
    names = {
        version_name("abc", "one", Cluster()),
        version_name("abc-dirty", "one", Cluster()),
        version_name("abc-dirty", "two", Cluster()),
        version_name("abc", "three", other),
        version_name("abc", "four", other),
    }
    assert len(names) == 5
    assert version_name("abc", "three", other) == version_name("abc", "three", other)
    assert all(name.startswith("abc") for name in names)
