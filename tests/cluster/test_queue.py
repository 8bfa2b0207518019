"""Pods of a run in a queue of a real Kueue, whose configuration has the integration `pod`."""

import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster, Object, until
from tests.cluster.kfp import ENDPOINT, RUNS, TRAINING, Kfp, tasks, volume

GROUP = "kueue.x-k8s.io"
QUOTA = 300  # thousandths of a CPU: one step that trains, of 250 and what Argo adds to a pod
CPU = {"m": 1, "": 1000}
pytestmark = [
    pytest.mark.skipif(not ENDPOINT, reason="needs KFP: KFP_ENDPOINT names none"),
    pytest.mark.timeout(3600),
]


@pytest.fixture
def queue(cluster: Cluster) -> Iterator[str]:
    """The name of a LocalQueue with room for one step that trains, and of two priorities."""
    if not cluster.kubectl("get", "crd", f"clusterqueues.{GROUP}", "--ignore-not-found"):
        pytest.skip("needs Kueue in the cluster")
    name = f"test-{uuid.uuid4().hex[:8]}"
    quotas = [
        {"name": "cpu", "nominalQuota": f"{QUOTA}m"},
        {"name": "memory", "nominalQuota": "4Gi"},
    ]
    resources = {
        "coveredResources": ["cpu", "memory"],
        "flavors": [{"name": name, "resources": quotas}],
    }
    own = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": RUNS}},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [resources],
    }
    made = [
        _object("ResourceFlavor", name),
        _object("ClusterQueue", name, spec=own),
        _object("LocalQueue", name, RUNS, spec={"clusterQueue": name}),
        _object("WorkloadPriorityClass", f"{name}-low", value=10),
        _object("WorkloadPriorityClass", f"{name}-high", value=100),
    ]
    cluster.apply(*made)
    yield name
    for one in reversed(made):
        where = ["--namespace", RUNS] if one["kind"] == "LocalQueue" else []
        kind, which = f"{one['kind']}.{GROUP}", one["metadata"]["name"]
        cluster.kubectl("delete", kind, which, *where, "--wait=false")


def test_pods_wait_for_the_queue_and_give_way(kfp: Kfp, cluster: Cluster, queue: str) -> None:
    options = ["--queue", queue, "--priority-class", f"{queue}-low"]
    options += [*TRAINING, "--max-trials", "2", "--tune-epochs", "30", "--tune-workers", "2"]
    with volume(cluster, f"queue-{kfp.suffix}") as claim:
        run_id = kfp.submit(cluster, *options, "--volume-claim", claim)
        seen: list[int] = []

        def trials() -> list[Object]:
            _look(cluster, run_id, seen)
            return [pod for pod in _pods(cluster, run_id) if "train-trial(" in _node(pod)]

        until(lambda: len(trials()) == 2, "both trials are there", 1700)
        until(lambda: [p["status"]["phase"] for p in trials()].count("Running"), "one runs")
        (running,) = [pod for pod in trials() if pod["status"]["phase"] == "Running"]
        (waiting,) = [pod for pod in trials() if pod is not running and not _admitted(pod)]
        assert waiting["status"]["phase"] == "Pending"

        urgent = f"urgent-{kfp.suffix}"
        cluster.apply(_pod(urgent, queue, f"{queue}-high", cluster.image))

        def ended() -> bool:
            return bool(cluster.get("pod", urgent, RUNS)["status"]["phase"] == "Succeeded")

        until(ended, "the pod of higher priority takes the place", 300)
        run = kfp.ended(run_id, 1700)
    assert run["state"] == "SUCCEEDED"
    assert max(seen) <= QUOTA
    repeated = [tries for tries in tasks(run_id, cluster, "train-trial") if len(tries) == 2]
    assert [tries[0]["name"] for tries in repeated] == [_node(running)]


def _look(cluster: Cluster, run_id: str, seen: list[int]) -> None:
    """Keeps what the admitted pods of a run ask for together, in thousandths of a CPU."""
    admitted = [
        pod
        for pod in _pods(cluster, run_id)
        if _admitted(pod) and pod["status"]["phase"] in ("Pending", "Running")
    ]
    seen.append(sum(map(_cpu, admitted)))


def _pods(cluster: Cluster, run_id: str) -> list[Object]:
    """Returns the pods of a run that name a queue: those of its steps."""
    selector = f"pipeline/runid={run_id},{GROUP}/queue-name"
    return cluster.list("pods", RUNS, selector)


def _admitted(pod: Object) -> bool:
    return not pod["spec"].get("schedulingGates")


def _cpu(pod: Object) -> int:
    asked = [c["resources"].get("requests", {}).get("cpu", "0") for c in pod["spec"]["containers"]]
    return sum(int(float(cpu.rstrip("m")) * CPU["m" if cpu.endswith("m") else ""]) for cpu in asked)


def _node(pod: Object) -> str:
    return str(pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"])


def _object(kind: str, name: str, namespace: str = "", **fields: object) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"{GROUP}/v1beta1", "kind": kind, "metadata": metadata, **fields}


def _pod(name: str, queue: str, priority: str, image: str) -> Object:
    labels = {f"{GROUP}/queue-name": queue, f"{GROUP}/priority-class": priority}
    main = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "5"],
        "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": RUNS, "labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [main]},
    }
