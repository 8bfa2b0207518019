"""The manifests: KServe's own models accept them, and their names, ports and probes agree."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kserve
import kubernetes.client
import pytest
import yaml

BASE = Path(__file__).parents[2] / "manifests" / "base"


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((BASE / name).read_text())


@pytest.fixture
def runtime() -> dict[str, Any]:
    return _read("servingruntime.yaml")


@pytest.fixture
def service() -> dict[str, Any]:
    return _read("inferenceservice.yaml")


def test_the_kustomization_names_every_file() -> None:
    listed = set(_read("kustomization.yaml")["resources"])
    assert listed == {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}


def _unknown(value: Any, kind: str, where: str) -> Iterator[str]:
    """Yields the fields of a document that the models of KServe and Kubernetes do not know."""
    inner = re.fullmatch(r"(?:list\[|dict\(str, )(.+)[\])]", kind)
    if inner:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _unknown(item, inner[1], f"{where}.{key}")
        return
    model = getattr(kserve, kind, None) or getattr(kubernetes.client, kind, None)
    if model is None:  # a plain type
        return
    names = {wire: name for name, wire in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            yield f"{where}.{key}"
        else:
            yield from _unknown(item, model.openapi_types[names[key]], f"{where}.{key}")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("servingruntime.yaml", "V1alpha1ServingRuntime"),
        ("inferenceservice.yaml", "V1beta1InferenceService"),
    ],
)
def test_kserves_models_know_every_field(name: str, kind: str) -> None:
    document = _read(name)
    assert list(_unknown(document, kind, kind)) == []
    document["spec"]["misspelt"] = 1
    assert list(_unknown(document, kind, kind)) == [f"{kind}.spec.misspelt"]


def test_the_service_takes_the_runtime_for_its_format(
    runtime: dict[str, Any], service: dict[str, Any]
) -> None:
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    formats = {entry["name"] for entry in runtime["spec"]["supportedModelFormats"]}
    assert model["modelFormat"]["name"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


def test_name_ports_and_probes_agree(runtime: dict[str, Any]) -> None:
    (container,) = runtime["spec"]["containers"]
    args = container["args"]
    assert args[args.index("--name") + 1] == "{{.Name}}"
    port = args[args.index("--port") + 1]
    assert {str(entry["containerPort"]) for entry in container["ports"]} == {port}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert str(container[probe]["httpGet"]["port"]) == port
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/{{.Name}}/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_the_pod_outlives_its_drain(runtime: dict[str, Any], service: dict[str, Any]) -> None:
    from serving.settings import Settings

    (container,) = runtime["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    drain = float(given.pop("BRAIN_TUMOR_SERVE_DRAIN_SECONDS"))
    assert not given
    grace = Settings().grace_seconds
    assert service["spec"]["predictor"]["terminationGracePeriodSeconds"] > drain + grace


def test_pods_pass_the_restricted_standard(
    runtime: dict[str, Any], service: dict[str, Any]
) -> None:
    (container,) = runtime["spec"]["containers"]
    security = container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert service["spec"]["predictor"]["securityContext"]["runAsNonRoot"] is True
    assert {volume["name"] for volume in runtime["spec"]["volumes"]} == {"tmp"}
