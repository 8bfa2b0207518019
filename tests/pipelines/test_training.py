"""The compiled training pipeline."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl

from pipelines import compile as compiling
from pipelines.catalogue import Pipeline
from pipelines.cluster import STORE_VARIABLES, TOKEN_KEY, TOKEN_SECRET, VOLUME, Cluster
from tests.pipelines.specification import kubernetes_of, specification

PLACES = {"nodeSelector", "nodeAffinity", "tolerations", "emptyDirMounts"}
STEPS = {
    *("check", "ingest", "assemble", "split", "plan-search", "propose", "train-trial", "tune"),
    *(
        "train-networks",
        "train",
        "evaluate",
        "other-sources",
        "ingest-other",
        "validate",
        "register",
        "deploy",
    ),
}
TRAINING = ("train-trial", "tune", "train-networks", "train")
GPU_COUNT = {"outputParameterKey": "gpu_count"}
IN_LOOPS = ("train-trial", "train-networks")
OUTSIDE = ("ingest", "ingest-other", "propose", *TRAINING, "register", "deploy")


def _compiled(**settings: Any) -> str:
    return compiling.compiled(Pipeline.training, Cluster(**settings))


@pytest.fixture(scope="module")
def text() -> str:
    return _compiled()


def test_the_steps_stand_in_their_order(tasks: dict[str, dict[str, Any]]) -> None:
    after = {name: set(task.get("dependentTasks", ())) for name, task in tasks.items()}
    assert after == {
        "check": set(),
        "ingest": set(),  # but for the loop that it stands in
        "assemble": {"for-loop-1"},
        "split": {"assemble"},
        "plan-search": {"check"},
        "propose": set(),  # but for the loop over rounds
        "train-trial": set(),  # but for the loop over trials in it
        "tune": {"check", "assemble", "split", "plan-search", "for-loop-2"},
        "train-networks": set(),  # but for the loop over workers
        "train": {"check", "assemble", "split", "tune", "for-loop-4"},
        "evaluate": {"assemble", "split", "train"},
        "other-sources": {"check"},
        "ingest-other": set(),  # but for the loop over other sources
        "validate": {"ingest-other"},
        "register": {"assemble", "split", "train", "evaluate", "for-loop-5"},
        "deploy": set(),  # but for the conditions that it stands behind
    }


def test_deploy_waits_for_a_registered_model_and_a_wish(spec: dict[str, Any]) -> None:
    outer = spec["root"]["dag"]["tasks"]["condition-6"]
    assert outer["dependentTasks"] == ["register"]
    wish = outer["triggerPolicy"]["condition"]
    assert wish == "inputs.parameter_values['pipelinechannel--inference_service'] != ''"
    inner = spec["components"]["comp-condition-6"]["dag"]["tasks"]["condition-7"]
    registered = inner["triggerPolicy"]["condition"]
    assert registered == "inputs.parameter_values['pipelinechannel--register-registered'] == true"
    assert set(spec["components"]["comp-condition-7"]["dag"]["tasks"]) == {"deploy"}


def test_the_best_values_flow_to_train(tasks: dict[str, dict[str, Any]]) -> None:
    given = tasks["train"]["inputs"]["parameters"]
    for name in ("learning_rate", "dropout", "dense", "augmentation"):
        assert given[name]["taskOutputParameter"] == {
            "producerTask": "tune",
            "outputParameterKey": name,
        }


def test_gpus_come_from_run_parameters(
    containers: dict[str, dict[str, Any]],
    tasks: dict[str, dict[str, Any]],
    kubernetes: dict[str, dict[str, Any]],
) -> None:
    for name, container in containers.items():
        if name not in TRAINING:
            assert "accelerator" not in container["resources"]
            assert not PLACES & set(kubernetes[name])
            continue
        in_loop = name in IN_LOOPS
        channel = "pipelinechannel--" if in_loop else ""  # as in every loop
        sources = {
            "resourceType": {"componentInputParameter": f"{channel}gpu_type"},
            "resourceCount": {"componentInputParameter": "pipelinechannel--check-gpu_count"}
            if in_loop
            else {"taskOutputParameter": {"producerTask": "check", **GPU_COUNT}},
        }
        accelerator = container["resources"]["accelerator"]
        given = tasks[name]["inputs"]["parameters"]
        for field, source in sources.items():
            placeholder = accelerator[field].removeprefix("{{$.inputs.parameters['")
            assert given[placeholder.removesuffix("']}}")] == source
        assert kubernetes[name]["nodeSelector"] == {
            "nodeSelectorJson": {"componentInputParameter": f"{channel}gpu_node_selector"}
        }
        assert kubernetes[name]["nodeAffinity"] == [
            {"nodeAffinityJson": {"componentInputParameter": f"{channel}gpu_node_affinity"}}
        ]
        assert kubernetes[name]["tolerations"] == [
            {"tolerationJson": {"componentInputParameter": f"{channel}gpu_tolerations"}}
        ]


def test_a_search_is_rounds_of_trials_side_by_side(spec: dict[str, Any]) -> None:
    rounds = spec["root"]["dag"]["tasks"]["for-loop-2"]
    assert rounds["iteratorPolicy"] == {"parallelismLimit": 1}  # each learns of those before it
    inner = spec["components"]["comp-for-loop-2"]["dag"]["tasks"]
    assert set(inner) == {"propose", "for-loop-3"}
    trials = inner["for-loop-3"]
    assert trials["dependentTasks"] == ["propose"]
    assert "iteratorPolicy" not in trials  # a round has one trial a worker
    assert set(spec["components"]["comp-for-loop-3"]["dag"]["tasks"]) == {"train-trial"}


@pytest.mark.parametrize("loop", ["for-loop-2", "for-loop-3", "for-loop-4"])
def test_a_loop_is_handed_where_its_pods_run(spec: dict[str, Any], loop: str) -> None:
    handed = spec["components"][f"comp-{loop}"]["inputDefinitions"]["parameters"]
    places = (
        "check-gpu_count",
        "gpu_type",
        "gpu_node_selector",
        "gpu_node_affinity",
        "gpu_tolerations",
    )
    for name in (*places, "state_root"):
        assert f"pipelinechannel--{name}" in handed


def test_an_ensemble_is_trained_by_workers_side_by_side(
    spec: dict[str, Any], containers: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    loop = spec["root"]["dag"]["tasks"]["for-loop-4"]
    items = loop["parameterIterator"]["items"]["inputParameter"]
    checked = {"producerTask": "check", "outputParameterKey": "train_workers"}
    assert loop["inputs"]["parameters"][items]["taskOutputParameter"] == checked
    assert "iteratorPolicy" not in loop  # all at once
    assert set(spec["components"]["comp-for-loop-4"]["dag"]["tasks"]) == {"train-networks"}

    def workers(**given: int) -> list[int]:
        return list(_checked(containers, tmp_path, **given, state_root="/shared")[1])

    assert workers() == workers(ensemble=5) == workers(train_workers=4) == []
    assert workers(ensemble=5, train_workers=2) == [1, 2]
    assert workers(ensemble=3, train_workers=20) == [1, 2, 3]


def test_no_gpu_is_asked_for_and_not_none_of_them(
    containers: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Kueue lets no pod in that asks for 0 of what its queue does not have. KFP leaves "" out."""
    for given, asked in (("0", ""), ("00", ""), ("1", "1"), ("16", "16")):
        assert _checked(containers, tmp_path, gpu_count=given)[2] == asked


