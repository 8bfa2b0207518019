"""Every object of every overlay is one that its API server would take."""

import copy
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests import crds
from tests.manifests.kustomize import MANIFESTS, Object, Objects, objects

KUBERNETES = ("1.31", "1.37")


def faults(found: Object) -> list[str]:
    """Returns what is wrong with an object."""
    if crds.has(found):
        return crds.faults(found)
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"{version}: {error}"]
    return []


def test_every_object_fits_its_schema(served: Objects) -> None:
    assert [fault for found in served for fault in faults(found)] == []


def test_the_documentations_policies_of_gateways_fit_their_schemas() -> None:
    text = (MANIFESTS.parent / "docs" / "security.md").read_text()
    blocks = re.findall(r"(?:^    .*\n)+(?:\n?(?:^    .*\n)+)*", text, re.MULTILINE)
    objects_of = [textwrap.dedent(block) for block in blocks if "apiVersion:" in block]
    policies = [one for text in objects_of for one in yaml.safe_load_all(text)]
    kinds = {one["kind"] for one in policies}
    assert kinds == {"SecurityPolicy", "RequestAuthentication", "AuthorizationPolicy"}
    for one in policies:
        assert crds.has(one)
        assert faults(one) == []
        spoilt = copy.deepcopy(one)
        spoilt["spec"]["misspelt"] = 1
        assert faults(spoilt)


def test_the_pipelines_objects_fit_their_schemas() -> None:
    assert [fault for found in objects("pipeline") for fault in faults(found)] == []


@pytest.mark.parametrize(
    "path",
    [*sorted((MANIFESTS / "secrets").glob("*.yaml")), MANIFESTS / "cluster/seaweedfs-access.yaml"],
    ids=lambda path: path.stem,
)
def test_what_is_applied_alone_fits_its_schema(path: Path) -> None:
    assert faults(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("kind", "spoil", "where"),
    [
        ("InferenceService", lambda spec: spec.update(misspelt=1), "spec: "),
        (
            "InferenceService",
            lambda spec: spec["predictor"].update(minReplicas="3"),
            "spec.predictor.minReplicas: ",
        ),
        (
            "InferenceService",
            lambda spec: spec["canary"][0]["predictor"]["model"].update(uri="s3://"),
            "spec.canary.0.predictor.model: ",
        ),
        (
            "InferenceService",
            lambda spec: spec["canary"][0]["predictor"]["model"].pop("name"),
            "spec.canary.0.predictor.model: 'name'",
        ),
        ("InferenceService", lambda spec: spec["canary"][0].pop("trafficPercent"), "spec.canary.0"),
        (
            "InferenceService",
            lambda spec: spec["predictor"]["deploymentStrategy"].update(rolling={}),
            "spec.predictor.deploymentStrategy: ",
        ),
        (
            "ServingRuntime",
            lambda spec: spec["containers"][0].update(args="--name"),
            "spec.containers.0.args: ",
        ),
        ("ServingRuntime", lambda spec: spec["containers"][0].pop("name"), "spec.containers.0: "),
        ("ServiceMonitor", lambda spec: spec.pop("endpoints"), "spec: 'endpoints'"),
        (
            "PrometheusRule",
            lambda spec: spec["groups"][0]["rules"][0].update({"for": "soon"}),
            "spec.groups.0.rules.0.for: ",
        ),
        ("PodDisruptionBudget", lambda spec: spec.update(maxUnavailabl=1), "1.31: "),
    ],
)
def test_a_wrong_field_is_found(kind: str, spoil: Callable[[Any], None], where: str) -> None:
    components = ("canary", "monitoring")
    found = copy.deepcopy(objects("overlays/s3", components=components).one(kind))
    spoil(found["spec"])
    (fault,) = faults(found)
    assert fault.startswith(where)


def test_the_patch_of_the_storage_initializer_is_one_of_its_kind() -> None:
    patch = yaml.safe_load((MANIFESTS / "cluster" / "storage-initializer.yaml").read_text())
    # What KServe's own has, which is patched.
    own = {"name": "storage-initializer", "image": "kserve/storage-initializer"}
    patched = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": "default"},
        "spec": {"container": own | patch["spec"]["container"], "supportedUriFormats": []},
    }
    assert faults(patched) == []
