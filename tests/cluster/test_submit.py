"""Submitting to the KFP that KFP_ENDPOINT names.

Where it has many users, KFP_NAMESPACE and KFP_TOKEN are those of one of them.
"""

import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from pipelines import submit as submitting
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster as Settings
from pipelines.compile import manifest
from pipelines.submit import Submission
from tests.cluster.cluster import Cluster
from tests.pipelines.exchanges import API, Recorder, record, recorded, serving
from tests.pipelines.scenarios import (
    KUBERNETES,
    MULTI_USER,
    REVISION,
    SAME,
    SCENARIOS,
    TEXTS,
    USER,
    attempt,
    named,
    names,
    play,
)

ENDPOINT = os.environ.get("KFP_ENDPOINT", "").rstrip("/")
NAMESPACE = os.environ.get("KFP_NAMESPACE", "")
TOKEN = os.environ.get("KFP_TOKEN", "")
SYSTEM = "kubeflow"  # the namespace of KFP
pytestmark = pytest.mark.skipif(not ENDPOINT, reason="needs KFP: KFP_ENDPOINT names none")


class Kfp:
    """A real KFP, and what a test makes in it.

    Attributes:
        suffix: Of the names of what it makes.
        user: Options of submit that say who asks.
    """

    def __init__(self) -> None:
        self.suffix = uuid.uuid4().hex[:8]
        self.pipeline, self.experiment = names(self.suffix)
        self.user = {"namespace": NAMESPACE, "token": TOKEN}
        self.headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}

    @property
    def kind(self) -> str:
        """Which kind of KFP it is."""
        health = self.ask("GET", "/healthz")
        return MULTI_USER if health["multi_user"] else str(health["pipeline_store"])

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Sends one request to its API and returns the answer."""
        options = {"json": body} if body is not None else {"fields": query}
        url = ENDPOINT + API + path
        found = urllib3.request(method, url, headers=self.headers, **options)
        assert found.status == 200, f"{method} {path}: {found.data.decode()}"
        return found.json()

    def known(self, kind: str, key: str, name: str) -> list[dict[str, Any]]:
        """Returns the things of a name."""
        wanted = {"operation": "EQUALS", "key": key, "stringValue": name}
        wanted = json.dumps({"predicates": [wanted]})
        found = self.ask("GET", f"/{kind}", filter=wanted, namespace=NAMESPACE)
        return list(found.get(kind, []))

    @property
    def versions(self) -> list[dict[str, Any]]:
        """The versions of the test's pipeline."""
        (pipeline,) = self.known("pipelines", "name", self.pipeline)
        found = self.ask("GET", f"/pipelines/{pipeline['pipeline_id']}/versions")
        return list(found.get("pipeline_versions", []))

    def archive(self) -> None:
        """Archives the test's experiment."""
        (experiment,) = self.known("experiments", "display_name", self.experiment)
        self.ask("POST", f"/experiments/{experiment['experiment_id']}:archive")

    def clear(self) -> None:
        """Deletes what the test made."""
        for experiment in self.known("experiments", "display_name", self.experiment):
            ids = experiment["experiment_id"]
            for run in self.ask("GET", "/runs", experiment_id=ids).get("runs", []):
                self.ask("DELETE", f"/runs/{run['run_id']}")
            self.ask("DELETE", f"/experiments/{ids}")
        for pipeline in self.known("pipelines", "name", self.pipeline):
            self.ask("DELETE", f"/pipelines/{pipeline['pipeline_id']}", cascade="true")


@pytest.fixture
def kfp() -> Iterator[Kfp]:
    kfp = Kfp()
    yield kfp
    kfp.clear()


def apply(kfp: Kfp, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applies the test's pipeline with kubectl."""
    with named(kfp.suffix, monkeypatch):
        objects = manifest(Pipeline.training, Settings(), SYSTEM)
    cluster.kubectl("apply", "-f", "-", given=objects)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_answers_as_recorded(
    name: str, kfp: Kfp, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With RECORD=1 it writes what was answered, for tests/pipelines/test_submit.py to replay."""
    scenario, kind = SCENARIOS[name], kfp.kind
    if kind not in scenario.kinds:
        pytest.skip(f"KFP's kind is {kind}, this is of {', '.join(scenario.kinds)}")
    for step in scenario.before:
        if step == "submitted":
            done = play(SCENARIOS["first"], ENDPOINT, kfp.suffix, monkeypatch, **kfp.user)
            assert isinstance(done, Submission), done
        elif step == "archived":
            kfp.archive()
        else:
            apply(kfp, cluster, monkeypatch)
    texts = TEXTS | {kfp.suffix: SAME} | ({NAMESPACE: USER} if NAMESPACE else {})
    recorder = Recorder(ENDPOINT, texts, scenario.race)
    with serving(recorder) as address:
        done = play(scenario, address, kfp.suffix, monkeypatch, **kfp.user)
    if scenario.told:
        assert scenario.told in str(done)
    else:
        assert isinstance(done, Submission), done
        assert [version["display_name"] for version in kfp.versions] == [REVISION]
    if os.environ.get("RECORD"):
        record(kind, name, recorder.exchanges)
    assert recorder.exchanges == recorded(kind, name)


def test_some_at_once(kfp: Kfp, monkeypatch: pytest.MonkeyPatch) -> None:
    with named(kfp.suffix, monkeypatch) as patch, ThreadPoolExecutor(4) as threads:
        patch.setattr(submitting, "check_deploy", lambda *_: None)  # it builds the pipeline
        tasks = [threads.submit(attempt, ENDPOINT, kfp.suffix, **kfp.user) for _ in range(4)]
        done = [task.result() for task in tasks]
    assert len({(each.pipeline_id, each.version_id) for each in done}) == 1
    assert len({each.run_id for each in done}) == 4
    assert len(kfp.versions) == 1


def test_the_longest_names(kfp: Kfp, monkeypatch: pytest.MonkeyPatch) -> None: ...


def test_kubectl_takes_what_submit_made(
    kfp: Kfp, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kfp.kind != KUBERNETES:
        pytest.skip("KFP does not keep pipelines in Kubernetes")
    done = play(SCENARIOS["first"], ENDPOINT, kfp.suffix, monkeypatch)
    apply(kfp, cluster, monkeypatch)
    (version,) = kfp.versions
    assert version["pipeline_version_id"] == done.version_id
