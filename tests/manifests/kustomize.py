"""What kubectl makes of the manifests, and the pods that KServe would make of that."""

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
STORES = ("s3", "gcs", "local")
COMPONENTS = ("gpu", "small", "canary", "knative", "monitoring", "public-store", "tokens", "signed")
FOLDERS = ("base", *(f"overlays/{name}" for name in STORES), "pipeline")

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


def objects(*resources: str | Path, components: tuple[str, ...] = (), **fields: Any) -> Objects:
    """Returns what a user's own kustomization over folders of ours makes.

    Args:
        resources: Folders of manifests/, or others.
        components: Names of components.
        fields: More of the kustomization, such as `namePrefix`.
    """
    folders = {
        "resources": [_reached(MANIFESTS / folder) for folder in resources],
        "components": [_reached(MANIFESTS / "components" / name) for name in components],
    }
    return Objects(yaml.load_all(build(json.dumps(folders | fields)), yaml.CSafeLoader))


def _reached(path: Path) -> str:
    """Returns a relative path from a temporary folder: kustomize takes no absolute ones."""
    depth = len(Path(tempfile.gettempdir()).resolve().parts)
    return str(Path("../" * depth, *path.resolve().parts[1:]))


@cache
def build(kustomization: str) -> str:
    """Returns what kubectl builds of a kustomization's text."""
    kubectl = Path(sys.executable).with_name("kubectl")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kustomization.yaml").write_text(kustomization)
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pod_of(found: Objects) -> Object:
    """Returns the pod that KServe would make: runtime, predictor and what downloads the model."""
    own = {
        "securityContext",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "topologySpreadConstraints",
    }
    predictor, runtime = found.predictor, found.one("ServingRuntime")["spec"]
    pod = {key: value for key, value in predictor.items() if key in own}
    model = predictor["model"]
    containers = [
        container | {key: container[key] + model.get(key, []) for key in ("env", "volumeMounts")}
        for container in runtime["containers"]
    ]
    volumes = runtime["volumes"] + predictor.get("volumes", [])
    pod |= {"containers": containers, "volumes": volumes}
    if not predictor["model"]["storageUri"].startswith("pvc://"):
        patch = yaml.safe_load((MANIFESTS / "cluster" / "storage-initializer.yaml").read_text())
        pod["initContainers"] = [{"name": "storage-initializer", **patch["spec"]["container"]}]
        pod["volumes"].append({"name": "kserve-provision-location", "emptyDir": {}})
    return pod


def labels_of(found: Objects) -> dict[str, str]:
    """Returns labels that KServe puts on the pods and on the Service of a predictor."""
    name = found.one("InferenceService")["metadata"]["name"]
    return {"serving.kserve.io/inferenceservice": name, "component": "predictor"}
