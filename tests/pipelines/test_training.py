"""The compiled pipeline, as a cluster and the KFP UI get it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import UserError
from pipelines import compile as compiling
from pipelines.cluster import STORE_VARIABLES, VOLUME, Cluster
from pipelines.settings import parameters
from pipelines.training import NAME

ROOT = Path(__file__).parents[2]
STEPS = {"ingest", "split", "tune", "train", "evaluate", "register", "deploy"}
COMPONENTS = "components/*/component.py"
HEAVY = ("tensorflow", "keras", "keras_tuner", "numpy", "sklearn", "matplotlib", "PIL", "scipy")


@pytest.fixture(scope="module")
def text() -> str:
    return compiling.compiled(Cluster(image="registry.example/train@sha256:0"))


@pytest.fixture(scope="module")
def spec(text: str) -> dict[str, Any]:
    return next(iter(yaml.safe_load_all(text)))


@pytest.fixture(scope="module")
def containers(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    executors = spec["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): e["container"] for name, e in executors.items()}


def _tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the steps' tasks, those behind a condition as well."""
    found = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    return {name: task for name, task in found.items() if not name.startswith("condition-")}


@pytest.fixture(scope="module")
def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return _tasks(spec)


def _kubernetes(text: str) -> dict[str, dict[str, Any]]:
    *_, platform = yaml.safe_load_all(text)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): settings for name, settings in executors.items()}


@pytest.fixture(scope="module")
def kubernetes(text: str) -> dict[str, dict[str, Any]]:
    return _kubernetes(text)


def _imported(code: str, *arguments: str) -> set[str]:
    """Returns which heavy packages a fresh interpreter has after running some code."""
    code += f"\nimport sys; print(','.join(n for n in {HEAVY} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(filter(None, done.stdout.splitlines()[-1].split(",")))


def test_compiling_is_repeatable_and_light(text: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from pipelines import compile as c; from pipelines.cluster import Cluster\n"
        "cluster = Cluster(image='registry.example/train@sha256:0')\n"
        "Path(sys.argv[1]).write_text(c.compiled(cluster))"
    )
    path = tmp_path / "training.yaml"
    assert _imported(code, str(path)) == set()
    assert path.read_bytes() == text.encode()  # though strings hash otherwise in each process


def test_importing_the_doors_of_the_project_is_light() -> None:
    doors = [f"components.{path.parent.name}.component" for path in ROOT.glob(COMPONENTS)]
    assert len(doors) == len(STEPS)
    modules = [path.stem for path in (ROOT / "pipelines").glob("[a-z]*.py")]
    # What runs the steps here looks at the data as well.
    doors += [f"pipelines.{name}" for name in modules if name not in ("demo", "local")]
    assert _imported("\n".join(f"import {door}" for door in doors)) == set()


def test_running_here_imports_no_tensorflow_itself() -> None:
    assert not {"tensorflow", "keras"} & _imported("import pipelines.demo")


def test_the_check_sees_any_difference(text: str, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    with pytest.raises(UserError, match=r"training\.yaml is not what the code compiles to"):
        compiling.check(path, text)
    path.write_text(text)
    compiling.check(path, text)
    path.write_text(text.replace("enableCache: true", "enableCache: false", 1))
    with pytest.raises(UserError, match="run 'brain-tumor compile' and commit it"):
        compiling.check(path, text)


def test_as_kubernetes_objects_it_is_the_same_pipeline(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "git_revision", lambda: "0123456789ab")
    cluster = Cluster(image="registry.example/train@sha256:0")
    pipeline, version = yaml.safe_load_all(compiling.manifest(cluster, "kubeflow"))
    specification, settings = yaml.safe_load_all(text)

    assert pipeline["kind"] == "Pipeline"
    assert version["kind"] == "PipelineVersion"
    assert {entry["apiVersion"] for entry in (pipeline, version)} == {
        "pipelines.kubeflow.org/v2beta1"
    }
    assert {entry["metadata"]["namespace"] for entry in (pipeline, version)} == {"kubeflow"}
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == NAME
    assert version["spec"]["pipelineSpec"] == specification
    assert version["spec"]["platformSpec"] == settings
    named = version["spec"]["displayName"]
    assert named.startswith("0123456789ab-"), "an image of one's own makes another package"
    assert re.fullmatch(r"[a-z0-9-]{1,253}", version["metadata"]["name"])
    assert version["metadata"]["name"] == f"{NAME}-{named}"


def test_kubernetes_objects_are_the_same_bytes_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "git_revision", lambda: "0123456789ab")
    first, second = (compiling.manifest(Cluster(), "kubeflow") for _ in range(2))
    assert first == second


