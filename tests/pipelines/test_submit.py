"""Submitting to a server that answers what a real KFP answered."""

import functools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from components.shared.errors import UserError
from pipelines import compile as compiling
from pipelines import submit as submitting
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from pipelines.submit import Submission, submit
from pipelines.version import version_name
from tests.pipelines.exchanges import Answer, Json, Replay, Request, recorded, serving
from tests.pipelines.scenarios import (
    DATABASE,
    MET,
    MULTI_USER,
    REVISION,
    SAME,
    SCENARIOS,
    TEXTS,
    USER,
    play,
)

DRIFT = Pipeline.drift
Play = Callable[..., tuple[Submission | str, Replay]]

once_compiled = functools.cache(submitting.compiled)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "LOOK_AGAIN", 0.0)
    for module in (compiling, submitting):
        monkeypatch.setattr(module, "compiled", once_compiled)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays a scenario against its recording: what came of it, and what was asked."""

    def run(name: str, kind: str = DATABASE, path: str = "") -> tuple[Submission | str, Replay]:
        replay = Replay(recorded(kind, name), TEXTS, path)
        user = {"namespace": USER, "token": "a-token"} if kind == MULTI_USER else {}
        with serving(replay) as address:
            done = play(SCENARIOS[name], address + path, SAME, monkeypatch, **user)
        assert not replay.unlike
        assert not replay.left
        return done, replay

    return run


@pytest.mark.parametrize(("kind", "name"), MET)
def test_what_submit_makes_of_what_kfp_answers(played: Play, kind: str, name: str) -> None:
    done, _ = played(name, kind)
    if told := SCENARIOS[name].told:
        assert told in str(done)
    else:
        assert isinstance(done, Submission)
        assert done.version == REVISION


@pytest.mark.parametrize("name", ["no_namespace", "foreign_namespace", "no_token", "wrong_token"])
def test_nothing_is_made_where_the_namespace_is_refused(played: Play, name: str) -> None:
    _, kfp = played(name, MULTI_USER)
    assert [request.method for request in kfp.requests] == ["GET"]


def test_the_first_time_everything_is_made_once(played: Play) -> None:
    done, kfp = played("first")
    assert isinstance(done, Submission)
    (pipeline,) = kfp.posted("/pipelines")
    assert set(pipeline.body) == {"name", "display_name", "description", "namespace"}
    assert not kfp.posted("/pipelines/upload")
    (version,) = kfp.posted("/pipelines/upload_version")
    spec, platform = yaml.load_all(version.package, yaml.CSafeLoader)
    assert spec["pipelineInfo"]["name"] == Pipeline.training.info.name
    assert platform["platforms"]
    (run,) = kfp.posted("/runs")
    assert run.body["display_name"].endswith(REVISION)
    assert run.body["runtime_config"]["parameters"] == {"git_revision": REVISION}
    reference = run.body["pipeline_version_reference"]
    assert (done.pipeline_id, done.version_id) == tuple(reference.values())
    assert done.version == REVISION


def test_the_experiment_is_made_before_anything_is_uploaded(played: Play) -> None:
    _, kfp = played("first")
    made = [request.path.rpartition("/")[2] for request in kfp.requests if request.method == "POST"]
    assert made == ["experiments", "pipelines", "upload_version", "runs"]


def test_the_second_time_only_a_run_is_made(played: Play) -> None:
    _, kfp = played("again")
    (run,) = [request for request in kfp.requests if request.method == "POST"]
    assert run.path.endswith("/runs")


def test_what_another_has_just_made_is_used(played: Play) -> None:
    done, kfp = played("at_once")
    assert isinstance(done, Submission)
    refused = [e["answer"]["status"] for e in recorded(DATABASE, "at_once")].count(409)
    assert refused == 3, "pipeline, version and experiment"
    (run,) = kfp.posted("/runs")
    assert run.body["pipeline_version_reference"]["pipeline_version_id"] == done.version_id


@pytest.mark.parametrize("looks", [1, 3])
def test_what_another_makes_is_listed_a_moment_later(
    monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    exchanges = recorded(DATABASE, "at_once")
    refused = next(n for n, e in enumerate(exchanges) if e["answer"]["status"] == 409)
    exchanges[refused + 1 : refused + 1] = [exchanges[refused - 1]] * looks
    replay = Replay(exchanges, TEXTS)
    with serving(replay) as address:
        assert isinstance(play(SCENARIOS["at_once"], address, SAME, monkeypatch), Submission)


def test_a_refusal_of_something_else_that_looks_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges = recorded(DATABASE, "at_once")
    refused = next(n for n, e in enumerate(exchanges) if e["answer"]["status"] == 409)
    never = exchanges[: refused + 1] + [exchanges[refused - 1]] * submitting.LOOKS
    with serving(Replay(never, TEXTS)) as address:
        told = play(SCENARIOS["at_once"], address, SAME, monkeypatch)
    assert "refused with HTTP 409" in str(told)


class Willing:
    """A server that makes everything.

    Attributes:
        requests: What it was asked.
        versions: Answers a request for versions.
        recurring: Answers one for recurring runs.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.versions: Callable[[Json], Json] = lambda query: {}
        self.recurring: Callable[[Json], Json] = lambda query: {}

    def __call__(self, request: Request) -> Answer:
        """Answers a request."""
        self.requests.append(request)
        if request.method == "GET":
            lists = {"versions": self.versions, "recurringruns": self.recurring}
            find = lists.get(request.path.rpartition("/")[2])
            found = find(request.query) if find else {}
            return Answer(200, json.dumps(found).encode())
        kind = request.path.rpartition("/")[2]
        made = {"experiments": "experiment_id", "pipelines": "pipeline_id", "runs": "run_id"}
        made["recurringruns"] = "recurring_run_id"
        return Answer(200, f'{{"{made.get(kind, "pipeline_version_id")}": "1"}}'.encode())

    def body(self, kind: str) -> Json:
        """Returns what was to be made of a kind."""
        (body,) = [r.body for r in self.requests if r.method == "POST" and r.path.endswith(kind)]
        return dict(body)


