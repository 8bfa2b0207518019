"""A real KFP, and what a test makes in it.

Where it has many users, KFP_NAMESPACE and KFP_TOKEN are those of one of them.
"""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from tests.cluster.cluster import Cluster, Object, until
from tests.pipelines.exchanges import API
from tests.pipelines.scenarios import MULTI_USER, names

ENDPOINT = os.environ.get("KFP_ENDPOINT", "").rstrip("/")
NAMESPACE = os.environ.get("KFP_NAMESPACE", "")
TOKEN = os.environ.get("KFP_TOKEN", "")
SYSTEM = "kubeflow"  # the namespace of KFP
RUNS = NAMESPACE or SYSTEM  # the namespace of the runs
UI = f"/api/v1/namespaces/{SYSTEM}/services/ml-pipeline-ui:80/proxy"
ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
SCRIPT = Path(sys.executable).with_name("brain-tumor")
IMAGES = ["--source", "sample://?images=60", "--bootstrap-samples", "100", "--epochs", "1"]
TRAINING = [
    *("--max-trials", "1", "--tune-epochs", "1", "--champion-margin", "1"),
    *("--min-accuracy", "0", "--min-sensitivity", "0", "--min-specificity", "0"),
]


class Kfp:
    """A real KFP, and what a test makes in it.

    Attributes:
        suffix: Of the names of what it makes.
        user: Options of submit that say who asks.
    """

    def __init__(self) -> None:
        self.suffix = uuid.uuid4().hex[:8]
        self.pipeline, self.experiment = names(self.suffix)
        self.user = {"namespace": NAMESPACE, "token": TOKEN}
        self.headers = {"Connection": "close"} | (
            {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
        )

    @property
    def kind(self) -> str:
        """Which kind of KFP it is."""
        health = self.ask("GET", "/healthz")
        store = health.get("pipeline_store") or health["pipelineStore"]
        return MULTI_USER if health["multi_user"] else str(store)

    @property
    def behind_ui(self) -> bool:
        """Whether its UI passes requests on."""
        return "frontendTagName" in self.ask("GET", "/healthz")

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Sends one request to its API and returns the answer."""
        options: Object = {"json": body} if body is not None else {"fields": query}
        url = ENDPOINT + API + path
        found = urllib3.request(method, url, headers=self.headers, timeout=60, **options)
        assert found.status == 200, f"{method} {path}: {found.data.decode()}"
        return found.json()

    def known(self, kind: str, key: str, name: str) -> list[dict[str, Any]]:
        """Returns the things of a name."""
        wanted = {"operation": "EQUALS", "key": key, "stringValue": name}
        wanted = json.dumps({"predicates": [wanted]})
        found = self.ask("GET", f"/{kind}", filter=wanted, namespace=NAMESPACE)
        return list(found.get(kind, []))

    @property
    def versions(self) -> list[dict[str, Any]]:
        """The versions of the test's pipeline."""
        (pipeline,) = self.known("pipelines", "name", self.pipeline)
        found = self.ask("GET", f"/pipelines/{pipeline['pipeline_id']}/versions")
        return list(found.get("pipeline_versions", []))

    def archive(self) -> None:
        """Archives the test's experiment."""
        (experiment,) = self.known("experiments", "display_name", self.experiment)
        self.ask("POST", f"/experiments/{experiment['experiment_id']}:archive")

    def submit(self, cluster: Cluster, *options: str) -> str:
        """Submits with the command line, and returns the id of the run, or of the recurring run."""
        command = [str(SCRIPT), "submit", "--experiment", self.experiment, "--image", cluster.image]
        done = subprocess.run(
            [*command, "--gpu-count", "0", *IMAGES, *options], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        (run_id,) = re.findall(r"run ([-0-9a-f]{36})$", done.stdout, re.MULTILINE)
        return str(run_id)

    def clear(self) -> None:
        """Deletes what the test made."""
        for experiment in self.known("experiments", "display_name", self.experiment):
            ids = experiment["experiment_id"]
            for run in self.ask("GET", "/runs", experiment_id=ids).get("runs", []):
                self.ask("DELETE", f"/runs/{run['run_id']}")
            self.ask("DELETE", f"/experiments/{ids}")
        for pipeline in self.known("pipelines", "name", self.pipeline):
            self.ask("DELETE", f"/pipelines/{pipeline['pipeline_id']}", cascade="true")

    def first_of(self, recurring: str, experiment: str) -> Object:
        """Waits until a recurring run has started a run and this has ended; lets it start no more.

        Args:
            recurring: Id of the recurring run. It is deleted, with the workflows that it started.
            experiment: Id of its experiment.
        """

        def started() -> list[str]:
            runs = self.ask("GET", "/runs", experiment_id=experiment).get("runs", [])
            return [run["run_id"] for run in runs if run.get("recurring_run_id") == recurring]

        try:
            run_id = until(started, "the schedule starts a run")[0]
            self.ask("POST", f"/recurringruns/{recurring}:disable")
            return self.ended(run_id)
        finally:
            self.ask("DELETE", f"/recurringruns/{recurring}")

    def ended(self, run_id: str, seconds: float = 1700) -> Object:
        """Waits until a run has ended, and returns it."""

        def found() -> Object | None:
            run: Object = self.ask("GET", f"/runs/{run_id}")
            return run if run.get("state") in ENDED else None  # none while KFP knows none

        run: Object = until(found, f"run {run_id} ends", seconds)
        return run


@dataclass(frozen=True)
class Artifact:
    """What a step of a run wrote.

    Attributes:
        step: Of the pipeline.
        kind: Its type, such as system.HTML.
    """

    step: str
    name: str
    kind: str
    uri: str

    def read(self, cluster: Cluster, file: str = "") -> str:
        """Returns its content, or that of a file in it, as KFP's UI gets it."""
        where = urlsplit(self.uri)
        query = {
            "source": where.scheme,
            "namespace": RUNS,
            "bucket": where.netloc,
            "key": where.path.lstrip("/") + file,
        }
        return cluster.kubectl("get", "--raw", f"{UI}/artifacts/get?{urlencode(query)}")


@contextmanager
def volume(cluster: Cluster, name: str) -> Iterator[str]:
    """Makes a claim of a volume that many pods mount, for as long as the context lasts."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": RUNS}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    cluster.apply(claim | {"spec": spec})
    yield name
    cluster.kubectl("delete", "pvc", name, "--namespace", RUNS, "--wait=false")


def nodes(run_id: str, cluster: Cluster) -> list[Object]:
    """Returns the nodes of a run, as Argo has them; none before Argo knows of it."""
    found: list[Object] = []
    for workflow in cluster.list("workflows.argoproj.io", RUNS, f"pipeline/runid={run_id}"):
        status = workflow.get("status", {})
        packed = status.get("compressedNodes")  # in place of `nodes`, where those are over 1 MB
        known = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else {}
        found += {**status.get("nodes", {}), **known}.values()
    return found


def tasks(run_id: str, cluster: Cluster, step: str) -> list[list[Object]]:
    """Returns the pods of a step, as Argo's nodes: of each task its tries, the first one first."""
    found: dict[str, dict[int, Object]] = defaultdict(dict)
    for node in nodes(run_id, cluster):
        pod = re.fullmatch(rf"(.*\.{step}\(\d+\))\.executor\((\d+)\)", node["name"])
        if pod and node["type"] == "Pod":
            found[pod[1]][int(pod[2])] = node
    return [[tries[number] for number in sorted(tries)] for tries in found.values()]


def artifacts(run_id: str, cluster: Cluster) -> list[Artifact]:
    """Returns what the steps of a run wrote, as their launchers were told to."""
    found = {}
    for node in nodes(run_id, cluster):
        for parameter in node.get("inputs", {}).get("parameters", []):
            if parameter["name"] == "pod-spec-patch" and parameter.get("value"):  # not cached
                command = json.loads(parameter["value"])["containers"][0]["command"]
                given = json.loads(command[command.index("--executor_input") + 1])
                for name, written in given["outputs"].get("artifacts", {}).items():
                    (one,) = written["artifacts"]
                    uri = one["uri"]
                    step = uri.rsplit("/", 3)[1]
                    found[uri] = Artifact(step, name, one["type"]["schemaTitle"], uri)
    return list(found.values())


def artifact(run_id: str, cluster: Cluster, step: str, name: str) -> Artifact:
    """Returns an artifact that one step of a run wrote."""
    (found,) = [a for a in artifacts(run_id, cluster) if (a.step, a.name) == (step, name)]
    return found