def test_a_namespace_that_is_none() -> None:
    with pytest.raises(UserError, match="'My_Team' is no name of a namespace"):
        compiling.manifest(Cluster(), "My_Team")


def test_the_committed_file_is_what_the_code_compiles_to() -> None:
    compiling.check(compiling.COMMITTED, compiling.compiled(Cluster()))


def test_the_steps_stand_in_their_order(tasks: dict[str, dict[str, Any]]) -> None:
    after = {name: set(task.get("dependentTasks", ())) for name, task in tasks.items()}
    assert after == {
        "ingest": set(),
        "split": {"ingest"},
        "tune": {"ingest", "split"},
        "train": {"ingest", "split", "tune"},
        "evaluate": {"ingest", "split", "train"},
        "register": {"ingest", "split", "train", "evaluate"},
        "deploy": set(),  # but for the conditions that it stands behind
    }


def test_deploy_waits_for_a_registered_model_and_a_wish(spec: dict[str, Any]) -> None:
    outer = spec["root"]["dag"]["tasks"]["condition-1"]
    assert outer["dependentTasks"] == ["register"]
    wish = outer["triggerPolicy"]["condition"]
    assert wish == "inputs.parameter_values['pipelinechannel--inference_service'] != ''"
    inner = spec["components"]["comp-condition-1"]["dag"]["tasks"]["condition-2"]
    registered = inner["triggerPolicy"]["condition"]
    assert registered == "inputs.parameter_values['pipelinechannel--register-registered'] == true"
    assert set(spec["components"]["comp-condition-2"]["dag"]["tasks"]) == {"deploy"}


def test_the_best_values_flow_to_train(tasks: dict[str, dict[str, Any]]) -> None:
    given = tasks["train"]["inputs"]["parameters"]
    for name in ("learning_rate", "dropout", "dense", "augmentation"):
        assert given[name]["taskOutputParameter"] == {
            "producerTask": "tune",
            "outputParameterKey": name,
        }


def test_every_step_runs_in_the_image_and_installs_nothing(
    text: str, containers: dict[str, dict[str, Any]]
) -> None:
    assert set(containers) == STEPS
    assert {c["image"] for c in containers.values()} == {"registry.example/train@sha256:0"}
    assert "pip install" not in text
    assert "brain-tumor-train-python" not in text


def test_every_step_asks_for_cpu_and_memory(containers: dict[str, dict[str, Any]]) -> None:
    for container in containers.values():
        resources = container["resources"]
        assert resources["resourceCpuRequest"]
        assert resources["resourceMemoryRequest"]
        assert resources["resourceMemoryLimit"]


def test_gpus_come_from_run_parameters(
    containers: dict[str, dict[str, Any]],
    tasks: dict[str, dict[str, Any]],
    kubernetes: dict[str, dict[str, Any]],
) -> None:
    for name, container in containers.items():
        if name not in ("tune", "train"):
            assert "accelerator" not in container["resources"]
            assert not {"nodeSelector", "tolerations", "emptyDirMounts"} & set(kubernetes[name])
            continue
        accelerator = container["resources"]["accelerator"]
        given = tasks[name]["inputs"]["parameters"]
        for field, parameter in (("resourceCount", "gpu_count"), ("resourceType", "gpu_type")):
            placeholder = accelerator[field].removeprefix("{{$.inputs.parameters['")
            source = given[placeholder.removesuffix("']}}")]
            assert source == {"componentInputParameter": parameter}
        assert kubernetes[name]["nodeSelector"] == {
            "nodeSelectorJson": {"componentInputParameter": "gpu_node_selector"}
        }
        assert kubernetes[name]["tolerations"] == [
            {"tolerationJson": {"componentInputParameter": "gpu_tolerations"}}
        ]


def test_shared_memory(kubernetes: dict[str, dict[str, Any]]) -> None:
    bigger = _kubernetes(compiling.compiled(Cluster(shared_memory="512Mi")))
    for settings, size in ((kubernetes, "2Gi"), (bigger, "512Mi")):
        for name in ("tune", "train"):
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
    for name in STEPS - {"ingest"}:
        assert "kaggle" not in str(kubernetes[name])


def test_credentials_of_stores_reach_the_steps_that_need_them(
    kubernetes: dict[str, dict[str, Any]],
) -> None:
    for name in STEPS:
        secrets = kubernetes[name].get("secretAsEnv", [])
        found = [secret for secret in secrets if secret["secretName"] == "store-credentials"]
        assert bool(found) is (name in ("ingest", "register", "deploy"))
        for secret in found:
            assert secret["optional"] is True
            pairs = {pair["envVar"]: pair["secretKey"] for pair in secret["keyToEnv"]}
            assert pairs == {variable: variable for variable in STORE_VARIABLES}
        assert "secretAsVolume" not in kubernetes[name]


