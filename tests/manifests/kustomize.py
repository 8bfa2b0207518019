"""What kubectl makes of the manifests, and the pods that KServe would make of that."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
SERVING = ("s3", "gcs", "gpu", "canary", "knative", "local")
FOLDERS = ("base", *(f"overlays/{name}" for name in SERVING), "overlays/monitoring", "pipeline")
SERVED = ("base", *(f"overlays/{name}" for name in SERVING))

Object = dict[str, Any]


class Objects(list[Object]):
    """The objects of one kustomization."""

    def of(self, kind: str) -> list[Object]:
        return [found for found in self if found["kind"] == kind]

    def one(self, kind: str) -> Object:
        (only,) = self.of(kind)
        return only

    @property
    def predictor(self) -> Object:
        """What stands in the InferenceService."""
        predictor: Object = self.one("InferenceService")["spec"]["predictor"]
        return predictor

    @property
    def container(self) -> Object:
        """The container that serves."""
        (only,) = self.one("ServingRuntime")["spec"]["containers"]
        found: Object = only
        return found


@cache
def build(folder: Path) -> str:
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(folder: Path) -> Objects:
    return Objects(yaml.safe_load_all(build(folder)))


def pod_of(found: Objects) -> Object:
    """Returns the pod that KServe would make: runtime, predictor and what downloads the model."""
    own = {
        "securityContext",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "automountServiceAccountToken",
        "topologySpreadConstraints",
    }
    predictor, runtime = found.predictor, found.one("ServingRuntime")["spec"]
    pod = {key: value for key, value in predictor.items() if key in own}
    pod |= {"containers": runtime["containers"], "volumes": list(runtime["volumes"])}
    if not predictor["model"]["storageUri"].startswith("pvc://"):
        patch = yaml.safe_load((MANIFESTS / "cluster" / "storage-initializer.yaml").read_text())
        pod["initContainers"] = [{"name": "storage-initializer", **patch["spec"]["container"]}]
        pod["volumes"].append({"name": "kserve-provision-location", "emptyDir": {}})
    return pod


def labels_of(found: Objects) -> dict[str, str]:
    """Returns labels that KServe puts on the pods and on the Service of a predictor."""
    name = found.one("InferenceService")["metadata"]["name"]
    return {"serving.kserve.io/inferenceservice": name, "component": "predictor"}