def _sent(
    monkeypatch: pytest.MonkeyPatch, server: Willing | None = None, **changed: Any
) -> Willing:
    """Submits to a server that takes everything, and returns it."""
    monkeypatch.setattr(submitting, "git_revision", lambda: REVISION)
    server = server or Willing()
    arguments = {
        "pipeline": Pipeline.training,
        "token": "",
        "namespace": "",
        "experiment": "brain-tumor",
        "run_name": "",
        "parameters": {},
        "cluster": Cluster(),
    }
    with serving(server) as address:
        submit(**{"endpoint": address} | arguments | changed)
    return server


@pytest.mark.parametrize("pipeline", Pipeline)
def test_a_pipeline_is_called_what_its_definition_calls_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = _sent(monkeypatch, pipeline=pipeline)
    committed = yaml.load_all(pipeline.committed.read_text(), yaml.CSafeLoader)
    info = next(committed)["pipelineInfo"]
    assert server.body("/pipelines") == {
        "name": info["name"],
        "display_name": info["displayName"],
        "description": info["description"],
        "namespace": "",
    }
    assert server.body("/runs")["display_name"] == f"{pipeline.info.name} {REVISION}"


def test_parameters_keep_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {
        "epochs": 20,
        "min_accuracy": 0.8,
        "source": "kaggle://a/b",
        "gpu_count": "2",
        "gpu_node_selector": {"zone": "a"},
        "gpu_tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    run = _sent(monkeypatch, parameters=parameters).body("/runs")
    assert run["runtime_config"]["parameters"] == parameters | {"git_revision": REVISION}


def test_what_a_user_may_name(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _sent(
        monkeypatch,
        experiment="mine",
        run_name="the third",
        namespace="alice",
        service_account="brain-tumor-pipeline",
    )
    assert server.body("/experiments") == {"display_name": "mine", "namespace": "alice"}
    assert server.body("/pipelines")["namespace"] == "alice"
    assert server.body("/runs")["display_name"] == "the third"
    assert server.body("/runs")["service_account"] == "brain-tumor-pipeline"
    lists = [r for r in server.requests if r.method == "GET" and "versions" not in r.path]
    assert {r.query["namespace"] for r in lists} == {"alice"}
    assert "service_account" not in _sent(monkeypatch).body("/runs")


def _version(name: str, display_name: str) -> Json:
    return {"pipeline_version_id": name, "name": name, "display_name": display_name}


def test_a_version_that_kubectl_applied_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions(query: Json) -> Json:
        applied = _version(f"{Pipeline.training.info.name}-{REVISION}", REVISION)
        (wanted,) = query["filter"]["predicates"]
        found = applied[wanted["key"]] == wanted["stringValue"]
        return {"pipeline_versions": [applied]} if found else {}

    server = Willing()
    server.versions = versions
    run = _sent(monkeypatch, server).body("/runs")
    used = run["pipeline_version_reference"]["pipeline_version_id"]
    assert used == f"{Pipeline.training.info.name}-{REVISION}"
    assert not [r for r in server.requests if r.path.endswith("/upload_version")]


def test_a_version_on_a_later_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions(query: Json) -> Json:
        page = query.get("page_token", 0)
        known = [_version(str(page), str(page)), _version("x", REVISION)][page == 2]
        return {"pipeline_versions": [known], "next_page_token": str(page + 1) if page < 3 else ""}

    server = Willing()
    server.versions = versions
    run = _sent(monkeypatch, server).body("/runs")
    assert run["pipeline_version_reference"]["pipeline_version_id"] == "x"


@pytest.mark.parametrize(
    ("option", "name", "unit"),
    [
        ({"experiment": "e" * 129}, "--experiment", "129 bytes"),
        ({"experiment": "é" * 65}, "--experiment", "130 bytes"),
        ({"run_name": "r" * 256}, "--run-name", "256 characters"),
        ({"experiment": ""}, "--experiment", "not a name"),
        ({"experiment": "a\nb"}, "--experiment", "not a name"),
        ({"run_name": "a\ud800b"}, "--run-name", "not a name"),
        ({"experiment": "a🧠"}, "--experiment", "cannot store the character '🧠'"),
        ({"run_name": "a🧠"}, "--run-name", "cannot store the character '🧠'"),
        ({"parameters": {"source": "s3://🧠"}}, "source", "cannot store the character '🧠'"),
        ({"parameters": {"gpu_node_selector": {"a": "🧠"}}}, "gpu_node", "cannot store"),
        ({"namespace": "n" * 64}, "'nnn", "not the name of a namespace"),
        ({"namespace": "Alice"}, "'Alice'", "not the name of a namespace"),
    ],
)
def test_a_name_that_kfp_cannot_take_is_never_sent(
    option: dict[str, Any], name: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as error:
        _sent(monkeypatch, endpoint="http://127.0.0.1:9", **option)
    line = str(error.value)
    assert line.startswith(name)
    assert unit in line
    assert len(line) < 200


@pytest.mark.parametrize(
    "option", [{"experiment": "é" * 64}, {"run_name": "é" * 255}, {"namespace": "n" * 63}]
)
def test_the_longest_names(option: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _sent(monkeypatch, **option).body("/runs")


def test_a_version_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "version_name", lambda *_: "v" * 128)
    with pytest.raises(UserError, match=r"version vvv.* has 128 bytes"):
        _sent(monkeypatch, endpoint="http://127.0.0.1:9")


def test_the_command_prints_the_run_and_its_address_whole(
    invoke: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "git_revision", lambda: REVISION)
    with serving(Willing()) as address:
        endpoint = f"{address}/{'pipeline' * 30}"
        status, out, _ = invoke("submit", "--endpoint", endpoint)
    assert status == 0
    assert out == f"pipeline version {REVISION}, run 1\n{endpoint}/#/runs/details/1\n"


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"cannot be reached: nothing answers there .*; check") as e:
        _sent(monkeypatch, endpoint="http://127.0.0.1:9")
    assert "\n" not in str(e.value)


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "TIMEOUT", (0.05, 0.05))
    over = threading.Event()
    server = Willing()
    server.versions = lambda _: {"never": over.wait(10)}
    with pytest.raises(UserError, match=r"cannot be reached: .*timed out"):
        _sent(monkeypatch, server)
    over.set()


@pytest.mark.parametrize(
    "endpoint", ["", "localhost:8080", "ftp://x", "http://", "http://x:99999", "http://x/?a=1"]
)
def test_an_endpoint_that_is_none(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^--endpoint: "):
        _sent(monkeypatch, endpoint=endpoint)


def test_an_endpoint_with_a_path(played: Play) -> None:
    assert isinstance(played("again", path="/pipeline")[0], Submission)


def test_caching_can_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _sent(monkeypatch, cluster=Cluster(caching=False))
    (upload,) = [r for r in server.requests if r.path.endswith("/upload_version")]
    assert "enableCache: true" not in upload.package
    assert upload.query["name"].startswith(f"{REVISION}-")


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


def test_a_schedule_is_kfps_and_nothing_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _sent(monkeypatch, cron="30 6 * * 1-5", parameters={"retrain": True}, pipeline=DRIFT)
    body = server.body("/recurringruns")
    assert body["trigger"] == {"cron_schedule": {"cron": "0 30 6 * * 1-5"}}
    assert (body["mode"], body["max_concurrency"], body["no_catchup"]) == ("ENABLE", "1", True)
    assert body["display_name"] == DRIFT.info.name, "the next version's takes its place"
    assert body["runtime_config"]["parameters"] == {"retrain": True, "git_revision": REVISION}
    assert body["pipeline_version_reference"] == {"pipeline_id": "1", "pipeline_version_id": "1"}
    assert not [r for r in server.requests if r.method == "POST" and r.path.endswith("/runs")]


def test_a_schedule_replaces_those_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Willing()

    def pages(query: Json) -> Json:
        assert query["experiment_id"] == 1
        name = "other" if "page_token" in query else DRIFT.info.name
        known = {"recurring_run_id": f"of {name}", "display_name": name}
        return {"recurringRuns": [known]} | (
            {} if "page_token" in query else {"next_page_token": "next"}
        )

    server.recurring = pages
    _sent(monkeypatch, server, cron="0 6 * * 1", pipeline=DRIFT)
    deleted = [r for r in server.requests if r.method == "DELETE"]
    assert [r.path.rpartition("/")[2] for r in deleted] == [f"of%20{DRIFT.info.name}"]
    made = next(
        n
        for n, r in enumerate(server.requests)
        if r.path.endswith("/recurringruns") and r.method == "POST"
    )
    assert server.requests.index(deleted[0]) > made


@pytest.mark.parametrize("cron", ["", "0 0 6 * * 1", "@daily", "0 6 * * 1\n", "a; b c d e"])
def test_a_schedule_that_is_none_is_never_sent(cron: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cron:
        assert _sent(monkeypatch).body("/runs")
        return
    with pytest.raises(UserError, match=r"--cron: .* five fields"):
        _sent(monkeypatch, cron=cron)
