"""What holds of every compiled pipeline, as a cluster and the KFP UI get it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from kfp import dsl

from components.shared.errors import UserError
from pipelines import compile as compiling
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from tests.pipelines.specification import containers_of, kubernetes_of, tasks_of

ROOT = Path(__file__).parents[2]
COMPONENTS = "components/*/component.py"
HEAVY = ("tensorflow", "keras", "keras_tuner", "numpy", "sklearn", "matplotlib", "PIL", "scipy")
IMAGE = "registry.example/train@sha256:" + "0" * 64
AGAIN = "check-2"  # of the training that the drift pipeline may start


@pytest.fixture(scope="module", params=list(Pipeline))
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    return request.param


@pytest.fixture(scope="module")
def text(pipeline: Pipeline) -> str:
    return compiling.compiled(pipeline, Cluster(image=IMAGE))


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


def test_compiling_is_repeatable_and_light(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines import compile as c\n"
        "from pipelines.catalogue import Pipeline; from pipelines.cluster import Cluster\n"
        "for pipeline in Pipeline:\n"
        "    text = c.compiled(pipeline, Cluster(image=sys.argv[1]))\n"
        "    Path(sys.argv[2], pipeline).write_text(text)"
    )
    assert _imported(code, IMAGE, str(tmp_path)) == set()
    for pipeline in Pipeline:  # though strings hash otherwise in each process
        text = compiling.compiled(pipeline, Cluster(image=IMAGE))
        assert (tmp_path / pipeline).read_bytes() == text.encode()


def test_a_comment_names_the_pipeline_its_inputs_and_their_defaults(
    pipeline: Pipeline, text: str
) -> None:
    comment = text.partition("\ncomponents:")[0].splitlines()
    assert comment[:2] == ["# PIPELINE DEFINITION", f"# Name: {pipeline.info.name}"]
    assert comment[2] == f"# Description: {pipeline.info.description}"
    inputs = comment[comment.index("# Inputs:") + 1 : comment.index("# Outputs:")]
    names = {line.split()[1].rstrip(":") for line in inputs}
    assert names == {parameter.name for parameter in pipeline.run.parameters()}
    assert "#    gpu_count: str [Default: '0']" in inputs
    keys = "'effect': 'NoSchedule', 'key': 'nvidia.com/gpu', 'operator': 'Exists'"
    assert f"#    gpu_tolerations: list [Default: [{{{keys}}}]]" in inputs


def test_importing_the_doors_of_the_project_is_light() -> None:
    doors = [f"components.{path.parent.name}.component" for path in ROOT.glob(COMPONENTS)]
    assert len(doors) == 12
    modules = [path.stem for path in (ROOT / "pipelines").glob("[a-z]*.py")]
    here = (
        "demo",
        "judge",
        "local",
        "predict",
        "recalibrate",
        "reports",
    )  # which look at the data as well
    doors += [f"pipelines.{name}" for name in modules if name not in here]
    assert _imported("\n".join(f"import {door}" for door in doors)) == set()


def test_running_here_imports_no_tensorflow_itself() -> None:
    assert not {"tensorflow", "keras"} & _imported("import pipelines.demo")


def test_the_check_sees_any_difference(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    with pytest.raises(UserError, match=r"pipeline\.yaml is not what the code compiles to"):
        compiling.check(path, text)
    path.write_text(text)
    compiling.check(path, text)
    path.write_text(text.replace("enableCache: true", "enableCache: false", 1))
    with pytest.raises(UserError, match="run 'make compile' and commit it"):
        compiling.check(path, text)


@pytest.fixture(scope="module")
def manifest(pipeline: Pipeline) -> str:
    return _manifest(pipeline)


def _manifest(pipeline: Pipeline) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "git_revision", lambda: "0123456789ab")
        return compiling.manifest(pipeline, Cluster(image=IMAGE), "kubeflow")


def test_as_kubernetes_objects_it_is_the_same_pipeline(
    pipeline: Pipeline, text: str, manifest: str
) -> None:
    owner, version = yaml.load_all(manifest, yaml.CSafeLoader)
    spec, settings = yaml.load_all(text, yaml.CSafeLoader)

    assert owner["kind"] == "Pipeline"
    assert version["kind"] == "PipelineVersion"
    assert {entry["apiVersion"] for entry in (owner, version)} == {"pipelines.kubeflow.org/v2beta1"}
    assert {entry["metadata"]["namespace"] for entry in (owner, version)} == {"kubeflow"}
    assert version["spec"]["pipelineName"] == owner["metadata"]["name"] == pipeline.info.name
    assert version["spec"]["pipelineSpec"] == spec
    assert version["spec"]["platformSpec"] == settings
    named = version["spec"]["displayName"]
    assert named.startswith("0123456789ab-"), "an image of one's own makes another package"
    assert re.fullmatch(r"[a-z0-9-]{1,253}", version["metadata"]["name"])
    assert version["metadata"]["name"] == f"{pipeline.info.name}-{named}"


def test_kubernetes_objects_are_the_same_bytes_each_time(pipeline: Pipeline, manifest: str) -> None:
    assert _manifest(pipeline) == manifest


def test_a_namespace_that_is_none() -> None:
    with pytest.raises(UserError, match="'My_Team' is not the name of a namespace"):
        compiling.manifest(Pipeline.training, Cluster(), "My_Team")


def test_the_committed_file_is_what_the_code_compiles_to(pipeline: Pipeline) -> None:
    compiling.check(pipeline.committed, compiling.compiled(pipeline, Cluster()))


def test_every_step_runs_in_the_image_and_installs_nothing(
    text: str, containers: dict[str, dict[str, Any]], tasks: dict[str, dict[str, Any]]
) -> None:
    assert set(containers) == set(tasks)
    assert {c["image"] for c in containers.values()} == {IMAGE}
    assert "pip install" not in text
    assert "brain-tumor-train-python" not in text


def test_every_step_fits_what_kfp_leaves_of_a_small_node(
    containers: dict[str, dict[str, Any]],
) -> None:
    # Kubernetes, KFP 2.17 and KServe together ask for 1.6 CPUs and 3.5 GiB; the node has 2 and 8.
    for container in containers.values():
        resources = container["resources"]
        assert 0 < resources["cpuRequest"] <= 0.35
        assert 0 < resources["memoryRequest"] == resources["memoryLimit"] <= 4.0
        assert "resourceCpuLimit" not in resources, "TensorFlow takes what is free"


def test_cpu_and_memory_are_settings(pipeline: Pipeline) -> None:
    of_all = {"cpu": "1500m", "memory": "5Gi", "training_cpu": "8", "training_memory": "32Gi"}
    found = containers_of(compiling.compiled(pipeline, Cluster(**of_all)))
    for name, container in found.items():
        resources = container["resources"]
        asked = tuple(resources[f"resource{kind}"] for kind in ("CpuRequest", "MemoryLimit"))
        if name in ("train-trial", "tune", "train-networks", "train", "cross-validate"):
            assert asked == ("8", "32Gi")
        elif name not in ("check", "other-sources", AGAIN, "deploy", "alert"):
            assert asked == ("1500m", "5Gi")


def test_no_step_runs_as_root(
    kubernetes: dict[str, dict[str, Any]], tasks: dict[str, dict[str, Any]]
) -> None:
    for name in tasks:
        context = kubernetes[name]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert int(context["runAsUser"]) == int(context["runAsGroup"]) > 0


def test_users_and_groups_are_settings(pipeline: Pipeline) -> None:
    of_a_namespace = compiling.compiled(pipeline, Cluster(run_as_user=1000660000, run_as_group=7))
    of_openshift = compiling.compiled(pipeline, Cluster(run_as_user=0, run_as_group=0))
    for settings in kubernetes_of(of_a_namespace).values():
        assert settings["securityContext"] == {
            "runAsUser": "1000660000",
            "runAsGroup": "7",
            "runAsNonRoot": True,
        }
    for settings in kubernetes_of(of_openshift).values():
        assert settings["securityContext"] == {"runAsNonRoot": True}


def test_every_step_waits_in_the_queue_and_pulls_with_the_secret(
    pipeline: Pipeline, text: str
) -> None:
    for settings in kubernetes_of(text).values():
        assert not {"podMetadata", "imagePullSecret"} & set(settings)
    queued = Cluster(queue="team-a", priority_class="high", image_pull_secret="registry-key")
    for settings in kubernetes_of(compiling.compiled(pipeline, queued)).values():
        assert settings["podMetadata"] == {
            "labels": {
                "kueue.x-k8s.io/queue-name": "team-a",
                "kueue.x-k8s.io/priority-class": "high",
            }
        }
        (secret,) = settings["imagePullSecret"]
        assert secret["secretName"] == "registry-key"


def test_the_first_step_checks_all_parameters_and_the_others_wait_for_it(
    pipeline: Pipeline, spec: dict[str, Any]
) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    given = tasks["check"]["inputs"]["parameters"]
    names = {parameter.name for parameter in pipeline.run.parameters()}
    assert given == {name: {"componentInputParameter": name} for name in names}
    assert [name for name, task in tasks.items() if not task.get("dependentTasks")] == ["check"]


def test_the_first_step_says_every_fault_in_one_line(
    pipeline: Pipeline, containers: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    # As in a pod: what KFP copied into the pipeline, with the values as its JSON has them.
    namespace: dict[str, Any] = {"NamedTuple": NamedTuple}
    exec(containers["check"]["command"][-1], namespace)
    values = {parameter.name: parameter.default for parameter in pipeline.run.parameters()}
    written = dsl.Artifact(uri=str(tmp_path / "parameters"))
    namespace["check"](written, **values)
    assert json.loads(Path(written.path).read_text()) == values
    with pytest.raises(SystemExit) as caught:
        namespace["check"](written, **values | {"epochs": 2.5, "max_bad_share": 2})
    line = str(caught.value)
    assert line.startswith("check: max_bad_share: 2 is not allowed; ")
    assert "; epochs: 2.5 is not allowed; " in line
    assert "\n" not in line


def _ingest_loop(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the task that ingests, of the pipeline or of the training in it."""
    dags = [
        component["dag"]
        for component in (spec["root"], *spec["components"].values())
        if "dag" in component
    ]
    (loop,) = (dag["tasks"]["for-loop-1"] for dag in dags if "for-loop-1" in dag["tasks"])
    return dict(loop)


