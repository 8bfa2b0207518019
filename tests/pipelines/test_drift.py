"""The compiled drift pipeline."""

from typing import Any

import pytest

from pipelines import compile as compiling
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from tests.pipelines.specification import kubernetes_of, specification, tasks_of

TRAINING = "comp-brain-tumor-training"


@pytest.fixture(scope="module")
def text() -> str:
    return compiling.compiled(Pipeline.drift, Cluster(volume_claim="models"))


@pytest.fixture(scope="module")
def spec(text: str) -> dict[str, Any]:
    return specification(text)


@pytest.fixture(scope="module")
def training() -> dict[str, Any]:
    cluster = Cluster(volume_claim="models", caching=False)
    return specification(compiling.compiled(Pipeline.training, cluster))


def _tasks(component: dict[str, Any]) -> dict[str, Any]:
    return component["dag"]["tasks"]


def test_drift_decides_what_comes_next(spec: dict[str, Any]) -> None:
    root = _tasks(spec["root"])
    assert set(root) == {"check", "drift", "condition-1"}
    assert root["drift"]["dependentTasks"] == ["check"]
    told = root["condition-1"]["triggerPolicy"]["condition"]
    assert told == "inputs.parameter_values['pipelinechannel--drift-Output'] == true"
    (branches,) = _tasks(spec["components"]["comp-condition-1"]).values()
    retrain, tell = _tasks(spec["components"][branches["componentRef"]["name"]]).values()
    wanted = "inputs.parameter_values['pipelinechannel--retrain'] == true"
    assert retrain["triggerPolicy"]["condition"] == wanted
    assert tell["triggerPolicy"]["condition"] == f"!({wanted})"
    assert set(_tasks(spec["components"][retrain["componentRef"]["name"]])) == {
        "brain-tumor-training"
    }
    assert set(_tasks(spec["components"][tell["componentRef"]["name"]])) == {"alert"}


def test_to_train_again_is_the_training_pipeline_with_the_runs_parameters(
    spec: dict[str, Any], training: dict[str, Any]
) -> None:
    own, original = spec["components"][TRAINING], training["root"]
    named = {"brain-tumor-training": spec["components"][TRAINING]}
    assert set(own["inputDefinitions"]["parameters"]) == set(
        original["inputDefinitions"]["parameters"]
    )
    for name, task in _tasks(original).items():
        again = _tasks(named["brain-tumor-training"])[name]
        reference = {"componentRef": None}
        if name.startswith(("check", "condition")):  # whose names the outer pipeline has too
            assert task | reference == again | reference
        else:
            assert task == again
    (task,) = _tasks(spec["components"]["comp-condition-3"]).values()
    given = task["inputs"]["parameters"]
    assert {name: value["componentInputParameter"] for name, value in given.items()} == {
        name: f"pipelinechannel--{name}" for name in original["inputDefinitions"]["parameters"]
    }


def test_what_trains_again_has_the_settings_of_what_trains(text: str) -> None:
    training = kubernetes_of(compiling.compiled(Pipeline.training, Cluster(volume_claim="models")))
    found = kubernetes_of(text)
    assert {name: found[name] for name in training} == training
    assert found["check-2"] == training["check"]


def test_nothing_is_taken_from_an_earlier_run(text: str) -> None:
    tasks = tasks_of(text)
    cached = [name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")]
    assert cached == ["check"]


def test_drift_may_read_prometheus_and_the_registry(text: str) -> None:
    settings = kubernetes_of(text)["drift"]
    secrets = {
        entry["secretNameParameter"]["runtimeValue"]["constant"]: entry
        for entry in settings["secretAsEnv"]
    }
    assert set(secrets) == {"prometheus-token", "store-credentials"}
    token = secrets["prometheus-token"]
    assert token["keyToEnv"] == [{"secretKey": "token", "envVar": "PROMETHEUS_TOKEN"}]
    assert token["optional"] is True
    assert settings["pvcMount"][0]["mountPath"] == "/mnt/brain-tumor"


def test_its_parameters_come_first_and_a_trainings_follow() -> None:
    names = [parameter.name for parameter in Pipeline.drift.run.parameters()]
    training = [parameter.name for parameter in Pipeline.training.run.parameters()]
    own = ["prometheus", "window_days", "psi_limit", "false_alarms", "served_model", "retrain"]
    assert names == own + training
