"""Objects of the cluster, as the API server tells of them: only the fields that are read here."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from components.shared.errors import one_line


class Read(BaseModel):
    """A part of an object; fields that are not named are of no interest."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, document: Any) -> Any:
        """Takes a field that is null for one that is absent, as Kubernetes does."""
        if not isinstance(document, dict):
            return document
        return {name: value for name, value in document.items() if value is not None}


class Metadata(Read):
    """An object's metadata."""

    name: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    managed_fields: tuple[dict[str, Any], ...] = ()
    deletion_timestamp: str | None = None


class Condition(Read):
    """A condition of an object's status."""

    type: str
    status: str
    reason: str = ""
    message: str = ""

    def __str__(self) -> str:
        """Returns it in one line, such as `Ready is False: PredictorNotReady: 0 of 3 pods`."""
        return line(f"{self.type} is {self.status}", self.reason, self.message)


class Conditions(Read):
    """A status that has conditions."""

    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """Returns the condition of a type, if there is one."""
        return next((c for c in self.conditions if c.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Returns whether the condition of a type is True."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


def line(*parts: str) -> str:
    """Joins what is not empty into one line; a part has at most 300 characters."""
    return ": ".join(one_line(part) for part in parts if part)
