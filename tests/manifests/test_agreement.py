"""Names, ports, probes and references agree, whatever a user's overlay calls things."""

import re
import tomllib
from collections.abc import Iterator

from tests.manifests.kustomize import (
    COMPONENTS,
    FOLDERS,
    MANIFESTS,
    Object,
    Objects,
    labels_of,
    objects,
)

VERSION = tomllib.loads((MANIFESTS.parent / "pyproject.toml").read_text())["project"]["version"]
DIGEST = "sha256:" + "0" * 64
RENAMED = {
    "namespace": "elsewhere",
    "namePrefix": "a-",
    "nameSuffix": "-z",
    "images": [{"name": "brain-tumor-serve", "newName": "registry.example/s", "digest": DIGEST}],
}


def check(found: Objects) -> None:
    """Checks that everything which names another thing names one that is there."""
    runtime = found.one("ServingRuntime")
    for predictor in _predictors(found):
        model = predictor["model"]
        assert model["runtime"] == runtime["metadata"]["name"]
        formats = {entry["name"] for entry in runtime["spec"]["supportedModelFormats"]}
        assert model["modelFormat"]["name"] in formats
        assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    accounts = {account["metadata"]["name"] for account in found.of("ServiceAccount")}
    assert found.predictor["serviceAccountName"] in accounts
    binding, role = found.one("RoleBinding"), found.one("Role")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == ["brain-tumor-pipeline"]
    assert [subject["namespace"] for subject in binding["subjects"]] == ["kubeflow"]
    for selector in _selectors(found):
        assert selector == labels_of(found)
    claims = {claim["metadata"]["name"] for claim in found.of("PersistentVolumeClaim")}
    assert set(_claims(found)) == claims
    namespaces = {entry["metadata"].get("namespace") for entry in found} - {None}
    assert namespaces == {found.one("Namespace")["metadata"]["name"]}


def _claims(found: Objects) -> Iterator[str]:
    """Yields the claims that pods would mount."""
    for predictor in _predictors(found):
        scheme, _, rest = predictor["model"]["storageUri"].partition("://")
        if scheme == "pvc":
            yield rest.partition("/")[0]
    for pod in found.of("Pod"):
        for volume in pod["spec"]["volumes"]:
            yield volume["persistentVolumeClaim"]["claimName"]


def _predictors(found: Objects) -> list[Object]:
    canaries = found.one("InferenceService")["spec"].get("canary", [])
    return [found.predictor, *(entry["predictor"] for entry in canaries)]


def _selectors(found: Objects) -> list[dict[str, str]]:
    """Returns the labels by which pods, or the Service before them, are found."""
    selectors = [entry["spec"]["selector"] for entry in found.of("PodDisruptionBudget")]
    selectors += [entry["spec"]["podSelector"] for entry in found.of("NetworkPolicy")]
    selectors += [entry["spec"]["selector"] for entry in found.of("ServiceMonitor")]
    selectors += [
        entry["labelSelector"] for entry in found.predictor.get("topologySpreadConstraints", [])
    ]
    assert len(selectors) >= 2
    return [entry["matchLabels"] for entry in selectors]


def test_everything_that_is_named_is_there(served: Objects) -> None:
    if served != objects("base"):  # whose claim is the user's own
        check(served)


def test_name_ports_and_probes_agree(served: Objects) -> None:
    container = served.container
    assert container["name"] == "kserve-container"
    args = container["args"]
    assert args[0] == "/mnt/models"
    given = dict(zip(args[1::2], args[2::2], strict=True))
    assert given["--name"] == "{{.Name}}"
    ports = {entry["name"]: str(entry["containerPort"]) for entry in container["ports"]}
    assert ports.pop("http1") == given["--port"]
    assert ports in ({"grpc": given["--grpc-port"]}, {})
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert str(container[probe]["httpGet"]["port"]) == given["--port"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/{{.Name}}/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_the_arguments_are_those_of_the_command(served: Objects) -> None:
    import typer
    from typer.main import get_command

    from serving.cli import serve

    app = typer.Typer()
    app.command()(serve)
    known = {option for parameter in get_command(app).params for option in parameter.opts}
    assert {arg for arg in served.container["args"] if arg.startswith("--")} <= known


def test_the_image_is_of_this_version(served: Objects) -> None:
    assert re.fullmatch(
        rf"brain-tumor-serve:{re.escape(VERSION)}(-cuda)?", served.container["image"]
    )


def test_labels_follow_the_convention(served: Objects) -> None:
    for found in (*served, *objects("pipeline")):
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "brain-tumor"
        assert labels["app.kubernetes.io/part-of"] == "brain-tumor"
        assert labels["app.kubernetes.io/managed-by"] == "kustomize"
        assert labels["app.kubernetes.io/version"] == VERSION
        assert "app.kubernetes.io/component" in labels or found["kind"] == "Namespace"


def test_every_file_is_used() -> None:
    for folder in (*FOLDERS, *(f"components/{name}" for name in (*COMPONENTS, "labels"))):
        text = (MANIFESTS / folder / "kustomization.yaml").read_text()
        for path in (MANIFESTS / folder).iterdir():
            assert path.name == "kustomization.yaml" or path.name in text, path


def test_a_store_is_named_with_a_slash_at_its_end(served: Objects) -> None:
    # Without it KServe would fetch version 10 as well as version 1.
    for predictor in _predictors(served):
        scheme, _, rest = predictor["model"]["storageUri"].partition("://")
        assert scheme in ("s3", "gs", "pvc")
        assert rest.endswith("/") or scheme == "pvc"


def test_each_mode_has_only_the_fields_that_work_there(served: Objects) -> None:
    predictor, service = served.predictor, served.one("InferenceService")
    annotations = service["metadata"]["annotations"]
    if annotations["serving.kserve.io/deploymentMode"] == "Standard":
        assert "canaryTrafficPercent" not in predictor, "Standard mode ignores it without a word"
        scaling = annotations["serving.kserve.io/autoscalerClass"]
        assert (scaling, predictor.get("scaleMetric")) in (("hpa", "cpu"), ("none", None))
    else:
        assert annotations["serving.kserve.io/deploymentMode"] == "Knative"
        assert "serving.kserve.io/autoscalerClass" not in annotations
        assert "canary" not in service["spec"]
        assert predictor["scaleMetric"] == "concurrency"
        assert len(served.container["ports"]) == 1
        refused = {"deploymentStrategy", "terminationGracePeriodSeconds"}
        assert not refused & set(predictor)
