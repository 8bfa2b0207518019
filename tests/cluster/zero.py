"""A predictor on Knative that is scaled to zero where nobody asks, and a client that wakes it."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.cluster import NAME, Cluster, ServedNamespace, until

_ASK = Path(__file__).with_name("ask.py").read_text()
_WINDOW = "autoscaling.knative.dev/window"
SECONDS = 6  # without a request until it is scaled down; Knative takes no less


def scaled_to_zero(cluster: Cluster, name: str, registry: Path, folder: Path) -> ServedNamespace:
    """Makes a namespace as `ServedNamespace.made` does, with `minReplicas: 0`, on Knative.

    Args:
        cluster: Where.
        name: Of the namespace.
        registry: What to copy to its volume.
        folder: For files of this function's own.
    """
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "annotations": {_WINDOW: f"{SECONDS}s"}},
        "spec": {"predictor": {"minReplicas": 0}},
    }
    patches = [{"patch": yaml.safe_dump(service)}]
    return ServedNamespace.made(cluster, name, registry, folder, patches, ("knative",))


def wait_for_zero(served: ServedNamespace) -> None:
    """Waits until no pod of the predictor is left."""
    until(lambda: not served.pods(), "the last pod ends", 180)


def start_asking(served: ServedNamespace, at_once: int = 1, *pauses: float) -> str:
    """Starts a client in the cluster; see `ask.py`.

    Args:
        served: What to ask.
        at_once: Requests at the same time.
        pauses: After each the client asks once more, seconds.

    Returns:
        The name of its pod.
    """
    url = f"http://{NAME}-predictor.{served.name}.svc.cluster.local/v1/models/{NAME}:predict"
    command = ("python", "-c", _ASK, url, str(at_once), *map(str, pauses))
    return served.start(*command, image=served.cluster.serve_image)


def answers(served: ServedNamespace, client: str) -> list[dict[str, Any]]:
    """Waits for a client, and returns what it saw of each request."""
    status, said = served.ended(client)
    assert status == 0, said
    return list(json.loads(said.splitlines()[-1]))
