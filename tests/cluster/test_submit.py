"""Submitting to the KFP that KFP_ENDPOINT names: its API server, or the UI before it."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines import submit as submitting
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster as Settings
from pipelines.compile import manifest
from pipelines.submit import MAX_EXPERIMENT, MAX_RUN, Submission
from tests.cluster.cluster import Cluster
from tests.cluster.kfp import ENDPOINT, NAMESPACE, SYSTEM, Kfp
from tests.pipelines.exchanges import Recorder, record, recorded, serving
from tests.pipelines.scenarios import (
    KUBERNETES,
    REVISION,
    SAME,
    SCENARIOS,
    TEXTS,
    USER,
    attempt,
    named,
    play,
)

pytestmark = pytest.mark.skipif(not ENDPOINT, reason="needs KFP: KFP_ENDPOINT names none")


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
    if scenario.path and kfp.behind_ui:
        pytest.skip("KFP's UI answers for paths that the API does not have")
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
        patch.setattr(submitting, "check_together", lambda *_: None)  # it builds the pipeline
        tasks = [threads.submit(attempt, ENDPOINT, kfp.suffix, **kfp.user) for _ in range(4)]
        done = [task.result() for task in tasks]
    assert len({(each.pipeline_id, each.version_id) for each in done}) == 1
    assert len({each.run_id for each in done}) == 4
    assert len(kfp.versions) == 1


@pytest.mark.parametrize("letter", ["x", "é", "脑"])
def test_the_longest_names(letter: str, kfp: Kfp, monkeypatch: pytest.MonkeyPatch) -> None:
    room = (MAX_EXPERIMENT - len(kfp.experiment)) // len(letter.encode())
    kfp.experiment += letter * room
    run = letter * MAX_RUN
    with named(kfp.suffix, monkeypatch):
        options = {"experiment": kfp.experiment, "run_name": run}
        done = attempt(ENDPOINT, kfp.suffix, **options, **kfp.user)
    assert kfp.ask("GET", f"/runs/{done.run_id}")["display_name"] == run


def test_kubectl_takes_what_submit_made(
    kfp: Kfp, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kfp.kind != KUBERNETES:
        pytest.skip("KFP does not keep pipelines in Kubernetes")
    done = play(SCENARIOS["first"], ENDPOINT, kfp.suffix, monkeypatch)
    apply(kfp, cluster, monkeypatch)
    (version,) = kfp.versions
    assert version["pipeline_version_id"] == done.version_id
