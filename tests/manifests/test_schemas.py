"""Every object of every overlay is one that its API server would take."""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import kserve.models
import kubernetes.client
import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from tests.manifests.kustomize import MANIFESTS, Objects

KUBERNETES = ("1.31", "1.37")
KSERVE = {
    "InferenceService": "V1beta1InferenceService",
    "ServingRuntime": "V1alpha1ServingRuntime",
}
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float)}
FREE = {"object", "ResourceQuantity", "IntstrIntOrString"}  # any of several types

Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(ms|[smhdwy]))+$")]
Label = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Template = Annotated[str, StringConstraints(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Strict):
    name: str
    namespace: str
    labels: dict[str, str]


class Selector(Strict):
    matchLabels: dict[str, str]  # noqa: N815  # as in the CRD


class Endpoint(Strict):
    port: str
    path: str
    interval: Duration


class ServiceMonitorSpec(Strict):
    selector: Selector
    targetLabels: list[str]  # noqa: N815
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class ServiceMonitor(Strict):
    """The part of the Prometheus operator's CRD that is used here."""

    apiVersion: Literal["monitoring.coreos.com/v1"]  # noqa: N815
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: ServiceMonitorSpec


class Rule(Strict):
    alert: Label
    expr: Template
    for_: Duration = Field(alias="for")
    labels: dict[Label, str]
    annotations: dict[Label, Template]


class Group(Strict):
    name: str
    rules: Annotated[list[Rule], Field(min_length=1)]


class PrometheusRuleSpec(Strict):
    groups: Annotated[list[Group], Field(min_length=1)]


class PrometheusRule(Strict):
    """The part of the Prometheus operator's CRD that is used here."""

    apiVersion: Literal["monitoring.coreos.com/v1"]  # noqa: N815
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: PrometheusRuleSpec


MONITORING = {
    "ServiceMonitor": TypeAdapter(ServiceMonitor),
    "PrometheusRule": TypeAdapter(PrometheusRule),
}


def faults(value: Any, kind: str, where: str) -> Iterator[str]:
    """Yields the fields that the models of KServe and Kubernetes do not know, or of other types."""
    inner = re.fullmatch(r"(list\[|dict\(str, )(.+)[\])]", kind)
    if inner:
        if not isinstance(value, list if inner[1] == "list[" else dict):
            yield where
            return
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from faults(item, inner[2], f"{where}.{key}")
        return
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield where
        return
    if kind in FREE:
        return
    name = re.sub("^K8sIoApi(Apps|Autoscaling|Core)", "", kind)
    model = getattr(kserve.models, kind, None) or getattr(kubernetes.client, name)
    if not isinstance(value, dict):
        yield where
        return
    names = {wire: attribute for attribute, wire in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            yield f"{where}.{key}"
        else:
            yield from faults(item, model.openapi_types[names[key]], f"{where}.{key}")


def test_every_object_fits_its_schema(every: Objects) -> None:
    for found in every:
        kind = found["kind"]
        if kind in KSERVE:
            assert list(faults(found, KSERVE[kind], kind)) == []
        elif kind in MONITORING:
            MONITORING[kind].validate_python(found)
        else:
            for version in KUBERNETES:
                kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize(
    "path",
    [*sorted((MANIFESTS / "secrets").glob("*.yaml")), MANIFESTS / "overlays/local/loader.yaml"],
    ids=lambda path: path.stem,
)
def test_what_is_applied_alone_fits_its_schema(path: Path) -> None:
    for version in KUBERNETES:
        kubernetes_validate.validate(yaml.safe_load(path.read_text()), version, strict=True)


@pytest.mark.parametrize(
    ("kind", "spoil", "where"),
    [
        ("InferenceService", lambda spec: spec.update(misspelt=1), "spec.misspelt"),
        (
            "InferenceService",
            lambda spec: spec["predictor"].update(minReplicas="3"),
            "spec.predictor.minReplicas",
        ),
        (
            "InferenceService",
            lambda spec: spec["canary"][0]["predictor"]["model"].update(uri="s3://"),
            "spec.canary.0.predictor.model.uri",
        ),
        (
            "InferenceService",
            lambda spec: spec["predictor"]["deploymentStrategy"].update(rolling={}),
            "spec.predictor.deploymentStrategy.rolling",
        ),
        (
            "ServingRuntime",
            lambda spec: spec["containers"][0].update(args="--name"),
            "spec.containers.0.args",
        ),
        (
            "ServingRuntime",
            lambda spec: spec["containers"][0]["securityContext"].update(runAsRoot=True),
            "spec.containers.0.securityContext.runAsRoot",
        ),
    ],
)
def test_a_wrong_field_is_found(
    overlay: Callable[[str], Objects], kind: str, spoil: Callable[[Any], None], where: str
) -> None:
    found = copy.deepcopy(overlay("canary").one(kind))
    spoil(found["spec"])
    assert list(faults(found, KSERVE[kind], kind)) == [f"{kind}.{where}"]


def test_the_patch_of_the_storage_initializer_is_one_of_its_kind() -> None:
    patch = yaml.safe_load((MANIFESTS / "cluster" / "storage-initializer.yaml").read_text())
    assert list(faults(patch, "V1alpha1ClusterStorageContainer", "patch")) == []
