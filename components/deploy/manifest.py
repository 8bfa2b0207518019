"""What the deploy step asks of the API server: only the fields that are its own."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.deploy.inference_service import InferenceService

GROUP, VERSION, KIND, PLURAL = (
    "serving.kserve.io",
    "v1beta1",
    "InferenceService",
    "inferenceservices",
)
_NEW = Path(__file__).with_name("inferenceservice.yaml")
_CHANGING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


@dataclass(frozen=True)
class DesiredState:
    """What an InferenceService is to be, as far as a rollout says.

    Attributes:
        storage_uri: Of the model that gets the traffic, or what the canary leaves of it.
        canary_percent: Knative's canary: the share of what is at `storage_uri` beside the revision
            that had all traffic before; None for none.
        canary: Standard mode's canary, an entry of `spec.canary`; None for none.
    """

    storage_uri: str
    canary_percent: int | None = None
    canary: dict[str, Any] | None = None


def applied(live: InferenceService, desired: DesiredState) -> dict[str, Any]:
    """Returns the document to apply; the API server refuses it where `live` has changed since.

    Server-side apply removes what its manager applied before and leaves out now. So this holds all
    that the step owns, each time.
    """
    predictor: dict[str, Any] = {"model": {"storageUri": desired.storage_uri}}
    if desired.canary_percent is not None:
        predictor["canaryTrafficPercent"] = desired.canary_percent
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": live.metadata.name,
            "resourceVersion": live.metadata.resource_version,
        },
        "spec": {"predictor": predictor} | ({"canary": [desired.canary]} if desired.canary else {}),
    }


def created(name: str, storage_uri: str) -> dict[str, Any]:
    """Returns a whole InferenceService, as `manifests/base` has it."""
    document: dict[str, Any] = yaml.safe_load(_NEW.read_text(encoding="utf-8"))
    predictor = document["spec"]["predictor"]
    document["metadata"]["name"] = name
    predictor["model"]["storageUri"] = storage_uri
    for constraint in predictor.get("topologySpreadConstraints", ()):
        constraint["labelSelector"]["matchLabels"]["serving.kserve.io/inferenceservice"] = name
    return document


def canary_name(version: int) -> str:
    """Returns what a canary of a version is called."""
    return f"v{version}"


def canary_of(live: InferenceService, version: int, storage_uri: str, percent: int) -> dict:
    """Returns the entry of `spec.canary` for a version; what it leaves out KServe takes from live.

    Args:
        live: What serves now.
        version: Names the canary.
        storage_uri: Of the version.
        percent: Its share of the traffic.
    """
    model = live.spec.predictor.model
    assert model
    same = {
        "modelFormat": model.model_format,
        "runtime": model.runtime,
        "protocolVersion": model.protocol_version,
    }
    kept = {name: value for name, value in same.items() if value}
    predictor = {"name": canary_name(version), "model": kept | {"storageUri": storage_uri}}
    return {"trafficPercent": percent, "predictor": predictor}


def difference(before: dict[str, Any] | None, after: dict[str, Any]) -> str:
    """Returns a unified diff of two documents; empty where nothing but bookkeeping differs."""
    lines = difflib.unified_diff(
        _shown(before).splitlines(), _shown(after).splitlines(), "live", "wanted", lineterm=""
    )
    return "\n".join(lines)


def _shown(document: dict[str, Any] | None) -> str:
    if document is None:
        return ""
    metadata = {k: v for k, v in document["metadata"].items() if k not in _CHANGING}
    told = {k: v for k, v in document.items() if k != "status"} | {"metadata": metadata}
    return yaml.safe_dump(told, sort_keys=True, allow_unicode=True)
