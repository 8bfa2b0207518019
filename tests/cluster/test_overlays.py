"""Overlays and components on a real cluster, under a user's own names."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from minio import Minio

from tests.cluster.cluster import MANIFESTS, NAME, Cluster, Object, until
from tests.manifests.kustomize import COMPONENTS, STORES

NAMES = {"namePrefix": "a-", "nameSuffix": "-z"}
RENAMED = f"a-{NAME}-z"
OPERATOR = "servicemonitors.monitoring.coreos.com"
KNATIVE = "services.serving.knative.dev"


def replace(kind: str, path: str, value: Any) -> Object:
    """Returns the patch of a user's own overlay that sets one field."""
    operation = {"op": "replace", "path": path, "value": value}
    return {"target": {"kind": kind}, "patch": yaml.safe_dump([operation])}


def overlay(store: str) -> Path:
    return MANIFESTS / "overlays" / store


def needs(cluster: Cluster, crd: str, what: str) -> None:
    if "NotFound" in cluster.kubectl("get", "crd", crd, check=False):
        pytest.skip(f"the cluster has no {what}")


@pytest.fixture
def made(cluster: Cluster, namespace: str) -> str:
    """A namespace that is there."""
    cluster.kubectl("create", "namespace", namespace)
    return namespace


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    "components", [(), *((name,) for name in COMPONENTS), ("gpu", "canary")], ids="-".join
)
def test_the_api_server_takes_every_overlay_with_every_component(
    cluster: Cluster, tmp_path: Path, store: str, components: tuple[str, ...]
) -> None:
    if "monitoring" in components:
        needs(cluster, OPERATOR, "Prometheus operator")
    # A dry run makes no namespace, so it has to be one that is there.
    there = "default"
    folder = cluster.kustomize(tmp_path, there, overlay(store), components=components, **NAMES)
    said = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-k", str(folder))
    assert f"inferenceservice.serving.kserve.io/{RENAMED} serverside-applied" in said


def apply(cluster: Cluster, folder: Path) -> None:
    cluster.kubectl("apply", "--server-side", "-k", str(folder))


def ready(cluster: Cluster, namespace: str, service: str) -> bool:
    conditions = cluster.get("inferenceservice", service, namespace).get("status", {})
    found = {c["type"]: c["status"] for c in conditions.get("conditions", [])}
    return found.get("Ready") == "True"


def served_version(cluster: Cluster, namespace: str, service: str, model: str) -> str:
    """Returns the version that answers behind a Service, asked through the API server."""
    address = f"/api/v1/namespaces/{namespace}/services/{service}:http1/proxy/v2/models/{model}"
    (version,) = json.loads(cluster.kubectl("get", "--raw", address))["versions"]
    return str(version)


def copy_through_loader(cluster: Cluster, namespace: str, loader: str, registry: Path) -> None:
    """Copies a registry to the volume, and ends the loader."""
    within = ("--namespace", namespace)
    cluster.kubectl("wait", *within, "--for", "condition=Ready", f"pod/{loader}", "--timeout=120s")
    cluster.kubectl("cp", f"{registry / NAME}", f"{namespace}/{loader}:/registry")
    # SIGTERM ends it long before it would be killed, after 30 s.
    cluster.kubectl("delete", *within, "pod", loader, "--timeout=20s")


def test_a_volume_serves_two_versions_under_own_names(
    cluster: Cluster, namespace: str, registry: Path, tmp_path: Path
) -> None:
    resources = (overlay("local"), MANIFESTS / "pipeline")
    folder = cluster.kustomize(tmp_path, namespace, *resources, components=["canary"], **NAMES)
    apply(cluster, folder)
    copy_through_loader(cluster, namespace, f"a-{NAME}-loader-z", registry)
    for service, version in (("predictor", "1"), ("canary-predictor", "2")):
        name = f"{RENAMED}-{service}"
        cluster.kubectl(
            *("rollout", "status", f"deployment/{name}"),
            *("--namespace", namespace, "--timeout", "300s"),
        )
        assert served_version(cluster, namespace, name, RENAMED) == version
    until(lambda: ready(cluster, namespace, RENAMED), "the InferenceService is ready")
    account = f"system:serviceaccount:{namespace}:a-{NAME}-pipeline-z"
    for verb, allowed in (("patch", "yes"), ("delete", "no")):
        asked = ("auth", "can-i", verb, "inferenceservices", "--as", account)
        said = cluster.kubectl(*asked, "--namespace", namespace, check=False)
        assert said.split()[0] == allowed