def _checked(containers: dict[str, dict[str, Any]], folder: Path, **given: Any) -> tuple[Any, ...]:
    """Returns what the check step answers, with the defaults of what is not given."""
    namespace: dict[str, Any] = {"NamedTuple": NamedTuple}
    exec(containers["check"]["command"][-1], namespace)
    values = {parameter.name: parameter.default for parameter in Pipeline.training.run.parameters()}
    written = dsl.Artifact(uri=str(folder / "parameters"))
    return tuple(namespace["check"](written, **values | given))


def test_shared_memory(kubernetes: dict[str, dict[str, Any]]) -> None:
    bigger = kubernetes_of(_compiled(shared_memory="512Mi"))
    for settings, size in ((kubernetes, "2Gi"), (bigger, "512Mi")):
        for name in TRAINING:
            (mount,) = settings[name]["emptyDirMounts"]
            assert mount["mountPath"] == "/dev/shm"
            assert mount["medium"] == "Memory"
            assert mount["sizeLimit"] == size


def test_kaggle_credentials_are_an_optional_secret(kubernetes: dict[str, dict[str, Any]]) -> None:
    secret, _ = kubernetes["ingest"]["secretAsEnv"]
    assert secret["secretName"] == "kaggle-credentials"
    assert secret["optional"] is True
    assert {pair["envVar"]: pair["secretKey"] for pair in secret["keyToEnv"]} == {
        "KAGGLE_USERNAME": "username",
        "KAGGLE_KEY": "key",
    }
    for name in STEPS - {"ingest", "ingest-other"}:
        assert "kaggle" not in str(kubernetes[name])


def test_credentials_of_stores_reach_the_steps_that_need_them(
    kubernetes: dict[str, dict[str, Any]],
) -> None:
    for name in STEPS:
        secrets = kubernetes[name].get("secretAsEnv", [])
        found = [secret for secret in secrets if secret["secretName"] == "store-credentials"]
        assert bool(found) is (name in OUTSIDE)
        for secret in found:
            assert secret["optional"] is True
            pairs = {pair["envVar"]: pair["secretKey"] for pair in secret["keyToEnv"]}
            assert pairs == {variable: variable for variable in STORE_VARIABLES}
        assert "secretAsVolume" not in kubernetes[name]