def test_a_key_of_google_cloud_storage_is_mounted_where_it_is_named() -> None:
    text = compiling.compiled(Cluster(store_secret="mine", gcs_secret="gcs-key"))
    settings = _kubernetes(text)
    executors = next(iter(yaml.safe_load_all(text)))["deploymentSpec"]["executors"]
    for name in ("ingest", "register", "deploy"):
        assert "mine" in {secret["secretName"] for secret in settings[name]["secretAsEnv"]}
        (mount,) = settings[name]["secretAsVolume"]
        assert mount["secretName"] == "gcs-key"
        (variable,) = executors[f"exec-{name}"]["container"]["env"]
        assert variable["name"] == "GOOGLE_APPLICATION_CREDENTIALS"
        assert variable["value"].startswith(mount["mountPath"] + "/")
    assert "gcs-key" not in str(settings["train"])


def test_no_step_runs_as_root(kubernetes: dict[str, dict[str, Any]]) -> None:
    for name in STEPS:
        context = kubernetes[name]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert int(context["runAsUser"]) == int(context["runAsGroup"]) > 0


def test_caching_and_retries_are_for_what_changes_nothing_outside(
    tasks: dict[str, dict[str, Any]],
) -> None:
    for name, task in tasks.items():
        cached = task.get("cachingOptions", {}).get("enableCache", False)
        assert cached is (name not in ("register", "deploy"))
        assert ("retryPolicy" in task) is (name not in ("register", "deploy"))
        if "retryPolicy" in task:
            assert task["retryPolicy"]["maxRetryCount"] == 2


def test_caching_and_retries_can_be_off() -> None:
    text = compiling.compiled(Cluster(caching=False, retries=0))
    spec = next(iter(yaml.safe_load_all(text)))
    for task in _tasks(spec).values():
        assert not task.get("cachingOptions", {}).get("enableCache", False)
        assert "retryPolicy" not in task


def test_the_user_interface_shows_what_each_parameter_is(spec: dict[str, Any]) -> None:
    shown = spec["root"]["inputDefinitions"]["parameters"]
    assert set(shown) == {parameter.name for parameter in parameters()}
    for parameter in parameters():
        definition = shown[parameter.name]
        assert definition["description"] == parameter.description
        assert definition["description"].endswith(".")
        assert "\n" not in definition["description"]
        assert definition["isOptional"] is True
        assert definition["defaultValue"] == parameter.default
    assert spec["pipelineInfo"]["displayName"]
    assert spec["pipelineInfo"]["description"]


def test_every_step_has_a_name_for_people(tasks: dict[str, dict[str, Any]]) -> None:
    names = [task["taskInfo"]["name"] for task in tasks.values()]
    assert len(set(names)) == len(STEPS)
    assert all(" " in name for name in names)


def test_the_reports_and_metrics_are_outputs(spec: dict[str, Any]) -> None:
    outputs = spec["root"]["outputDefinitions"]
    assert set(outputs["parameters"]) == {"registered", "model_uri", "threshold"}
    kinds = {name: a["artifactType"]["schemaTitle"] for name, a in outputs["artifacts"].items()}
    assert kinds.pop("metrics") == "system.Metrics"
    assert kinds.pop("evaluation") == "system.Artifact"
    assert set(kinds.values()) == {"system.HTML"}
    assert set(kinds) == {
        f"{name}_report" for name in ("data", "split", "tune", "train", "evaluation")
    }


def test_a_volume_is_mounted_where_something_outlives_a_step() -> None:
    text = compiling.compiled(Cluster(volume_claim="work"))
    spec = next(iter(yaml.safe_load_all(text)))
    shown = spec["root"]["inputDefinitions"]["parameters"]
    assert shown["registry"]["defaultValue"] == f"{VOLUME}/registry"
    assert shown["state_root"]["defaultValue"] == f"{VOLUME}/state"
    assert shown["served_from"]["defaultValue"] == "pvc://work/registry"
    settings = _kubernetes(text)
    for name in STEPS:
        mounts = settings[name].get("pvcMount", [])
        if name in ("ingest", "tune", "train", "register", "deploy"):
            (mount,) = mounts
            assert mount["mountPath"] == VOLUME
            assert "work" in str(mount)
        else:
            assert not mounts


def test_without_a_volume_nothing_is_mounted(
    spec: dict[str, Any], kubernetes: dict[str, dict[str, Any]]
) -> None:
    shown = spec["root"]["inputDefinitions"]["parameters"]
    assert shown["registry"]["defaultValue"] == shown["state_root"]["defaultValue"] == ""
    assert not any("pvcMount" in settings for settings in kubernetes.values())
