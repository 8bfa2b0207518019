"""Runs of both pipelines on the KFP that KFP_ENDPOINT names, as users start them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, until
from tests.cluster.kfp import ENDPOINT, RUNS, Artifact, Kfp, artifacts

SCRIPT = Path(sys.executable).with_name("brain-tumor")
IMAGES = ["--source", "sample://?images=60", "--bootstrap-samples", "100", "--epochs", "1"]
TRAINING = [
    *("--max-trials", "1", "--tune-epochs", "1", "--champion-margin", "1"),
    *("--min-accuracy", "0", "--min-sensitivity", "0", "--min-specificity", "0"),
]
pytestmark = [
    pytest.mark.skipif(not ENDPOINT, reason="needs KFP: KFP_ENDPOINT names none"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def kfp() -> Iterator[Kfp]:
    kfp = Kfp()
    yield kfp
    kfp.clear()


def submit(kfp: Kfp, cluster: Cluster, *options: str) -> str:
    """Submits with the command line, and returns the run's id."""
    command = [str(SCRIPT), "submit", "--experiment", kfp.experiment, "--image", cluster.image]
    done = subprocess.run(
        [*command, "--gpu-count", "0", *IMAGES, *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (run_id,) = re.findall(r"run ([-0-9a-f]{36})$", done.stdout, re.MULTILINE)
    return str(run_id)


@pytest.fixture(scope="module")
def trained(kfp: Kfp, cluster: Cluster) -> dict[str, Any]:
    """A run of the training pipeline that has ended."""
    return kfp.ended(submit(kfp, cluster, *TRAINING))


def test_training(trained: dict[str, Any], cluster: Cluster) -> None:
    assert trained["state"] == "SUCCEEDED"
    written = artifacts(trained["run_id"], cluster)
    steps = {artifact.step for artifact in written}
    assert steps >= {"ingest", "split", "tune", "train", "evaluate", "register"}
    _check_reports(written, cluster)
    (model,) = [artifact for artifact in written if artifact.name == "registered_model"]
    assert "Brain Tumor" in model.read(cluster, "/labels.json")
    assert "saved_model.pb" in model.read(cluster, "/SHA256SUMS")


def test_values_out_of_range_end_a_run_in_its_first_step(
    kfp: Kfp, trained: dict[str, Any], cluster: Cluster
) -> None:
    values = trained["runtime_config"].get("parameters", {})
    wrong = {
        "display_name": "values out of range",
        "experiment_id": trained["experiment_id"],
        "pipeline_version_reference": trained["pipeline_version_reference"],
        "runtime_config": {"parameters": values | {"epochs": 2.5, "max_bad_share": 2}},
    }
    run = kfp.ended(kfp.ask("POST", "/runs", wrong)["run_id"])
    assert run["state"] == "FAILED"

    (log,) = artifacts(run["run_id"], cluster)  # of the only step that ran
    assert (log.step, log.name) == ("check", "executor-logs")
    line = log.read(cluster, "-0").splitlines()[-1]  # KFP adds the number of the try
    assert line.startswith("check: max_bad_share: 2 is not allowed; ")
    assert "; epochs: 2.5 is not allowed; " in line
    # What Argo says of the pod, which is where docs/cluster.md sends a user.
    (workflow,) = cluster.list("workflows.argoproj.io", RUNS, f"pipeline/runid={run['run_id']}")
    told = [node.get("message", "") for node in workflow["status"]["nodes"].values()]
    assert f"main: Error (exit code 1): {line}" in told


def test_cross_validation(kfp: Kfp, cluster: Cluster) -> None:
    run = kfp.ended(submit(kfp, cluster, "--pipeline", "cross-validation", "--folds", "2"))
    assert run["state"] == "SUCCEEDED"
    _check_reports(artifacts(run["run_id"], cluster), cluster)


def test_a_recurring_run(kfp: Kfp, trained: dict[str, Any]) -> None:
    recurring = kfp.ask(
        "POST",
        "/recurringruns",
        {
            "display_name": "each minute",
            "experiment_id": trained["experiment_id"],
            "pipeline_version_reference": trained["pipeline_version_reference"],
            "runtime_config": trained["runtime_config"],
            "trigger": {"periodic_schedule": {"interval_second": "60"}},
            "max_concurrency": "1",
            "no_catchup": True,
            "mode": "ENABLE",
        },
    )["recurring_run_id"]

    def started() -> list[str]:
        runs = kfp.ask("GET", "/runs", experiment_id=trained["experiment_id"]).get("runs", [])
        return [run["run_id"] for run in runs if run.get("recurring_run_id") == recurring]

    try:
        run_id = until(started, "the schedule starts a run")[0]
        kfp.ask("POST", f"/recurringruns/{recurring}:disable")
        assert kfp.ended(run_id)["state"] == "SUCCEEDED"
    finally:
        kfp.ask("DELETE", f"/recurringruns/{recurring}")  # and the workflows that it has started


def _check_reports(written: list[Artifact], cluster: Cluster) -> None:
    reports = [artifact for artifact in written if artifact.kind == "system.HTML"]
    assert reports
    for report in reports:
        assert report.read(cluster).startswith("<!doctype html>"), report.name