def test_the_predictors_token_reaches_the_deploy_step_alone(
    kubernetes: dict[str, dict[str, Any]],
) -> None:
    from components.deploy.served import TOKEN_VARIABLE

    for name in STEPS:
        secrets = kubernetes[name].get("secretAsEnv", [])
        found = [secret for secret in secrets if secret["secretName"] == TOKEN_SECRET]
        assert bool(found) is (name == "deploy")
        for secret in found:
            assert secret["optional"] is True
            assert secret["keyToEnv"] == [{"envVar": TOKEN_VARIABLE, "secretKey": TOKEN_KEY}]


def test_a_key_of_google_cloud_storage_is_mounted_where_it_is_named() -> None:
    text = _compiled(store_secret="mine", gcs_secret="gcs-key")
    settings = kubernetes_of(text)
    executors = specification(text)["deploymentSpec"]["executors"]
    for name in OUTSIDE:
        assert "mine" in {secret["secretName"] for secret in settings[name]["secretAsEnv"]}
        (mount,) = settings[name]["secretAsVolume"]
        assert mount["secretName"] == "gcs-key"
        (variable,) = executors[f"exec-{name}"]["container"]["env"]
        assert variable["name"] == "GOOGLE_APPLICATION_CREDENTIALS"
        assert variable["value"].startswith(mount["mountPath"] + "/")
    assert "gcs-key" not in str(settings["evaluate"])


def test_the_key_that_signs_reaches_register_alone_and_no_parameter() -> None:
    text = _compiled(signing_secret="the-secret", public_key_config_map="believed")
    settings = kubernetes_of(text)
    executors = specification(text)["deploymentSpec"]["executors"]
    found = {}
    for name in STEPS:
        variables = executors[f"exec-{name}"]["container"].get("env", [])
        mounts = settings[name].get("secretAsVolume", []) + settings[name].get(
            "configMapAsVolume", []
        )
        found[name] = {variable["name"] for variable in variables}
        for mount, variable in zip(mounts, variables, strict=True):
            assert variable["value"].startswith(mount["mountPath"] + "/")
        assert ("the-secret" in str(settings[name])) is (name == "register")
    believed = {"BRAIN_TUMOR_PUBLIC_KEY"}
    assert found.pop("register") == {"BRAIN_TUMOR_SIGNING_KEY"} | believed
    for name in ("deploy", "propose", *TRAINING):  # which read versions too
        assert found.pop(name) == believed
    assert not any(found.values())
    assert "sign" not in str(specification(text)["root"]["inputDefinitions"])


def test_caching_is_for_what_changes_nothing_outside(
    tasks: dict[str, dict[str, Any]],
) -> None:
    for name, task in tasks.items():
        cached = task.get("cachingOptions", {}).get("enableCache", False)
        assert cached is (name not in ("register", "deploy"))


def test_a_run_is_known_by_its_id(tasks: dict[str, dict[str, Any]]) -> None:
    for name in ("register", "deploy"):
        value = tasks[name]["inputs"]["parameters"]["run_id"]["runtimeValue"]["constant"]
        assert value == "{{$.pipeline_job_uuid}}"


def test_the_reports_and_metrics_are_outputs(spec: dict[str, Any]) -> None:
    outputs = spec["root"]["outputDefinitions"]
    assert set(outputs["parameters"]) == {"registered", "model_uri", "threshold"}
    kinds = {name: a["artifactType"]["schemaTitle"] for name, a in outputs["artifacts"].items()}
    assert kinds.pop("held_out_metrics") == "system.Metrics"
    assert kinds.pop("evaluation") == "system.Artifact"
    assert set(kinds.values()) == {"system.HTML"}
    assert set(kinds) == {
        f"{name}_report" for name in ("data", "split", "tune", "train", "evaluation")
    }


def test_a_volume_is_mounted_where_something_outlives_a_step() -> None:
    text = _compiled(volume_claim="models")
    spec = specification(text)
    shown = spec["root"]["inputDefinitions"]["parameters"]
    assert shown["registry"]["defaultValue"] == f"{VOLUME}/registry"
    assert shown["state_root"]["defaultValue"] == f"{VOLUME}/state"
    assert shown["served_from"]["defaultValue"] == "pvc://models/registry"
    settings = kubernetes_of(text)
    for name in STEPS:
        mounts = settings[name].get("pvcMount", [])
        if name in OUTSIDE:
            (mount,) = mounts
            assert mount["mountPath"] == VOLUME
            assert "models" in str(mount)
        else:
            assert not mounts


def test_without_a_volume_nothing_is_mounted(
    spec: dict[str, Any], kubernetes: dict[str, dict[str, Any]]
) -> None:
    shown = spec["root"]["inputDefinitions"]["parameters"]
    assert shown["registry"]["defaultValue"] == shown["state_root"]["defaultValue"] == ""
    assert not any("pvcMount" in settings for settings in kubernetes.values())
