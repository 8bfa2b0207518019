"""Runs of the drift pipeline, with a real Prometheus, on the KFP that KFP_ENDPOINT names."""

import hashlib
from collections.abc import Iterator

import pytest

from components.shared.model_folder.drift_reference import DriftReference
from tests.cluster.cluster import Cluster
from tests.cluster.kfp import ENDPOINT, RUNS, TRAINING, Kfp, artifact, tasks, volume
from tests.cluster.prometheus import IMAGE, prometheus, week_of

pytestmark = [
    pytest.mark.skipif(not ENDPOINT, reason="needs KFP: KFP_ENDPOINT names none"),
    pytest.mark.skipif(not IMAGE, reason="needs Prometheus: PROMETHEUS_IMAGE names none"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def served(kfp: Kfp, cluster: Cluster) -> Iterator[list[str]]:
    """Options of a run that looks at version 1; and the id of the run that registered it."""
    with volume(cluster, f"drift-{kfp.suffix}") as claim:
        options = [*TRAINING, "--volume-claim", claim, "--state-root", ""]
        run_id = kfp.submit(cluster, *options)
        assert kfp.ended(run_id)["state"] == "SUCCEEDED"
        yield [run_id, "--pipeline", "drift", "--served-model", "1", *options]


def address(kfp: Kfp, cluster: Cluster, run_id: str, drifted: bool, name: str) -> Iterator[str]:
    """Gives a Prometheus whose week is that of the held-out images, or another."""
    model = artifact(run_id, cluster, "register", "registered_model")
    reference = DriftReference.model_validate_json(model.read(cluster, "/drift.json"))
    digest = hashlib.sha256(model.read(cluster, "/SHA256SUMS").encode()).hexdigest()
    week = week_of(reference, digest, "1", drifted)
    with prometheus(cluster, RUNS, f"{name}-{kfp.suffix}", week) as found:
        yield found


@pytest.fixture(scope="module")
def as_measured(kfp: Kfp, cluster: Cluster, served: list[str]) -> Iterator[str]:
    yield from address(kfp, cluster, served[0], False, "as-measured")


@pytest.fixture(scope="module")
def drifted(kfp: Kfp, cluster: Cluster, served: list[str]) -> Iterator[str]:
    yield from address(kfp, cluster, served[0], True, "drifted")


def test_a_recurring_run_without_drift(
    kfp: Kfp, cluster: Cluster, served: list[str], as_measured: str
) -> None:
    recurring = kfp.submit(cluster, *served[1:], "--prometheus", as_measured, "--cron", "* * * * *")
    experiment = kfp.ask("GET", f"/recurringruns/{recurring}")["experiment_id"]
    assert kfp.first_of(recurring, experiment)["state"] == "SUCCEEDED"


def test_drift_fails_the_run(kfp: Kfp, cluster: Cluster, served: list[str], drifted: str) -> None:
    run = kfp.ended(kfp.submit(cluster, *served[1:], "--prometheus", drifted))
    assert run["state"] == "FAILED"
    report = artifact(run["run_id"], cluster, "drift", "drift_report")
    assert report.read(cluster).startswith("<!doctype html>")
    (tries,) = tasks(run["run_id"], cluster, "alert")
    (node,) = tries
    assert "alert: version 1: drift in " in node["message"]
    assert not tasks(run["run_id"], cluster, "register")


def test_drift_trains_again(kfp: Kfp, cluster: Cluster, served: list[str], drifted: str) -> None:
    run = kfp.ended(kfp.submit(cluster, *served[1:], "--prometheus", drifted, "--retrain"))
    assert run["state"] == "SUCCEEDED"
    assert not tasks(run["run_id"], cluster, "alert")
    assert tasks(run["run_id"], cluster, "ingest"), "nothing is taken from the cache"
    registered = artifact(run["run_id"], cluster, "register", "registration").read(cluster)
    assert "version 2" in registered
