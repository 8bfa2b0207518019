"""On which nodes a pod may run, as Kubernetes is told; checked as its API server checks it."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def _label_key(key: str) -> str:
    """Checks the key of a label or of a taint."""
    prefix, slash, word = key.rpartition("/")
    fits = len(prefix) <= 253 and re.fullmatch(_WORD, word)
    if not fits or (slash and not re.fullmatch(SUBDOMAIN, prefix)):
        raise ValueError("it should be the key of a label or a taint, such as example.com/gpu")
    return key


def _label_value(value: str) -> str:
    """Checks the value of a label or of a taint."""
    if value and not re.fullmatch(_WORD, value):
        raise ValueError(
            "it should be the value of a label or a taint: at most 63 letters, digits, '-', '_' "
            "and '.', the first and the last a letter or a digit"
        )
    return value


def _whole(number: Any) -> Any:
    """Takes 50.0 for 50: KFP hands on every number of a JSON as a float."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
_known_fields = with_config(ConfigDict(extra="forbid", strict=True))


@_known_fields
class _Toleration(TypedDict, total=False):
    key: LabelKey
    operator: Literal["Equal", "Exists"]
    value: LabelValue
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    tolerationSeconds: Annotated[int, BeforeValidator(_whole), Field(ge=-(2**63), lt=2**63)]


def _toleration(given: _Toleration) -> _Toleration:
    """Checks the fields of a toleration that depend on each other."""
    exists = given.get("operator") == "Exists"
    if exists and given.get("value"):
        raise ValueError("with the operator Exists it should have no value")
    if not (exists or given.get("key")):
        raise ValueError("without a key its operator should be Exists")
    if "tolerationSeconds" in given and given.get("effect") != "NoExecute":
        raise ValueError("with tolerationSeconds its effect should be NoExecute")
    return given


@_known_fields
class _Requirement(TypedDict):
    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]


class _RequirementOfValues(_Requirement, total=False):
    values: list[LabelValue]


def _requirement(given: _RequirementOfValues) -> _RequirementOfValues:
    """Checks that an operator has as many values as it compares with."""
    operator, count = given["operator"], len(given.get("values", []))
    if operator in ("In", "NotIn") and not count:
        raise ValueError(f"{operator} should have a value, or several")
    if operator in ("Gt", "Lt") and count != 1:
        raise ValueError(f"{operator} should have one value")
    if operator in ("Exists", "DoesNotExist") and count:
        raise ValueError(f"{operator} should have no values")
    return given


@_known_fields
class _Term(TypedDict):
    matchExpressions: Annotated[
        list[Annotated[_RequirementOfValues, AfterValidator(_requirement)]], Field(min_length=1)
    ]


@_known_fields
class _Required(TypedDict):
    nodeSelectorTerms: Annotated[list[_Term], Field(min_length=1)]


@_known_fields
class _Preferred(TypedDict):
    weight: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=100)]
    preference: _Term


@_known_fields
class NodeAffinity(TypedDict, total=False):
    """Kubernetes' NodeAffinity, of labels alone. Fields have the names that its API gives them."""

    requiredDuringSchedulingIgnoredDuringExecution: _Required
    preferredDuringSchedulingIgnoredDuringExecution: list[_Preferred]


Toleration = Annotated[_Toleration, AfterValidator(_toleration)]
NodeSelector = dict[LabelKey, LabelValue]
