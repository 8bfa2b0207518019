"""The Helm chart makes the objects that Kustomize makes."""

import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from manifests.helm import TEMPLATES, templates
from tests.manifests.kustomize import MANIFESTS, STORES, Object, Objects, objects
from tests.manifests.network import lets_in

CHART = MANIFESTS / "chart"
HELM = shutil.which("helm")
needs_helm = pytest.mark.skipif(not HELM, reason="helm is not on the PATH")
SWITCHES: dict[str, dict[str, Any]] = {
    "gpu": {"gpu": True},
    "small": {"small": True},
    "knative": {"knative": True},
    "monitoring": {"monitoring": {"enabled": True}},
    "public-store": {"publicStore": True},
    "tokens": {"tokensSecret": "brain-tumor-tokens"},
    "signed": {"publicKeyConfigMap": "brain-tumor-public-key"},
}


def test_the_templates_are_those_that_make_chart_writes() -> None:
    written = {path.name: path.read_text() for path in TEMPLATES.glob("*.yaml")}
    assert written == templates(), "make chart writes them"


def test_the_chart_is_of_this_version() -> None:
    project = tomllib.loads((MANIFESTS.parent / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project["version"]


def helm(*arguments: str, values: Object) -> str:
    done = subprocess.run(
        [str(HELM), *arguments, "--values", "-"],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(values: Object, release: str = "a-brain-tumor") -> Objects:
    """Returns what Helm would install."""
    command = ("template", release, str(CHART), "--namespace", "elsewhere")
    text = helm(*command, "--kube-version", "1.34.0", values=values)
    return Objects(yaml.load_all(text, yaml.CSafeLoader))


def comparable(found: Objects) -> dict[str, Object]:
    """Returns objects by kind, but for who manages them and for the namespace."""
    kept = {}
    for one in found:
        managed = one["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
        assert managed in ("kustomize", "Helm")
        if one["kind"] != "Namespace":
            assert one["kind"] not in kept
            kept[one["kind"]] = one
    return kept


@needs_helm
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    "components",
    [
        (),
        ("gpu",),
        ("small",),
        ("small", "canary"),
        ("canary",),
        ("knative",),
        ("monitoring",),
        ("public-store",),
        ("tokens",),
        ("gpu", "canary", "monitoring", "public-store", "tokens", "signed"),
        ("signed",),
        ("gpu", "canary", "knative"),
    ],
    ids="-".join,
)
def test_helm_makes_what_kustomize_makes(store: str, components: tuple[str, ...]) -> None:
    kustomized = objects(
        f"overlays/{store}", components=components, namespace="elsewhere", namePrefix="a-"
    )
    values: dict[str, Any] = {"store": store}
    for component in components:
        values |= SWITCHES.get(component, {})
    if "canary" in components:
        canaries = kustomized.one("InferenceService")["spec"].get("canary", [{}])
        model = canaries[0].get("predictor", {}).get("model", {})
        values["canary"] = {"storageUri": model.get("storageUri", "s3://models/brain-tumor/2/")}
    assert comparable(rendered(values)) == comparable(kustomized)


@needs_helm
def test_values_reach_their_fields() -> None:
    resources = {"requests": {"cpu": "7"}, "limits": {"cpu": "8"}}
    values = {
        "image": "registry.example/s@sha256:00",
        "storageUri": "s3://mine/brain-tumor/7/",
        "storeSecret": "mine",
        "minReplicas": 8,
        "maxReplicas": 9,
        "resources": resources,
        "canary": {"storageUri": "s3://mine/brain-tumor/8/", "trafficPercent": 25},
        "monitoring": {"enabled": True, "release": "prometheus", "namespace": "metrics"},
        "tokensSecret": "my-tokens",
        "gateways": ["nginx"],
        "publicKeyConfigMap": "signer",
        "pipelineNamespace": "team",
        "fullnameOverride": "tumor",
    }
    found = rendered(values)
    assert found.container["image"] == "registry.example/s@sha256:00"
    assert found.container["resources"] == resources
    assert found.predictor["model"]["storageUri"] == "s3://mine/brain-tumor/7/"
    assert (found.predictor["minReplicas"], found.predictor["maxReplicas"]) == (8, 9)
    (canary,) = found.one("InferenceService")["spec"]["canary"]
    assert canary["trafficPercent"] == 25
    assert canary["predictor"]["model"]["storageUri"] == "s3://mine/brain-tumor/8/"
    assert found.one("ServiceAccount")["secrets"] == [{"name": "mine"}]
    assert found.predictor["volumes"][0]["projected"]["sources"][0]["configMap"]["name"] == "signer"
    assert found.one("RoleBinding")["subjects"][0]["namespace"] == "team"
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert found.one(kind)["metadata"]["labels"]["release"] == "prometheus"
    policy = found.one("NetworkPolicy")["spec"]
    for namespace, port in (("nginx", 8081), ("metrics", 8080), ("team", 8080)):
        assert lets_in(policy, {"kubernetes.io/metadata.name": namespace}, {}, port)
    for namespace in ("istio-system", "monitoring", "kubeflow"):
        assert not lets_in(policy, {"kubernetes.io/metadata.name": namespace}, {}, 8080)
    assert found.one("ServingRuntime")["spec"]["volumes"][1]["secret"]["secretName"] == "my-tokens"
    (endpoint,) = found.one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == "my-tokens"
    assert found.one("InferenceService")["metadata"]["name"] == "tumor"
    assert found.predictor["serviceAccountName"] == "tumor-predictor"
    local = rendered({"store": "local", "image": "serve:1", "volumeSize": "5Gi"})
    assert local.one("Pod")["spec"]["containers"][0]["image"] == "serve:1"
    claim = local.one("PersistentVolumeClaim")["spec"]
    assert claim["resources"] == {"requests": {"storage": "5Gi"}}


@needs_helm
@pytest.mark.parametrize(
    "values",
    [
        {"store": "hdfs"},
        {"replicas": 3},
        {"minReplicas": "three"},
        {"canary": {"percent": 10}},
        {"canary": {"trafficPercent": 101}},
        {"storageUri": "models/brain-tumor/1"},
    ],
    ids=str,
)
def test_a_value_that_the_chart_does_not_know_is_refused(values: Object) -> None:
    command = [str(HELM), "template", "a", str(CHART), "--kube-version", "1.34.0", "--values", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True)
    assert done.returncode
    assert next(iter(values)) in done.stderr


@needs_helm
def test_helm_finds_nothing_to_complain_of() -> None:
    helm("lint", str(CHART), "--strict", "--quiet", "--kube-version", "1.34.0", values={})
