"""What to roll out, where to, and how carefully."""

import re
from copy import copy
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from components.shared.errors import UserError, first_fault
from components.shared.run.parameters import Deploy, Seconds, ServiceName
from components.shared.storage.location import STORES
from components.shared.strict import Strict

_VERSION = re.compile(r"/([1-9]\d{0,8})/?$")
_BY_PREFIX = tuple(STORES)  # KServe lists by the start of the name: /1 would bring /10 as well
_READABLE = (*_BY_PREFIX, "pvc")


def _as_in_a_run(name: str) -> Any:
    """Returns a run's parameter as a plan's field: its default, range and description."""
    return copy(Deploy.model_fields[name])


class Plan(Strict):
    """A rollout of one version onto one InferenceService."""

    inference_service: Annotated[ServiceName, Field(min_length=1)] = Field(
        description="Name of the InferenceService, which is the served model's as well."
    )
    namespace: str = _as_in_a_run("serving_namespace")
    version: int = Field(ge=1)
    storage_uri: str = Field(min_length=1, description="Where KServe reads the version.")
    canary_percent: int = _as_in_a_run("canary_percent")
    soak_seconds: float = _as_in_a_run("canary_soak_seconds")
    max_error_rate: float = _as_in_a_run("canary_max_error_rate")
    max_latency_seconds: float = _as_in_a_run("canary_max_latency_seconds")
    address: str = Field(
        "",
        pattern=r"^(https?://[^/?#@]+/?)?$",
        description="Where to ask the model instead of at its address inside of the cluster.",
    )
    force_conflicts: bool = _as_in_a_run("deploy_force_conflicts")
    timeout_seconds: Seconds = Field(900, description="Seconds for each wait.")
    answers_in_a_row: int = Field(20, ge=1, description="From the new version, and no other.")
    min_canary_answers: int = Field(20, ge=1, description="Below, a soak says nothing.")
    probe_seconds: Seconds = Field(0.2, description="From one probe to the next.")


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
            "--served-from where it finds the registry, such as pvc://claim/registry"
        )
    found = "/".join((served_from.rstrip("/"), *address.rstrip("/").rsplit("/", 2)[-2:]))
    return f"{found}/" if scheme in _BY_PREFIX else found


def version_of(uri: str) -> int | None:
    """Returns the registered version that a storageUri names, or None where it names none."""
    found = _VERSION.search(uri)
    return int(found[1]) if found else None
