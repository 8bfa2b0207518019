"""What to roll out, where to, and how carefully."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from components.shared.errors import UserError, first_fault
from components.shared.storage.location import STORES
from components.shared.strict import Strict

_VERSION = re.compile(r"/([1-9]\d{0,8})/?$")
_BY_PREFIX = tuple(STORES)  # KServe lists by the start of the name: /1 would bring /10 as well
_READABLE = (*_BY_PREFIX, "pvc")

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
Namespace = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$")]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Plan(Strict):
    """A rollout of one version onto one InferenceService."""

    inference_service: Name = Field(
        description="name of the InferenceService, which is the served model's as well"
    )
    namespace: Namespace = Field(
        "", description="its namespace; empty: that of the pod, or of the kubeconfig"
    )
    version: int = Field(ge=1)
    storage_uri: str = Field(min_length=1, description="where KServe reads the version")
    canary_percent: int = Field(
        0, ge=0, le=99, description="share of the traffic during the soak; 0: no canary"
    )
    soak_seconds: Seconds = Field(300, description="seconds for which the canary has to do well")
    max_error_rate: float = Field(
        0.01, ge=0, le=1, description="greatest share of the canary's probes that may fail"
    )
    max_latency_seconds: Seconds = Field(
        1, description="95 of 100 of the canary's answers have to be there by then"
    )
    address: str = Field(
        "",
        pattern=r"^(https?://[^/?#@]+/?)?$",
        description="where to ask the model instead of at its address inside of the cluster",
    )
    force_conflicts: bool = Field(
        False, description="take storageUri over from what else manages it, such as kubectl"
    )
    timeout_seconds: Seconds = Field(900, description="seconds for each wait")
    answers_in_a_row: int = Field(20, ge=1, description="from the new version, and no other")
    least_canary_answers: int = Field(20, ge=1, description="below, a soak says nothing")
    probe_seconds: Seconds = Field(0.2, description="from one probe to the next")


def checked_plan(**given: object) -> Plan:
    """Makes a plan.

    Raises:
        UserError: A value is not allowed; names it.
    """
    try:
        return Plan.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{first_fault(error)}; mend it and deploy again") from error


def storage_uri(address: str, served_from: str) -> str:
    """Returns where KServe reads a registered version.

    Args:
        address: Where the registry says that it lies.
        served_from: The registry's address as KServe sees it, such as pvc://claim/registry; needed
            where the registry is a folder, and not looked at elsewhere.

    Raises:
        UserError: KServe cannot read it there.
    """
    if urlsplit(address).scheme in _BY_PREFIX:
        return address.rstrip("/") + "/"
    scheme = urlsplit(served_from).scheme
    if scheme not in _READABLE:
        raise UserError(
            f"{address}: KServe cannot read this folder; register to s3:// or gs://, or say with "
            "served_from where it finds the registry, such as pvc://claim/registry"
        )
    found = "/".join((served_from.rstrip("/"), *address.rstrip("/").rsplit("/", 2)[-2:]))
    return f"{found}/" if scheme in _BY_PREFIX else found


def version_of(uri: str) -> int | None:
    """Returns the registered version that a storageUri names, or None where it names none."""
    found = _VERSION.search(uri)
    return int(found[1]) if found else None