def test_monitoring_finds_the_service_that_kserve_makes(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    needs(cluster, OPERATOR, "Prometheus operator")
    components = ["monitoring"]
    folder = cluster.kustomize(
        tmp_path, namespace, overlay("local"), components=components, **NAMES
    )
    apply(cluster, folder)
    monitor = cluster.get("servicemonitor", f"a-{NAME}-predictor-z", namespace)["spec"]
    labels = monitor["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    (service,) = until(lambda: cluster.list("service", namespace, selector), "a Service")
    ports = {entry["name"]: entry["targetPort"] for entry in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= set(ports)
    policy = cluster.get("networkpolicy", f"a-{NAME}-predictor-z", namespace)["spec"]
    allowed = {entry["port"] for entry in policy["ingress"][0]["ports"]}
    assert set(ports.values()) <= allowed
    chosen = set(policy["podSelector"]["matchLabels"].items())
    (pod, *_) = until(lambda: cluster.list("pod", namespace, selector), "a pod")
    assert chosen <= set(pod["metadata"]["labels"].items())


def test_a_gpu_is_asked_for_and_waited_for(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    folder = cluster.kustomize(tmp_path, namespace, overlay("local"), components=["gpu"], **NAMES)
    apply(cluster, folder)
    selector = f"serving.kserve.io/inferenceservice={RENAMED}"

    nodes = json.loads(cluster.kubectl("get", "nodes", "--output", "json"))["items"]
    has_gpus = any("nvidia.com/gpu" in node["status"]["allocatable"] for node in nodes)

    def looked_at() -> Object | None:
        for pod in cluster.list("pod", namespace, selector):
            for condition in pod["status"].get("conditions", []):
                waits = "Insufficient nvidia.com/gpu" in condition.get("message", "")
                if condition["type"] == "PodScheduled" and (waits or has_gpus):
                    return pod
        return None

    pod = until(looked_at, "the scheduler has looked at a pod")
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_kserve_downloads_from_google_with_the_secret(
    cluster: Cluster, made: str, tmp_path: Path
) -> None:
    secret = template("gcs", made, {"gcloud-application-credentials.json": "{}"})
    cluster.apply(secret)
    apply(cluster, cluster.kustomize(tmp_path, made, overlay("gcs"), **NAMES))
    selector = f"serving.kserve.io/inferenceservice={RENAMED}"
    (pod, *_) = until(lambda: cluster.list("pod", made, selector), "a pod")
    (download,) = pod["spec"]["initContainers"]
    assert download["args"] == ["gs://models/brain-tumor/1/", "/mnt/models"]
    mounted = {
        volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume
    }
    assert mounted == {secret["metadata"]["name"]}


def template(store: str, namespace: str, values: dict[str, str]) -> Object:
    """Returns the template of the predictor's secret, filled in."""
    path = MANIFESTS / "secrets" / f"predictor-{store}.yaml"
    secret: Object = yaml.safe_load(path.read_text())
    assert set(secret["stringData"]) == set(values)
    secret["metadata"]["namespace"] = namespace
    return secret | {"stringData": values}


@pytest.fixture
def bucket(cluster: Cluster, registry: Path) -> Iterator[tuple[str, str]]:
    """A bucket with the registry in the SeaweedFS of KFP, and the secret key that may read it."""
    if "NotFound" in cluster.kubectl("get", "deployment", *SEAWEED, check=False):
        pytest.skip("the cluster has no SeaweedFS of Kubeflow Pipelines")
    reads, writes = "read-0123456789", "write-0123456789"
    name = f"{NAME}-test"
    shell(cluster, f"s3.bucket.create -name {name}")
    for user, key, actions in (("reader", reads, "Read,List"), ("writer", writes, "Write,List")):
        shell(
            cluster,
            f"s3.configure -user {name}-{user} -access_key {name}-{user} -secret_key {key} "
            f"-buckets {name} -actions {actions} -apply",
        )
    with forwarded(cluster) as address:
        client = Minio(address, f"{name}-writer", writes, secure=False, region="us-east-1")
        for path in (registry / NAME).rglob("*"):
            if path.is_file():
                client.fput_object(name, str(path.relative_to(registry)), str(path))
    yield name, reads
    shell(cluster, f"s3.bucket.delete -name {name}")
    for user in ("reader", "writer"):
        shell(cluster, f"s3.configure -user {name}-{user} -delete -apply")


SEAWEED = ("seaweedfs", "--namespace", "kubeflow")


def shell(cluster: Cluster, command: str) -> str:
    where = ("--stdin", "--namespace", "kubeflow", "deployment/seaweedfs")
    return cluster.kubectl("exec", *where, "--", "weed", "shell", given=f"{command}\n")


@contextmanager
def forwarded(cluster: Cluster) -> Iterator[str]:
    """Forwards a port of this machine to the store's."""
    command = ["port-forward", "--namespace", "kubeflow", "service/seaweedfs", ":8333"]
    with cluster.started(*command) as process:
        assert process.stdout is not None
        line = process.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 8333
        yield line.split()[2]


def test_an_s3_store_serves_under_own_names(
    cluster: Cluster, made: str, tmp_path: Path, bucket: tuple[str, str]
) -> None:
    name, key = bucket
    # Once for a cluster, as docs/deploy.md says.
    patch = MANIFESTS / "cluster" / "storage-initializer.yaml"
    cluster.kubectl(
        *("patch", "clusterstoragecontainer", "default"),
        *("--type", "merge", "--patch-file", str(patch)),
    )
    cluster.kubectl("apply", "-f", str(MANIFESTS / "cluster" / "seaweedfs-access.yaml"))
    keys = {"AWS_ACCESS_KEY_ID": f"{name}-reader", "AWS_SECRET_ACCESS_KEY": key}
    cluster.apply(template("s3", made, keys))
    uri = f"s3://{name}/{NAME}/2/"
    patches = [
        replace("InferenceService", "/spec/predictor/model/storageUri", uri),
        replace("InferenceService", "/spec/predictor/minReplicas", 1),
        replace("ServingRuntime", "/spec/containers/0/resources/requests/cpu", "100m"),
    ]
    folder = cluster.kustomize(tmp_path, made, overlay("s3"), patches=patches, **NAMES)
    apply(cluster, folder)
    until(lambda: ready(cluster, made, RENAMED), "the InferenceService is ready")
    assert served_version(cluster, made, f"{RENAMED}-predictor", RENAMED) == "2"


def test_a_knative_revision_serves_from_a_volume(
    cluster: Cluster, namespace: str, registry: Path, tmp_path: Path
) -> None:
    needs(cluster, KNATIVE, "Knative Serving")
    folder = cluster.kustomize(
        tmp_path, namespace, overlay("local"), components=["knative"], **NAMES
    )
    apply(cluster, folder)
    copy_through_loader(cluster, namespace, f"a-{NAME}-loader-z", registry)
    until(lambda: ready(cluster, namespace, RENAMED), "the InferenceService is ready")


def test_helm_installs_what_serves(cluster: Cluster, made: str, registry: Path) -> None:
    helm = shutil.which("helm")
    if not helm:
        pytest.skip("helm is not on the PATH")
    command = [helm, "install", "tumor", str(MANIFESTS / "chart"), "--namespace", made]
    values = f"store=local,image={cluster.serve_image}"
    subprocess.run([*command, "--set", values], check=True, capture_output=True)
    copy_through_loader(cluster, made, "tumor-loader", registry)
    until(lambda: ready(cluster, made, "tumor"), "the InferenceService is ready")
    assert served_version(cluster, made, "tumor-predictor", "tumor") == "1"
