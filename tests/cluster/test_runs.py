"""Runs of both pipelines on the KFP that KFP_ENDPOINT names, as users start them."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.kfp import ENDPOINT, TRAINING, Artifact, Kfp, artifacts

DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"
pytestmark = [
    pytest.mark.skipif(not ENDPOINT, reason="needs KFP: KFP_ENDPOINT names none"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def trained(kfp: Kfp, cluster: Cluster) -> dict[str, Any]:
    """A run of the training pipeline that has ended."""
    return kfp.ended(kfp.submit(cluster, *TRAINING))


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
    # What Kubernetes says of the pod, by the command of docs/cluster.md.
    (command,) = re.findall(
        "^    kubectl (get pods .*RUN_ID .*) \\| sort", DOCS.read_text(), re.MULTILINE
    )
    told = cluster.kubectl(*shlex.split(command.replace("RUN_ID", run["run_id"])))
    assert f"Failed: Error {line}" in told.splitlines()


def test_cross_validation(kfp: Kfp, cluster: Cluster) -> None:
    run = kfp.ended(kfp.submit(cluster, "--pipeline", "cross-validation", "--folds", "2"))
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

    run = kfp.first_of(recurring, trained["experiment_id"])
    assert run["state"] == "SUCCEEDED"


def _check_reports(written: list[Artifact], cluster: Cluster) -> None:
    reports = [artifact for artifact in written if artifact.kind == "system.HTML"]
    assert reports
    for report in reports:
        assert report.read(cluster).startswith("<!doctype html>"), report.name
