"""A cluster small enough for tests: an API server, a controller that plays KServe, and pods."""

import base64
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.deploy import api as api_module
from components.deploy import rollout as rollout_module
from components.deploy.api import KubernetesAPI, open_api
from components.deploy.claim import FORMER
from components.deploy.rollout import Rollout
from components.deploy.workload import SOURCE
from components.shared.model_folder.smoke import SmokeImage, read_smoke, write_smoke
from components.shared.run.rollout_plan import Plan, version_of
from tests.deploy.kube_api import KubeAPI, serve, write_kubeconfig

NAME = "brain-tumor"
DOMAIN = "models.svc.cluster.local"
BASE = Path(__file__).parents[2] / "manifests" / "base" / "inferenceservice.yaml"


def uri(version: int) -> str:
    return f"s3://models/registry/brain-tumor/{version}/"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[SmokeImage]:
    folder = tmp_path_factory.mktemp("model")
    pixels = np.random.default_rng(0).integers(0, 255, (4, 150, 150, 3), dtype=np.uint8)
    write_smoke(folder, pixels, np.float32([0.1, 0.9, 0.4, 0.7]), threshold=0.5)
    return read_smoke(folder)


@dataclass
class Pod:
    """What answers requests: a version, well or not."""

    version: int
    status: int = 200
    off_by: float = 0.0
    label: str = ""
    seconds: float = 0.0
    body: bytes = b""
    probabilities: list[Any] = field(default_factory=list)