def test_the_checked_number_of_workers_ingests(
    containers: dict[str, dict[str, Any]],
    spec: dict[str, Any],
    pipeline: Pipeline,
    tmp_path: Path,
) -> None:
    loop = _ingest_loop(spec)
    items = loop["parameterIterator"]["items"]["inputParameter"]
    checked = {"producerTask": "check", "outputParameterKey": "ingest_workers"}
    assert loop["inputs"]["parameters"][items]["taskOutputParameter"] == checked
    assert "iteratorPolicy" not in loop  # all at once
    assert set(spec["components"]["comp-for-loop-1"]["dag"]["tasks"]) == {"ingest"}
    namespace: dict[str, Any] = {"NamedTuple": NamedTuple}
    exec(containers["check"]["command"][-1], namespace)
    values = {parameter.name: parameter.default for parameter in pipeline.run.parameters()}
    written = dsl.Artifact(uri=str(tmp_path / "parameters"))
    assert namespace["check"](written, **values) == ([1], [], "")
    assert namespace["check"](written, **values | {"ingest_workers": 3}) == ([1, 2, 3], [], "")


def test_a_loop_hands_on_the_type_that_its_step_takes(spec: dict[str, Any]) -> None:
    # A real KFP's driver fails where they differ; kfp.local does not.
    handed = 0
    for component in (c for c in spec["components"].values() if "dag" in c):
        inside = component.get("inputDefinitions", {}).get("parameters", {})
        for task in component["dag"]["tasks"].values():
            takes = spec["components"][task["componentRef"]["name"]].get("inputDefinitions", {})
            for name, source in task.get("inputs", {}).get("parameters", {}).items():
                channel = source.get("componentInputParameter", "")
                if channel.endswith("-loop-item"):
                    wanted = takes["parameters"][name]["parameterType"]
                    assert inside[channel]["parameterType"] == wanted
                    handed += 1
    assert handed


