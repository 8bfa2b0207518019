"""A cluster through kubectl, as its users have it, and a namespace that serves."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAME = "brain-tumor"
CLAIM = "brain-tumor-registry"
MOUNT = "/registry"
ACCOUNT = "brain-tumor-pipeline"
LOADER = "brain-tumor-loader"

Object = dict[str, Any]


class Cluster:
    """The cluster that KUBECONFIG names.

    Attributes:
        serve_image: The predictor's image.
        image: The image of the pipeline's steps.
    """

    def __init__(self) -> None:
        self.serve_image = os.environ["SERVE_IMAGE"]
        self.image = os.environ["IMAGE"]
        beside = Path(sys.executable).with_name("kubectl")
        self._kubectl = str(beside if beside.exists() else "kubectl")

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Runs kubectl and returns what it prints; with `check` off, also what it complains of."""
        done = subprocess.run(
            [self._kubectl, *arguments], input=given, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0 or not check, f"kubectl {arguments}: {done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Runs kubectl for as long as the context lasts, such as a port-forward."""
        process = subprocess.Popen([self._kubectl, *arguments], stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def apply(self, *documents: Object, **options: Any) -> str:
        """Applies documents on the server's side."""
        given = yaml.safe_dump_all(documents)
        return self.kubectl("apply", "--server-side", "-f", "-", given=given, **options)

    def get(self, kind: str, name: str, namespace: str) -> Object:
        """Returns an object."""
        found = self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json")
        return dict(json.loads(found))

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Returns the objects of a kind, in one namespace or in all."""
        where = ("--namespace", namespace) if namespace else ("--all-namespaces",)
        wanted = ("--selector", selector) if selector else ()
        return list(
            json.loads(self.kubectl("get", kind, *where, "--output", "json", *wanted))["items"]
        )

    def kustomize(
        self,
        folder: Path,
        namespace: str,
        *resources: Path,
        components: Iterable[str] = (),
        **fields: Any,
    ) -> Path:
        """Writes a user's own kustomization and returns its folder.

        Args:
            folder: Where to write it.
            namespace: Of everything in it.
            resources: Folders of manifests/.
            components: Names in manifests/components.
            fields: More of the kustomization, such as `namePrefix` and `patches`.
        """
        name, _, tag = self.serve_image.rpartition(":")
        here = Path("../" * (len(folder.resolve().parts) - 1))  # absolute paths are not taken

        def reached(path: Path) -> str:
            return str(here / path.resolve().relative_to("/"))

        content = {
            "namespace": namespace,
            "resources": [reached(path) for path in resources],
            "components": [reached(MANIFESTS / "components" / name) for name in components],
            "images": [{"name": "brain-tumor-serve", "newName": name, "newTag": tag}],
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content | fields))
        return folder


def until(true: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """Asks once a second until something is so, and returns it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(1)
    return found


@dataclass
class ServedNamespace:
    """A namespace with everything of manifests/overlays/local and manifests/pipeline in it.

    Attributes:
        cluster: Where it is.
        name: Of the namespace.
        overlay: The kustomization that was applied.
    """

    cluster: Cluster
    name: str
    overlay: Path

    @classmethod
    def made(
        cls,
        cluster: Cluster,
        name: str,
        registry: Path,
        folder: Path,
        patches: list[Object] | None = None,
        components: tuple[str, ...] = (),
    ) -> "ServedNamespace":
        """Applies the overlay, copies the registry to the volume and waits for version 1.

        Args:
            cluster: Where.
            name: Of the namespace.
            registry: What to copy.
            folder: For files of this function's own.
            patches: Of a user's own overlay.
            components: Of manifests/components.
        """
        resources = (MANIFESTS / "overlays" / "local", MANIFESTS / "pipeline")
        overlay = cluster.kustomize(
            folder / "overlay", name, *resources, components=components, patches=patches or []
        )
        cluster.kubectl("apply", "--server-side", "-k", str(overlay))
        served = cls(cluster, name, overlay)
        served.kubectl("wait", "--for", "condition=Ready", f"pod/{LOADER}", "--timeout", "120s")
        served.kubectl("cp", str(registry / NAME), f"{name}/{LOADER}:{MOUNT}")
        served.kubectl("delete", "pod", LOADER)
        served.wait_for(1)
        return served

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Runs kubectl in this namespace."""
        return self.cluster.kubectl(
            arguments[0], "--namespace", self.name, *arguments[1:], **options
        )

    @property
    def deployment(self) -> Object:
        """The Deployment that KServe made."""
        return self.cluster.get("deployment", f"{NAME}-predictor", self.name)

    def pods(self, component: str = "predictor") -> list[Object]:
        """The pods of the InferenceService, of a canary too."""
        selector = f"serving.kserve.io/inferenceservice={NAME},component={component}"
        return self.cluster.list("pods", self.name, selector)

    def serves(self, version: int) -> bool:
        """Whether a version is rolled out, as the Deployment has it, and no other pod is left."""
        uri = f"pvc://{CLAIM}/{NAME}/{version}"
        ready = [
            pod
            for pod in self.pods()
            if pod["metadata"]["annotations"].get(SOURCE) == uri and self.is_ready(pod)
        ]
        return bool(ready) and len(ready) == len(self.pods())

    @staticmethod
    def is_ready(pod: Object) -> bool:
        """Whether a pod is ready for requests."""
        conditions = pod["status"].get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def wait_for(self, version: int) -> None:
        """Waits until a version serves, alone."""
        try:
            until(lambda: self.serves(version), f"version {version} serves in {self.name}", 180)
        except AssertionError as error:
            error.add_note(self.kubectl("describe", "pods"))
            raise

    def start(self, *command: str, image: str = "") -> str:
        """Starts a command, under the account of the deploy step.

        Args:
            command: And its arguments.
            image: That has it; the image of the steps if empty.

        Returns:
            The name of its pod.
        """
        pod = f"command-{time.time_ns():x}"
        self.cluster.apply(self._pod(pod, command, image or self.cluster.image))
        return pod

    def ended(self, pod: str, timeout: float = 900) -> tuple[int, str]:
        """Waits for a command, and returns its exit status and what it printed."""

        def status() -> Object | None:
            found = self.cluster.get("pod", pod, self.name)["status"]
            told = found.get("containerStatuses") or [{"state": {}}]
            ended: Object | None = told[0]["state"].get("terminated")
            return ended

        found = until(status, f"{pod} ends", timeout)
        return int(found["exitCode"]), self.kubectl("logs", pod)

    def start_deploy(self, version: int | str, *options: str, path: str = "") -> str:
        """Starts `brain-tumor deploy`; `path` is where on the volume KServe looks for versions."""
        served_from = f"pvc://{CLAIM}{path}"
        command = ("brain-tumor", "deploy", str(version), "--registry", MOUNT)
        return self.start(*command, "--served-from", served_from, "--force-conflicts", *options)

    def deploy(self, version: int | str, *options: str, path: str = "") -> tuple[int, str]:
        """Runs `brain-tumor deploy` in the cluster, to its end."""
        return self.ended(self.start_deploy(version, *options, path=path))

    def _pod(self, name: str, command: tuple[str, ...], image: str) -> Object:
        secure = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": ACCOUNT,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "main",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": list(command),
                        "securityContext": secure,
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "256Mi"},
                            "limits": {"memory": "512Mi"},
                        },
                        "volumeMounts": [
                            {"name": "tmp", "mountPath": "/tmp"},
                            {"name": "registry", "mountPath": MOUNT},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "registry", "persistentVolumeClaim": {"claimName": CLAIM}},
                ],
            },
        }


SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