@dataclass
class Pods:
    """The served model: Services by the first label of their host, each with pods in turn.

    Attributes:
        services: The pods behind each Service.
        hosts: The Host headers of the requests so far.
    """

    images: list[SmokeImage]
    services: dict[str, list[Pod]] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    _turn: Iterator[int] = field(default_factory=itertools.count)

    def answer(self, host: str, path: str, request: dict[str, Any]) -> tuple[int, bytes]:
        self.hosts.append(host)
        pods = self.services.get(host.split(".")[0].split(":")[0], [])
        if not pods or path != f"/v2/models/{NAME}/infer":
            return 503, b"no healthy upstream"
        pod = pods[next(self._turn) % len(pods)]
        time.sleep(pod.seconds)
        if pod.status != 200 or pod.body:
            return pod.status, pod.body
        (data,) = request["inputs"][0]["data"]
        image = next(i for i in self.images if data == _b64(i.png))
        healthy = image.probability_healthy + pod.off_by
        outputs = [
            {
                "name": "label",
                "shape": [1],
                "datatype": "BYTES",
                "data": [pod.label or image.label],
            },
            {
                "name": "probabilities",
                "shape": [1, 2],
                "datatype": "FP32",
                "data": pod.probabilities or [1 - healthy, healthy],
            },
        ]
        answer = {"model_name": NAME, "model_version": str(pod.version), "outputs": outputs}
        return 200, json.dumps(answer).encode()


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class _ModelHandler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    wbufsize = 2**16
    pods: Pods

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, body = self.pods.answer(self.headers["Host"], self.path, content)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class KServe:
    """Plays the controller: makes Deployments, or revisions, and pods of what is wanted.

    Its status is as little to rely on as the real one's: Ready and UpToDate while new pods start or
    crash, and the observedGeneration of the Deployment, which is not the InferenceService's.

    Attributes:
        pod: Makes the pod of a version; a test replaces it to make one bad.
        script: What becomes of a generation instead of success, by version: called with the object.
        down: Whether it looks at nothing.
    """

    def __init__(self, api: KubeAPI, pods: Pods, port: int) -> None:
        self.api, self.pods, self.port = api, pods, port
        self.pod: Callable[[int], Pod] = Pod
        self.script: dict[int, Callable[[dict[str, Any]], None]] = {}
        self.down = False
        self.seen = 0
        self._rolled_out: int | None = None  # Knative: the version that had all traffic last
        self.ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.ended = True
        self._thread.join()

    def _run(self) -> None:
        while not self.ended:
            try:
                live = self.api[NAME]
            except KeyError:
                live = None
            if live and not self.down and live["metadata"]["generation"] > self.seen:
                self.seen = live["metadata"]["generation"]
                wanted = [live["spec"]["predictor"], *(c["predictor"] for c in _canaries(live))]
                scripts = [self.script.get(_version(predictor)) for predictor in wanted]
                (next(filter(None, scripts), None) or self.succeed)(live)
            time.sleep(0.01)

    def say(self, live: dict[str, Any], ready: str = "True", **more: Any) -> None:
        """Sets a status of the generation at hand."""
        conditions = [
            {"type": "Ready", "status": ready} | more.pop("condition", {}),
            {"type": "Stopped", "status": "False"},
        ]
        deployment = self.api.others("deployments").get(f"{NAME}-predictor")
        self.api.set_status(
            NAME,
            {
                "observedGeneration": deployment["metadata"]["generation"] if deployment else 1,
                "deploymentMode": _mode(live),
                "conditions": conditions,
                "url": f"http://{NAME}.example.org",
                "address": {"url": f"http://{NAME}-predictor.{DOMAIN}:{self.port}"},
                "modelStatus": {"transitionStatus": "UpToDate"},
            }
            | more,
        )

    def succeed(self, live: dict[str, Any]) -> None:
        """Makes the pods that the spec wants, and replaces the others by them."""
        if _mode(live) == "Standard":
            self._succeed_with_deployments(live)
        else:
            self._succeed_with_revisions(live)

    def _succeed_with_deployments(self, live: dict[str, Any]) -> None:
        wanted = {f"{NAME}-predictor": live["spec"]["predictor"]}
        for canary in _canaries(live):
            wanted[f"{NAME}-{canary['predictor']['name']}-predictor"] = canary["predictor"]
        for name, predictor in wanted.items():
            replicas = predictor.get("minReplicas", 1)
            self._deploy(live, name, predictor, (replicas, replicas, replicas))
            self._replace_pods(name, predictor, replicas)
        for name in set(self.api.others("deployments")) - set(wanted):
            self.api.remove("deployments", name)
        services = {name: [self.pod(_version(p))] for name, p in wanted.items()}
        services[NAME] = [pod for pods in services.values() for pod in pods]
        self.pods.services = services
        self.say(live)

    def begin(self, live: dict[str, Any], **pod_status: Any) -> None:
        """Makes one new pod, not ready, beside the old ones, and calls that Ready as KServe does.

        Args:
            live: The object.
            pod_status: More of the new pod's status, such as `containerStatuses`.
        """
        name, predictor = f"{NAME}-predictor", live["spec"]["predictor"]
        for canary in _canaries(live):
            name, predictor = f"{NAME}-{canary['predictor']['name']}-predictor", canary["predictor"]
        self._deploy(live, name, predictor, (4, 1, 3))
        self.api.put("pods", _pod_document(name, predictor, 0, ready=False, **pod_status))
        self.say(live)

    def _deploy(
        self,
        live: dict[str, Any],
        name: str,
        predictor: dict[str, Any],
        replicas: tuple[int, int, int],
    ) -> None:
        """Writes a Deployment, with the InferenceService's annotations, as KServe copies them."""
        before = self.api.others("deployments").get(name)
        source = {SOURCE: predictor["model"]["storageUri"]}
        template = {"metadata": {"annotations": live["metadata"]["annotations"] | source}}
        generation = before["metadata"]["generation"] if before else 0
        if not before or before["spec"]["template"] != template:
            generation += 1
        document = {
            "metadata": {"name": name, "generation": generation},
            "spec": {
                "replicas": predictor.get("minReplicas", 1),
                "selector": {"matchLabels": {"app": f"isvc.{name}"}},
                "template": template,
            },
            "status": {
                "observedGeneration": generation,
                "replicas": replicas[0],
                "updatedReplicas": replicas[1],
                "availableReplicas": replicas[2],
            },
        }
        self.api.put("deployments", document)

    def _replace_pods(self, name: str, predictor: dict[str, Any], replicas: int) -> None:
        for old, pod in self.api.others("pods").items():
            if pod["metadata"]["labels"]["app"] == f"isvc.{name}":
                self.api.remove("pods", old)
        for number in range(replicas):
            self.api.put("pods", _pod_document(name, predictor, number, ready=True))

    def _succeed_with_revisions(self, live: dict[str, Any]) -> None:
        predictor = live["spec"]["predictor"]
        version, percent = _version(predictor), predictor.get("canaryTrafficPercent")
        revision = f"{NAME}-predictor-{live['metadata']['generation']:05}"
        former = next((n for n, r in self.api.others("revisions").items() if _full(r)), revision)
        self.api.put("revisions", _revision_document(revision, predictor))
        traffic = [{"revisionName": revision, "percent": 100, "latestRevision": True}]
        pods = [self.pod(version)]
        if percent is None or self._rolled_out is None:
            self._rolled_out = version
            for name, document in self.api.others("revisions").items():
                document["rolledOut"] = name == revision
                self.api.put("revisions", document)
        else:
            traffic[0]["percent"] = percent
            traffic.append({"revisionName": former, "percent": 100 - percent, "tag": "prev"})
            pods = [*pods, self.pod(self._rolled_out)] if percent else [self.pod(self._rolled_out)]
        self.pods.services = {f"{NAME}-predictor": pods}
        component = {
            "latestCreatedRevision": revision,
            "latestReadyRevision": revision,
            "address": {"url": f"http://{NAME}-predictor.{DOMAIN}:{self.port}"},
            "traffic": traffic,
        }
        # The InferenceService's own address needs Istio, which is not there.
        address = {"url": f"http://{NAME}.{DOMAIN}:{self.port}"}
        self.say(live, components={"predictor": component}, address=address)


def _mode(live: dict[str, Any]) -> str:
    return str(live["metadata"]["annotations"].get("serving.kserve.io/deploymentMode", "Knative"))


