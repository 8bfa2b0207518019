"""An InferenceService, as the API server tells of it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from components.errors import UserError, first_fault

MANAGER = "brain-tumor-deploy"
ROLLOUT, FORMER = "brain-tumor/rollout", "brain-tumor/former-storage-uri"
MODE = "serving.kserve.io/deploymentMode"

_STANDARD = ("Standard", "RawDeployment")
_DONE = ("", "UpToDate")
_OWN = (
    ("f:spec", "f:predictor", "f:model", "f:storageUri"),
    ("f:spec", "f:predictor", "f:canaryTrafficPercent"),
    ("f:spec", "f:canary"),
)


class _Read(BaseModel):
    """A part of the document; what is not named here is of no interest."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class _Metadata(_Read):
    name: str
    generation: int = 0
    resource_version: str = ""
    annotations: dict[str, str] = {}
    managed_fields: tuple[dict[str, Any], ...] = ()


class _Model(_Read):
    storage_uri: str = ""
    model_format: dict[str, Any] = {}
    runtime: str = ""
    protocol_version: str = ""


class _Predictor(_Read):
    model: _Model | None = None
    canary_traffic_percent: int | None = None


class _Spec(_Read):
    predictor: _Predictor
    canary: tuple[dict[str, Any], ...] = ()


class _Condition(_Read):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class _Address(_Read):
    url: str = ""


class _Failure(_Read):
    reason: str = ""
    message: str = ""


class _ModelStatus(_Read):
    transition_status: str = ""
    last_failure_info: _Failure | None = None


class _Canary(_Read):
    name: str
    ready: bool = False
    model_status: _ModelStatus = _ModelStatus()


class _Status(_Read):
    observed_generation: int = 0
    deployment_mode: str = ""
    conditions: tuple[_Condition, ...] = ()
    url: str = ""
    address: _Address = _Address()
    model_status: _ModelStatus = _ModelStatus()
    canary_statuses: tuple[_Canary, ...] = ()


class InferenceService(_Read):
    """An InferenceService at one moment.

    Attributes:
        metadata: As Kubernetes has it.
        spec: What is wanted.
        status: What KServe's controller says of it.
        document: All of it, as the API server gave it.
    """

    metadata: _Metadata
    spec: _Spec
    status: _Status = _Status()
    document: dict[str, Any]

    @classmethod
    def of(cls, document: dict[str, Any]) -> "InferenceService":
        """Reads a document.

        Raises:
            UserError: It is no InferenceService.
        """
        try:
            return cls.model_validate(document | {"document": document})
        except ValidationError as error:
            raise UserError(f"the API server's InferenceService: {first_fault(error)}") from error

    @property
    def storage_uri(self) -> str:
        """Where the model is read from; empty where it has no such field."""
        return self.spec.predictor.model.storage_uri if self.spec.predictor.model else ""

    @property
    def rollout(self) -> str:
        """The id of the last rollout; empty where there was none."""
        return self.metadata.annotations.get(ROLLOUT, "")

    @property
    def former(self) -> str:
        """The storageUri that a rollout which has not ended would go back to; empty if none."""
        return self.metadata.annotations.get(FORMER, "")

    @property
    def standard(self) -> bool:
        """Whether it runs as plain Deployments, not on Knative."""
        mode = self.metadata.annotations.get(MODE) or self.status.deployment_mode
        return mode in _STANDARD

    def other_owners(self) -> list[str]:
        """Returns who else says that a field is theirs which this step sets."""
        return sorted(
            {
                str(entry.get("manager"))
                for entry in self.metadata.managed_fields
                if entry.get("manager") != MANAGER
                and any(_holds(entry.get("fieldsV1"), path) for path in _OWN)
            }
        )

    def ready(self, generation: int, canary: str = "") -> bool:
        """Returns whether all that was wanted with a generation is there and answers.

        Args:
            generation: The one that the wish got.
            canary: Name of the canary that has to be there too; empty for none.
        """
        return (
            self.status.observed_generation >= generation
            and any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
            and self.status.model_status.transition_status in _DONE
            and (not canary or any(c.name == canary and c.ready for c in self._canaries()))
        )

    def refused(self, generation: int) -> bool:
        """Returns whether KServe says that what is wanted can never be."""
        return (
            self.status.observed_generation >= generation
            and self.status.model_status.transition_status == "InvalidSpec"
        )

    def reason(self, generation: int) -> str:
        """Returns why it is not ready, in one line, as far as KServe says."""
        if self.status.observed_generation < generation:
            return (
                f"KServe has not looked at generation {generation} yet, its controller may be down"
            )
        statuses = [self.status.model_status, *(c.model_status for c in self._canaries())]
        told = [s.last_failure_info for s in statuses if s.last_failure_info]
        if told:
            return _line(told[-1].reason, told[-1].message)
        # Ready repeats one of the others, which tell more.
        unmet = [c for c in self.status.conditions if c.status != "True"]
        unmet.sort(key=lambda c: (c.type == "Ready", not c.message))
        if unmet:
            return _line(f"{unmet[0].type} is {unmet[0].status}", unmet[0].reason, unmet[0].message)
        return "it is not ready"

    def _canaries(self) -> tuple[_Canary, ...]:
        return self.status.canary_statuses


def _holds(fields: object, path: tuple[str, ...]) -> bool:
    """Returns whether a set of managed fields names the field at a path."""
    for name in path:
        if not isinstance(fields, dict) or name not in fields:
            return False
        fields = fields[name]
    return True


def _line(*parts: str) -> str:
    return ": ".join(" ".join(part.split())[:300] for part in parts if part)
