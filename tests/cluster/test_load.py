"""Pods go and come under their clients: no request is lost, over new and over kept connections."""

import json
from pathlib import Path

from tests.cluster.cluster import NAME, Object, ServedNamespace, until

LOAD = Path(__file__).with_name("load.py").read_text()
POD = "load"


def _load(served: ServedNamespace) -> Object:
    """Returns the pod that asks; it may do what the predictor's own may."""
    template = served.pods()[0]["spec"]
    (container,) = (c for c in template["containers"] if c["name"] == "kserve-container")
    address = f"{NAME}-predictor.{served.name}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": served.name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": template["securityContext"],
            "containers": [
                {
                    "name": POD,
                    "image": served.cluster.serve_image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", LOAD, f"http://{address}", f"{address}:8081"],
                    "securityContext": container["securityContext"],
                    "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def _replicas(served: ServedNamespace, count: int) -> None:
    predictor = {"minReplicas": count, "maxReplicas": count}
    patch = json.dumps({"spec": {"predictor": predictor}})
    served.kubectl("patch", "inferenceservice", NAME, "--type", "merge", "--patch", patch)
    _whole(served, count)


def _whole(served: ServedNamespace, count: int) -> None:
    def is_whole() -> bool:
        status = served.deployment["status"]
        return (status.get("readyReplicas"), status.get("replicas")) == (count, count) and len(
            served.pods()
        ) == count

    until(is_whole, f"{count} pods are ready, and no other is left")


def test_nothing_is_lost_while_pods_are_replaced(served: ServedNamespace) -> None:
    _replicas(served, 2)
    served.cluster.apply(_load(served))
    served.kubectl("wait", "--for", "condition=Ready", f"pod/{POD}", "--timeout", "120s")
    for pod in served.pods():
        served.kubectl("delete", "pod", pod["metadata"]["name"])
        _whole(served, 2)
    uri = served.cluster.get("inferenceservice", NAME, served.name)["spec"]["predictor"]["model"][
        "storageUri"
    ]
    model = {"model": {"storageUri": uri.removesuffix("/1") + "/2"}}
    patch = json.dumps({"spec": {"predictor": model}})
    served.kubectl("patch", "inferenceservice", NAME, "--type", "merge", "--patch", patch)
    served.wait_for(2)
    served.kubectl("exec", POD, "--", "touch", "/tmp/stop")
    until(
        lambda: served.cluster.get("pod", POD, served.name)["status"]["phase"] == "Succeeded",
        "the clients end",
    )
    told = json.loads(served.kubectl("logs", POD).splitlines()[-1])
    assert told["lost"] == []
    assert min(told["answered"].values()) > 100, told["answered"]