def _full(revision: dict[str, Any]) -> bool:
    return bool(revision.get("rolledOut"))


def _revision_document(name: str, predictor: dict[str, Any]) -> dict[str, Any]:
    source = {SOURCE: predictor["model"]["storageUri"]}
    return {
        "metadata": {"name": name, "annotations": source},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def _pod_document(
    name: str, predictor: dict[str, Any], number: int, ready: bool, **status: Any
) -> dict[str, Any]:
    source = predictor["model"]["storageUri"]
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {
            "name": f"{name}-{_version(predictor)}-{number}",
            "uid": f"{name}-{_version(predictor)}-{number}-uid",
            "labels": {
                "app": f"isvc.{name}",
                "component": "predictor",
                "serving.kserve.io/inferenceservice": NAME,
            },
            "annotations": {SOURCE: source},
        },
        "status": {"phase": "Running" if ready else "Pending", "conditions": conditions} | status,
    }


def _version(predictor: dict[str, Any]) -> int:
    return version_of(predictor["model"]["storageUri"]) or 0


def _canaries(live: dict[str, Any]) -> list[dict[str, Any]]:
    return live["spec"].get("canary", [])


@dataclass
class Cluster:
    """All of it, and a way to roll out to it."""

    api: KubeAPI
    kserve: KServe
    pods: Pods
    client: KubernetesAPI
    images: list[SmokeImage]

    def rollout(self, version: int = 6, **changes: Any) -> Rollout:
        return Rollout(plan(version, **changes), self.client, self.images)

    def start_with(self, version: int = 5, mode: str = "Standard", manager: str = "") -> None:
        """Lets a version serve, as an earlier rollout or somebody else left it."""
        document = yaml.safe_load(BASE.read_text())
        document["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = mode
        document["spec"]["predictor"]["model"]["storageUri"] = uri(version)
        if manager:
            self.api.kubectl_apply(document, manager)
        else:
            model = document["spec"]["predictor"]["model"]
            del model["storageUri"]
            own = {
                "metadata": {"name": NAME},
                "spec": {"predictor": {"model": {"storageUri": uri(version)}}},
            }
            with self.api.changed:
                self.api.kubectl_apply(document)
                self.api.kubectl_apply(own, "brain-tumor-deploy")
        until(lambda: self.serving() == [version] and self.ready())

    def serving(self) -> list[int]:
        return [pod.version for pod in self.pods.services.get(f"{NAME}-predictor", [])]

    def ready(self) -> bool:
        """Whether KServe has seen what is wanted."""
        return self.kserve.seen == self.api[NAME]["metadata"]["generation"]

    @property
    def claim(self) -> dict[str, Any]:
        """What the Lease of the last rollout says."""
        lease = self.api.others("leases")[f"{NAME}-rollout"]
        return lease["spec"] | lease["metadata"].get("annotations", {})

    def leave_claim(self, holder: str, former: str) -> None:
        """Writes the Lease of a rollout that is on, or was killed."""
        lease = {
            "metadata": {"name": f"{NAME}-rollout", "annotations": {FORMER: former}},
            "spec": {"holderIdentity": holder},
        }
        self.api.put("leases", lease)

    @property
    def wanted(self) -> dict[str, Any]:
        return self.api[NAME]["spec"]

    @property
    def annotations(self) -> dict[str, str]:
        return self.api[NAME]["metadata"]["annotations"]


def plan(version: int = 6, **changes: Any) -> Plan:
    """A plan for the impatient."""
    quick = {
        "inference_service": NAME,
        "namespace": "models",
        "version": version,
        "storage_uri": uri(version),
        "timeout_seconds": 30,
        "soak_seconds": 1,
        "probe_seconds": 0.005,
        "answers_in_a_row": 6,
        "min_canary_answers": 4,
    }
    return Plan.model_validate(quick | changes)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Points this process to an API server."""

    def point(server: str) -> None:
        path = tmp_path / "kubeconfig"
        write_kubeconfig(path, server)
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))

    return point


@pytest.fixture
def kube(kubeconfig: Callable[[str], None]) -> Iterator[KubeAPI]:
    api = KubeAPI()
    server = serve(api)
    kubeconfig(f"http://127.0.0.1:{server.server_address[1]}")
    yield api
    server.shutdown()
    server.server_close()


@pytest.fixture
def cluster(
    kube: KubeAPI, images: list[SmokeImage], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    pods = Pods(images)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (_ModelHandler,), {"pods": pods})
    )
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    kserve = KServe(kube, pods, server.server_address[1])
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **named: Any) -> Any:
        inside = str(host).endswith((".cluster.local", ".example.org"))
        return resolve("127.0.0.1" if inside else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(rollout_module, "_SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(api_module, "_PATIENCE", 2.0)
    yield Cluster(kube, kserve, pods, open_api(NAME, "models"), images)
    kserve.stop()
    server.shutdown()
    server.server_close()
