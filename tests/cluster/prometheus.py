"""A real Prometheus that has a week of a predictor's counts."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from components.shared.model_folder.drift_reference import DriftReference
from tests.cluster.cluster import Cluster, Object, until

IMAGE = os.environ.get("PROMETHEUS_IMAGE", "")  # with sh and promtool, such as prom/prometheus
DATA = "/prometheus"
START = f"""
until [ -e {DATA}/whole ]; do sleep 1; done
promtool tsdb create-blocks-from openmetrics {DATA}/week.om {DATA}/blocks
exec prometheus --config.file=/dev/null --storage.tsdb.path={DATA}/blocks
"""
SCRAPE, HOURS, IMAGES = 900, 7 * 24, 20


@contextmanager
def prometheus(cluster: Cluster, namespace: str, name: str, week: str) -> Iterator[str]:
    """Runs a Prometheus with the samples of a file, and gives its address in the cluster.

    Args:
        cluster: Where.
        namespace: Of its pod.
        name: Of its pod.
        week: OpenMetrics.
    """
    main = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-ec", START],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": DATA}],
    }
    spec = {
        "securityContext": {"runAsUser": 65534, "fsGroup": 65534},
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [main],
    }
    metadata = {"name": name, "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def pod() -> Object:
        return cluster.get("pod", name, namespace)["status"]

    try:
        until(lambda: pod()["phase"] == "Running", f"{name} runs")
        write = f"cat >{DATA}/week.om && touch {DATA}/whole"
        where = ("--namespace", namespace, name)
        cluster.kubectl("exec", "--stdin", *where, "--", "sh", "-ec", write, given=week)
        cluster.kubectl(
            "wait", "--for", "condition=Ready", f"pod/{name}", "--timeout", "180s", *where[:2]
        )
        yield f"http://{pod()['podIP']}:9090"
    finally:
        cluster.kubectl("delete", "pod", name, "--namespace", namespace, "--wait=false")


def week_of(reference: DriftReference, digest: str, version: str, drifted: bool) -> str:
    """Returns a week of a version's counts, of one predictor, as OpenMetrics.

    Args:
        reference: How the held-out images were spread.
        digest: Of the version.
        version: Its number.
        drifted: Whether all images are in the last bin of each quantity, and not as those.
    """
    rng, end = np.random.default_rng(0), int(time.time())
    lines = ["# TYPE brain_tumor_drift_images counter"]
    for quantity in reference.quantities:
        shares = np.array(quantity.counts) / sum(quantity.counts)
        if drifted:
            shares = np.eye(len(shares))[-1]
        counts = rng.multinomial(IMAGES, shares, size=HOURS * 3600 // SCRAPE).cumsum(axis=0)
        for name, shown in zip(quantity.bins, counts.T, strict=True):
            labels = (
                f'bin="{name}",digest="{digest}",quantity="{quantity.name}",version="{version}"'
            )
            lines += [
                f"brain_tumor_drift_images_total{{{labels}}} {count} {end - back * SCRAPE}"
                for back, count in zip(reversed(range(len(shown))), shown, strict=True)
            ]
    return "\n".join([*lines, "# EOF\n"])
