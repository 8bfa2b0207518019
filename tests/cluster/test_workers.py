"""A training that many pods share, on the KFP that KFP_ENDPOINT names, beside one that few do."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, Object, until
from tests.cluster.kfp import (
    ENDPOINT,
    RUNS,
    TRAINING,
    Artifact,
    Kfp,
    artifact,
    artifacts,
    tasks,
    volume,
)

SEARCH = ["--max-trials", "4", "--tune-epochs", "6", "--ensemble", "2", "--epochs", "2"]
WORKERS = ["--tune-workers", "2", "--train-workers", "2"]
USER, SECRET = 12345, "registry.example"
AFFINITY = {
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {
            "weight": 1,
            "preference": {"matchExpressions": [{"key": "spot", "operator": "Exists"}]},
        }
    ]
}
TOLERATION = {"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
PLACE = [
    *("--run-as-user", str(USER), "--run-as-group", str(USER), "--image-pull-secret", SECRET),
    *("--gpu-node-affinity", json.dumps(AFFINITY), "--gpu-tolerations", json.dumps([TOLERATION])),
    *("--gpu-node-selector", json.dumps({"kubernetes.io/os": "linux"})),
]
pytestmark = [
    pytest.mark.skipif(not ENDPOINT, reason="needs KFP: KFP_ENDPOINT names none"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def alone(kfp: Kfp, cluster: Cluster) -> str:
    """The id of a run that had one pod for each step."""
    run_id = kfp.submit(cluster, *TRAINING, *SEARCH)
    assert kfp.ended(run_id, 3400)["state"] == "SUCCEEDED"
    return run_id


@pytest.fixture(scope="module")
def shared(kfp: Kfp, cluster: Cluster) -> Iterator[tuple[str, Object]]:
    """The id of a run that many pods shared, and the pod of a trial that was killed."""
    with volume(cluster, f"work-{kfp.suffix}") as claim:
        options = [*TRAINING, *SEARCH, *WORKERS, *PLACE, "--volume-claim", claim]
        run_id = kfp.submit(cluster, *options)

        def in_the_middle() -> Object | None:
            for pod in _pods(cluster, run_id, "train-trial"):
                where = ("--namespace", RUNS, pod["metadata"]["name"], "--container", "main")
                if "2 of 6 epochs" in cluster.kubectl("logs", *where, check=False):
                    return pod
            return None

        killed = until(in_the_middle, "a trial is in the middle", 1700)
        where = ("--namespace", RUNS, killed["metadata"]["name"])
        cluster.kubectl("delete", "pod", *where, "--grace-period=0", "--force")
        assert kfp.ended(run_id, 3400)["state"] == "SUCCEEDED"
        yield run_id, killed


def test_a_killed_trial_is_repeated_and_no_other(
    shared: tuple[str, Object], cluster: Cluster
) -> None:
    run_id, killed = shared
    for step in ("propose", "train-trial", "tune", "train-networks", "train"):
        for tries in tasks(run_id, cluster, step):
            # Argo repeats a pod as another one, or makes it again if it saw none yet.
            was_killed = tries[0]["name"] == _node(killed)
            assert len(tries) == 1 or was_killed, step
    pods = {_node(pod): pod["metadata"]["uid"] for pod in _pods(cluster, run_id, "train-trial")}
    assert killed["metadata"]["uid"] not in pods.values()
    assert len(pods) == 4


def test_each_trial_has_a_log_of_its_own(shared: tuple[str, Object], cluster: Cluster) -> None:
    run_id, _ = shared
    written = artifacts(run_id, cluster)
    logs = [_log(a, cluster) for a in written if (a.step, a.name) == ("train-trial", LOG)]
    trials = sorted(line for log in logs for line in log.splitlines() if line.startswith("trial "))
    assert [line[: len("trial 1 of 4: ")] for line in trials] == [
        f"trial {number} of 4: " for number in (1, 2, 3, 4)
    ]
    assert len(logs) == len(trials)
    (tune,) = [_log(a, cluster) for a in written if (a.step, a.name) == ("tune", LOG)]
    assert "epochs" not in tune, "it found every trial trained"


def test_the_search_and_the_networks_are_those_of_one_worker(
    alone: str, shared: tuple[str, Object], cluster: Cluster
) -> None:
    assert len(tasks(shared[0], cluster, "train-networks")) == 2
    for step, name, file, rows in (
        ("tune", "trials", "/trials.csv", 4),
        ("train", "model", "/history.csv", 2),
    ):
        one, many = (
            _without_seconds(artifact(run_id, cluster, step, name).read(cluster, file))
            for run_id in (alone, shared[0])
        )
        assert len(one) == rows
        assert one == many


def test_the_dataset_is_that_of_one_worker(kfp: Kfp, cluster: Cluster) -> None:
    datasets = []
    for workers in (1, 2):  # of 2,048 files, and of the rest
        options = ["--pipeline", "cross-validation", "--source", "sample://?images=2100"]
        run_id = kfp.submit(cluster, *options, "--ingest-workers", str(workers))

        def assembled(run_id: str = run_id) -> bool:
            found = tasks(run_id, cluster, "assemble")
            return bool(found) and found[0][-1]["phase"] == "Succeeded"

        until(assembled, "the dataset is made", 1700)
        kfp.ask("POST", f"/runs/{run_id}:terminate")
        assert len(tasks(run_id, cluster, "ingest")) == workers
        found = artifact(run_id, cluster, "assemble", "dataset")
        datasets.append(found.read(cluster, "/manifest.json"))
    one, many = datasets
    assert one == many  # which has the digests of the pixels' files too


def test_pods_are_placed(shared: tuple[str, Object], cluster: Cluster) -> None:
    pods = _pods(cluster, shared[0])
    assert len(pods) > 10
    for pod in pods:
        (main,) = [c for c in pod["spec"]["containers"] if c["name"] == "main"]
        context = main["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (USER, USER)
        assert pod["spec"]["imagePullSecrets"] == [{"name": SECRET}]
    trained = [pod for s in ("train-trial", "train") for pod in _pods(cluster, shared[0], s)]
    assert len(trained) > 3
    for pod in trained:
        assert pod["spec"]["affinity"]["nodeAffinity"] == AFFINITY
        assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
        assert TOLERATION in pod["spec"]["tolerations"]


LOG = "executor-logs"


def _pods(cluster: Cluster, run_id: str, step: str = r"[a-z-]+") -> list[Object]:
    """Returns the pods of a step, or of all, which are there."""
    nodes = {node["id"] for tries in tasks(run_id, cluster, step) for node in tries}
    return [
        pod
        for pod in cluster.list("pods", RUNS, f"pipeline/runid={run_id}")
        if pod["metadata"]["annotations"].get("workflows.argoproj.io/node-id") in nodes
    ]


def _node(pod: Object) -> str:
    return str(pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"])


def _log(written: Artifact, cluster: Cluster) -> str:
    """Returns a log; KFP adds the number of the try, and one that was killed left none."""
    try:
        return written.read(cluster, "-0")
    except AssertionError:
        return written.read(cluster, "-1")


def _without_seconds(table: str) -> list[dict[str, Any]]:
    rows = list(csv.DictReader(io.StringIO(table)))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