def test_other_values_take_what_is_cached(spec: dict[str, Any]) -> None:
    ingest = spec["components"]["comp-for-loop-1"]["dag"]["tasks"]["ingest"]
    given = _ingest_loop(spec)["inputs"]["parameters"]
    for inputs in (ingest["inputs"]["parameters"], given):
        assert "epochs" not in str(inputs), "KFP caches by a step's inputs"
        assert "max_bad_share" not in str(inputs)


def test_caching_can_be_off(pipeline: Pipeline) -> None:
    for task in tasks_of(compiling.compiled(pipeline, Cluster(caching=False))).values():
        assert not task.get("cachingOptions", {}).get("enableCache", False)


def test_retries_are_left_to_kfp(tasks: dict[str, dict[str, Any]]) -> None:
    # Stock KFP 2.17 repeats a step whose pod was lost, and none that failed, whatever this says.
    assert not any("retryPolicy" in task for task in tasks.values())


def test_the_user_interface_shows_what_each_parameter_is(
    pipeline: Pipeline, spec: dict[str, Any]
) -> None:
    shown = spec["root"]["inputDefinitions"]["parameters"]
    assert set(shown) == {parameter.name for parameter in pipeline.run.parameters()}
    for parameter in pipeline.run.parameters():
        definition = shown[parameter.name]
        assert definition["description"] == parameter.description
        assert definition["description"].endswith(".")
        assert "\n" not in definition["description"]
        assert definition["isOptional"] is True
        assert definition["defaultValue"] == parameter.default
    for parameter in Cluster.parameters():
        assert parameter.description.endswith(".")
    assert spec["pipelineInfo"]["displayName"]
    assert spec["pipelineInfo"]["description"]


def test_every_step_has_a_name_for_people(tasks: dict[str, dict[str, Any]]) -> None:
    names = [task["taskInfo"]["name"] for step, task in tasks.items() if step != AGAIN]
    assert len(set(names)) == len(names)
    assert all(" " in name for name in names)
    assert max(map(len, names)) <= 18, "KFP's UI cuts longer ones"


def test_every_artifact_has_a_name_of_its_own(spec: dict[str, Any]) -> None:
    made = [
        name
        for component, definition in spec["components"].items()
        if "executorLabel" in definition and component != f"comp-{AGAIN}"
        for name in definition.get("outputDefinitions", {}).get("artifacts", ())
    ]
    assert len(set(made)) == len(made)
    assert not {"report", "metrics", "summary", "result"} & set(made)
