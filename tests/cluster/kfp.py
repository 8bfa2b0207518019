"""A real KFP, and what a test makes in it.

Where it has many users, KFP_NAMESPACE and KFP_TOKEN are those of one of them.
"""

import json
import os
import uuid
from dataclasses import dataclass
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

    def clear(self) -> None:
        """Deletes what the test made."""
        for experiment in self.known("experiments", "display_name", self.experiment):
            ids = experiment["experiment_id"]
            for run in self.ask("GET", "/runs", experiment_id=ids).get("runs", []):
                self.ask("DELETE", f"/runs/{run['run_id']}")
            self.ask("DELETE", f"/experiments/{ids}")
        for pipeline in self.known("pipelines", "name", self.pipeline):
            self.ask("DELETE", f"/pipelines/{pipeline['pipeline_id']}", cascade="true")

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


def artifacts(run_id: str, cluster: Cluster) -> list[Artifact]:
    """Returns what the steps of a run wrote, as their launchers were told to."""
    (workflow,) = cluster.list("workflows.argoproj.io", RUNS, f"pipeline/runid={run_id}")
    found = {}
    for node in workflow["status"]["nodes"].values():
        for parameter in node.get("inputs", {}).get("parameters", []):
            if parameter["name"] == "pod-spec-patch":
                command = json.loads(parameter["value"])["containers"][0]["command"]
                given = json.loads(command[command.index("--executor_input") + 1])
                for name, written in given["outputs"].get("artifacts", {}).items():
                    (one,) = written["artifacts"]
                    uri = one["uri"]
                    step = uri.rsplit("/", 3)[1]
                    found[uri] = Artifact(step, name, one["type"]["schemaTitle"], uri)
    return list(found.values())
