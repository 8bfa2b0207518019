"""An InferenceService, as the API server tells of it."""

from typing import Any

from pydantic import Field, ValidationError

from components.deploy.documents import Conditions, Metadata, Read, line
from components.shared.errors import UserError, first_fault

MANAGER = "brain-tumor-deploy"
MODE = "serving.kserve.io/deploymentMode"
AUTOSCALER = "serving.kserve.io/autoscalerClass"

_STANDARD = ("Standard", "RawDeployment")
# With these the Deployment has its replicas from the InferenceService's minReplicas on.
_SCALED_BY_KSERVE = ("", "hpa", "keda")
_OWN = (
    ("f:spec", "f:predictor", "f:model", "f:storageUri"),
    ("f:spec", "f:predictor", "f:canaryTrafficPercent"),
    ("f:spec", "f:canary"),
)
_GOOD_WHEN_FALSE = ("Stopped",)


class _Model(Read):
    storage_uri: str = ""
    model_format: dict[str, Any] = Field({})
    runtime: str = ""
    protocol_version: str = ""


class _Predictor(Read):
    model: _Model | None = None
    min_replicas: int = 1
    canary_traffic_percent: int | None = None


class _Spec(Read):
    predictor: _Predictor
    canary: tuple[dict[str, Any], ...] = ()


class _Address(Read):
    url: str = ""


class _Failure(Read):
    reason: str = ""
    message: str = ""


class _ModelStatus(Read):
    transition_status: str = ""
    last_failure_info: _Failure | None = None


class _Traffic(Read):
    revision_name: str = ""
    percent: int | None = None


class _Component(Read):
    latest_created_revision: str = ""
    latest_ready_revision: str = ""
    address: _Address = _Address()
    traffic: tuple[_Traffic, ...] = ()


class _Status(Conditions):
    deployment_mode: str = ""
    url: str = ""
    address: _Address = _Address()
    model_status: _ModelStatus = _ModelStatus()
    components: dict[str, _Component] = Field({})


class InferenceService(Read):
    """An InferenceService at one moment.

    Its status may tell of a moment before: KServe's `observedGeneration` is that of the Deployment,
    and Ready stays True while new pods start or crash. So what is rolled out is read elsewhere, in
    `workload`.

    Attributes:
        metadata: As Kubernetes has it.
        spec: What is wanted.
        status: What KServe's controller says of it.
        document: All of it, as the API server gave it.
    """

    metadata: Metadata
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
    def standard(self) -> bool:
        """Whether it runs as plain Deployments, not on Knative."""
        mode = self.metadata.annotations.get(MODE) or self.status.deployment_mode
        return mode in _STANDARD

    @property
    def min_replicas(self) -> int:
        """How many replicas KServe's autoscaler will make of the predictor, whatever the load."""
        scaled = self.metadata.annotations.get(AUTOSCALER, "") in _SCALED_BY_KSERVE
        return self.spec.predictor.min_replicas if scaled else 0

    @property
    def predictor(self) -> _Component:
        """What Knative made of the predictor; empty in Standard mode."""
        return self.status.components.get("predictor", _Component())

    @property
    def address(self) -> str:
        """Where pods of the cluster reach the predictor; empty where KServe does not say.

        In Knative mode the InferenceService's own address leads to Istio's gateway, which a cluster
        with another network layer does not have. The predictor's works with each.
        """
        return ("" if self.standard else self.predictor.address.url) or self.status.address.url

    @property
    def ready(self) -> bool:
        """Whether KServe says that it is ready."""
        return self.status.is_true("Ready")

    @property
    def refusal(self) -> str:
        """Why KServe makes no pods of it, such as a missing runtime; empty where it does."""
        model = self.status.model_status
        if model.transition_status != "InvalidSpec":
            return ""
        failure = model.last_failure_info or _Failure()
        return line("KServe refuses it", failure.reason, failure.message)

    @property
    def reason(self) -> str:
        """Why it is not ready, in one line, as far as KServe says."""
        unmet = [
            c
            for c in self.status.conditions
            if c.status != ("False" if c.type in _GOOD_WHEN_FALSE else "True")
        ]
        # Ready repeats one of the others, which tell more.
        unmet.sort(key=lambda c: (c.type == "Ready", not c.message))
        return str(unmet[0]) if unmet else "KServe has not said anything of it yet"

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


def _holds(fields: object, path: tuple[str, ...]) -> bool:
    """Returns whether a set of managed fields names the field at a path."""
    for name in path:
        if not isinstance(fields, dict) or name not in fields:
            return False
        fields = fields[name]
    return True
