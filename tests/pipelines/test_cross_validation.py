"""The compiled cross-validation pipeline."""

import re
from typing import Any

import pytest

from pipelines import compile as compiling
from pipelines.catalogue import Pipeline
from pipelines.cluster import STORE_VARIABLES, VOLUME, Cluster
from tests.pipelines.specification import containers_of, kubernetes_of, specification, tasks_of

FOLD = "cross-validate"


def _compiled(**settings: Any) -> str:
    return compiling.compiled(Pipeline.cross_validation, Cluster(**settings))


@pytest.fixture(scope="module")
def text() -> str:
    return _compiled()


@pytest.fixture(scope="module")
def loop(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["root"]["dag"]["tasks"]["for-loop-2"]


def test_the_steps_stand_in_their_order(text: str, spec: dict[str, Any]) -> None:
    after = {
        name: set(task.get("dependentTasks", ()))
        for name, task in spec["root"]["dag"]["tasks"].items()
    }
    assert after == {
        "check": set(),
        "for-loop-1": {"check"},
        "assemble": {"for-loop-1"},
        "folds": {"assemble"},
        "for-loop-2": {"check", "assemble", "folds"},
        "collect": {"assemble", "for-loop-2"},
    }
    assert set(spec["components"]["comp-for-loop-2"]["dag"]["tasks"]) == {FOLD}


def test_each_fold_is_a_task_of_its_own(text: str, loop: dict[str, Any]) -> None:
    items = loop["parameterIterator"]["items"]["inputParameter"]
    assert loop["inputs"]["parameters"][items]["taskOutputParameter"] == {
        "producerTask": "folds",
        "outputParameterKey": "Output",
    }
    given = tasks_of(text)[FOLD]["inputs"]["parameters"]
    number = loop["parameterIterator"]["itemInput"]
    assert given["fold"] == {"componentInputParameter": number}


def test_the_folds_results_are_collected(text: str, spec: dict[str, Any]) -> None:
    source = tasks_of(text)["collect"]["inputs"]["artifacts"]["folds"]["taskOutputArtifact"]
    assert source["producerTask"] == "for-loop-2"
    inner = spec["components"]["comp-for-loop-2"]
    outputs = inner["dag"]["outputs"]["artifacts"][source["outputArtifactKey"]]
    assert outputs["artifactSelectors"] == [
        {"producerSubtask": FOLD, "outputArtifactKey": "fold_result"}
    ]
    assert spec["components"]["comp-collect"]["inputDefinitions"]["artifacts"]["folds"][
        "isArtifactList"
    ]


def test_what_the_loop_needs_is_handed_into_it(
    text: str, spec: dict[str, Any], loop: dict[str, Any]
) -> None:
    # Every channel that stands in the loop, in a placeholder or a Kubernetes setting too.
    container, settings = containers_of(text)[FOLD], kubernetes_of(text)[FOLD]
    named = f"{tasks_of(text)[FOLD]} {container['resources']} {settings}"
    wanted = set(re.findall(r"pipelinechannel--[\w-]+", named))
    defined = spec["components"]["comp-for-loop-2"]["inputDefinitions"]
    assert wanted <= set(defined["parameters"]) | set(defined["artifacts"])
    given = set(loop["inputs"]["parameters"]) | set(loop["inputs"]["artifacts"])
    assert wanted <= given | {loop["parameterIterator"]["itemInput"]}
    assert len(wanted) > 10


def test_folds_spread_over_gpu_nodes(text: str, loop: dict[str, Any]) -> None:
    assert "iteratorPolicy" not in loop  # all at once
    given, handed = tasks_of(text)[FOLD]["inputs"]["parameters"], loop["inputs"]["parameters"]
    accelerator = containers_of(text)[FOLD]["resources"]["accelerator"]
    count = {"producerTask": "check", "outputParameterKey": "gpu_count"}
    for field, source in (
        ("resourceCount", {"taskOutputParameter": count}),
        ("resourceType", {"componentInputParameter": "gpu_type"}),
    ):
        channel = accelerator[field].removeprefix("{{$.inputs.parameters['").removesuffix("']}}")
        assert given[channel] == {"componentInputParameter": channel}
        assert handed[channel] == source
    settings = kubernetes_of(text)
    for kind, parameter in (
        ("nodeSelector", "gpu_node_selector"),
        ("nodeAffinity", "gpu_node_affinity"),
        ("tolerations", "gpu_tolerations"),
    ):
        assert parameter in str(settings[FOLD][kind])
    (mount,) = settings[FOLD]["emptyDirMounts"]
    assert (mount["mountPath"], mount["sizeLimit"]) == ("/dev/shm", "2Gi")
    for name in ("ingest", "assemble", "folds", "collect"):
        assert "accelerator" not in containers_of(text)[name]["resources"]
        assert not {"nodeSelector", "nodeAffinity", "emptyDirMounts"} & set(settings[name])


def test_the_folds_at_a_time_can_be_limited() -> None:
    spec = specification(_compiled(parallelism=2))
    assert spec["root"]["dag"]["tasks"]["for-loop-2"]["iteratorPolicy"] == {"parallelismLimit": 2}


def test_every_step_is_cached(text: str) -> None:
    for task in tasks_of(text).values():
        assert task["cachingOptions"]["enableCache"] is True


def test_credentials_reach_what_reads_a_source_or_a_version() -> None:
    settings = kubernetes_of(_compiled(gcs_secret="gcs-key", public_key_config_map="believed"))
    assert settings[FOLD]["secretAsVolume"]
    assert "believed" in str(settings[FOLD]["configMapAsVolume"])
    for name in ("assemble", "folds", "collect"):
        assert not {"secretAsEnv", "secretAsVolume"} & set(settings[name])
    kaggle, store = settings["ingest"]["secretAsEnv"]
    assert kaggle["optional"] is store["optional"] is True
    assert [pair["envVar"] for pair in store["keyToEnv"]] == list(STORE_VARIABLES)
    assert settings["ingest"]["secretAsVolume"]


def test_a_volume_is_mounted_where_something_outlives_a_step() -> None:
    text = _compiled(volume_claim="work")
    shown = specification(text)["root"]["inputDefinitions"]["parameters"]
    assert shown["state_root"]["defaultValue"] == f"{VOLUME}/state"
    mounted = {name for name, found in kubernetes_of(text).items() if "pvcMount" in found}
    assert mounted == {"ingest", FOLD}


def test_the_reports_and_metrics_are_outputs(spec: dict[str, Any]) -> None:
    outputs = spec["root"]["outputDefinitions"]["artifacts"]
    kinds = {name: output["artifactType"]["schemaTitle"] for name, output in outputs.items()}
    assert kinds.pop("cross_validation_metrics") == "system.Metrics"
    assert kinds.pop("cross_validation") == "system.Artifact"
    assert set(kinds.values()) == {"system.HTML"}
    assert "suspicious_labels" in kinds
