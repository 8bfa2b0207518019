"""What Kubernetes' API server takes and refuses. Each case was given to a real one, 1.34."""

from typing import Any

import pytest

from components.check.logic import checked
from components.shared.errors import UserError
from components.shared.run.parameters import Gpus

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def needs(*requirements: Any) -> dict[str, Any]:
    return {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": list(requirements)}]}}


def prefers(weight: Any, **term: Any) -> dict[str, Any]:
    return {PREFERRED: [{"weight": weight, "preference": term}]}


SPOT = {"key": "cloud.google.com/gke-spot", "operator": "In", "values": ["true"]}
TAKEN: list[tuple[str, Any]] = [
    ("gpu_node_affinity", {}),
    ("gpu_node_affinity", needs(SPOT, {"key": "zone", "operator": "Exists"})),
    ("gpu_node_affinity", needs({"key": "gpus", "operator": "Gt", "values": ["3"]})),
    ("gpu_node_affinity", needs(SPOT) | prefers(100, matchExpressions=[SPOT])),
    ("gpu_node_selector", {"karpenter.sh/capacity-type": "spot", "a" * 63: ""}),
    ("gpu_tolerations", [{"operator": "Exists"}]),
    ("gpu_tolerations", [{"key": "a/b", "value": "c", "effect": "NoExecute"}] * 2),
    ("gpu_tolerations", [{"key": "a", "effect": "NoExecute", "tolerationSeconds": -1}]),
]
REFUSED: list[tuple[str, Any, str]] = [
    ("gpu_node_affinity", needs(), "at least 1 item"),  # it takes that, and finds no node
    ("gpu_node_affinity", {REQUIRED: {"nodeSelectorTerms": []}}, "at least 1 item"),
    ("gpu_node_affinity", needs({"key": "a", "operator": "in", "values": ["b"]}), "'In'"),
    ("gpu_node_affinity", needs({"key": "a", "operator": "In"}), "should have a value"),
    ("gpu_node_affinity", needs(SPOT | {"operator": "Exists"}), "should have no values"),
    ("gpu_node_affinity", needs(SPOT | {"operator": "Lt", "values": ["1", "2"]}), "one value"),
    ("gpu_node_affinity", needs(SPOT | {"key": "a/b/c"}), "the key of a label"),
    ("gpu_node_affinity", needs(SPOT | {"values": ["x y"]}), "the value of a label"),
    ("gpu_node_affinity", needs(SPOT | {"values": [True]}), "a text"),
    ("gpu_node_affinity", prefers(0, matchExpressions=[SPOT]), "at least 1"),
    ("gpu_node_affinity", prefers("50", matchExpressions=[SPOT]), "a whole number"),
    ("gpu_node_affinity", {"required": {}}, "required is not known here; there are requiredDuring"),
    ("gpu_node_affinity", {REQUIRED: {"nodeSelectorTerm": []}}, "mean 'nodeSelectorTerms'?"),
    ("gpu_node_affinity", needs({"key": "a", "operator": "In", "value": ["b"]}), "mean 'values'?"),
    ("gpu_node_affinity", {REQUIRED: {}}, "nodeSelectorTerms is missing"),
    ("gpu_node_affinity", {"a\nb": {}}, r"a\nb is not known here"),
    ("gpu_node_selector", {"-zone": "a"}, "the key of a label"),
    ("gpu_node_selector", {"zone": "a" * 64}, "the value of a label"),
    ("gpu_node_selector", {"zone": "a\n"}, "the value of a label"),
    ("gpu_tolerations", [{"key": "a"}, {}], "without a key"),
    ("gpu_tolerations", [{"key": "a", "operator": "Exists", "value": "b"}], "no value"),
    ("gpu_tolerations", [{"key": "a", "effect": "noSchedule"}], "'NoSchedule'"),
    ("gpu_tolerations", [{"key": "a", "tolerationSeconds": 5}], "its effect should be NoExecute"),
    ("gpu_tolerations", [{"key": "a", "seconds": 5}], "seconds is not known here"),
    ("gpu_tolerations", [{"key": "a"}, {"keys": "a"}], "1.keys is not known here; did you mean"),
    ("gpu_tolerations", [{"key": "a" * 64}], "the key of a label"),
]


@pytest.mark.parametrize(("name", "value"), TAKEN)
def test_what_the_api_server_takes_is_taken(name: str, value: Any) -> None:
    assert checked(Gpus, {name: value}).model_dump()[name] == value


def test_a_whole_number_of_kfp_is_one() -> None:
    found = checked(Gpus, {"gpu_node_affinity": prefers(50.0, matchExpressions=[SPOT])})
    assert found.gpu_node_affinity == prefers(50, matchExpressions=[SPOT])


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_what_the_api_server_refuses_is_refused(name: str, value: Any, reason: str) -> None:
    with pytest.raises(UserError) as error:
        checked(Gpus, {name: value})
    line = str(error.value)
    assert line.startswith(f"{name}: ")
    assert reason in line
    assert line.isprintable()
