"""Any component goes on any store, in any order, under a user's own names, and from Git."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.kustomize import COMPONENTS, MANIFESTS, STORES, Objects, objects, pod_of
from tests.manifests.test_agreement import RENAMED, check

SIGNED = ("PUBLIC_KEY", "STORAGE_URI_FILE")
EVERY = pytest.mark.parametrize("store", [f"overlays/{name}" for name in STORES])


@EVERY
@pytest.mark.parametrize("component", COMPONENTS)
def test_any_component_goes_on_any_store_under_any_names(store: str, component: str) -> None:
    found = objects(store, components=(component,), **RENAMED)
    check(found)
    assert found.one("InferenceService")["metadata"]["name"] == "a-brain-tumor-z"
    assert found.container["image"].startswith("registry.example/s@")


@EVERY
@pytest.mark.parametrize("mode", [("gpu", "canary"), ("gpu", "canary", "knative")])
def test_the_order_of_components_does_not_matter(store: str, mode: tuple[str, ...]) -> None:
    components = (*mode, "monitoring", "public-store", "signed")
    forth = objects(store, components=components)
    back = objects(store, components=components[::-1])
    check(forth)
    assert sorted(forth, key=str) == sorted(back, key=str)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_goes_over_an_overlay_with_names_of_its_own(
    tmp_path: Path, component: str
) -> None:
    store = {"resources": [_from(tmp_path, "overlays/local")], **RENAMED}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(store))
    check(objects(tmp_path, components=(component,)))


def _from(folder: Path, name: str) -> str:
    up = Path("../" * (len(folder.resolve().parts) - 1))
    return str(up / (MANIFESTS / name).relative_to("/"))


@pytest.mark.parametrize("fields", [{}, {"namespace": "elsewhere"}, {"namePrefix": "a-"}, RENAMED])
def test_the_pipelines_account_may_roll_out_wherever_an_overlay_has_both(
    fields: dict[str, Any],
) -> None:
    found = objects("overlays/s3", "pipeline", **fields)
    (account,) = (
        account["metadata"]
        for account in found.of("ServiceAccount")
        if "pipeline" in account["metadata"]["name"]
    )
    subject = {"name": account["name"], "namespace": account["namespace"]}
    bindings = found.of("RoleBinding")
    assert len(bindings) == 2
    for binding in bindings:
        assert binding["subjects"] == [{"kind": "ServiceAccount", **subject}]


def test_a_canary_is_of_a_fixed_size_and_in_the_same_store() -> None:
    for store, address in (("s3", "s3://models"), ("gcs", "gs://models"), ("local", "pvc://")):
        found = objects(f"overlays/{store}", components=("canary",))
        (entry,) = found.one("InferenceService")["spec"]["canary"]
        assert 0 < entry["trafficPercent"] < 100
        assert set(entry["predictor"]) == {"name", "minReplicas", "model"}
        stable, canary = (p["model"]["storageUri"] for p in (found.predictor, entry["predictor"]))
        assert stable.startswith(address)
        assert canary.rstrip("/") == stable.rstrip("/")[:-1] + "2"


def test_a_predictor_with_a_gpu_asks_for_one_and_for_no_spare() -> None:
    found = objects("overlays/gcs", components=("gpu",))
    resources = found.container["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    assert found.container["image"].endswith("-cuda")
    rolling = found.predictor["deploymentStrategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}
    assert found.one("ServingRuntime")["spec"]["tolerations"]


@pytest.fixture
def repository(tmp_path: Path) -> str:
    """A repository with a release, as Git has it."""
    folder = tmp_path / "repository"
    shutil.copytree(MANIFESTS, folder / "manifests")
    git: list[Any] = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v1.0.0"]):
        subprocess.run([*git, *command], check=True)
    return f"file://{folder}"


def test_overlays_and_components_are_taken_from_git_by_tag(tmp_path: Path, repository: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    content = {
        "resources": [f"{repository}//manifests/overlays/local?ref=v1.0.0"],
        "components": [f"{repository}//manifests/components/canary?ref=v1.0.0"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content | RENAMED))
    found = objects(folder)
    assert sorted(found, key=str) == sorted(
        objects("overlays/local", components=("canary",), **RENAMED), key=str
    )


def test_a_store_outside_of_the_cluster_is_reached_from_any_overlay() -> None:
    def egress(found: Objects) -> list[Any]:
        rules: list[Any] = found.one("NetworkPolicy")["spec"]["egress"]
        return rules

    (public,) = [
        rule for rule in egress(objects("overlays/gcs")) if rule["ports"][0]["port"] == 443
    ]
    assert public in egress(objects("overlays/s3", components=("public-store",)))


@EVERY
def test_a_signed_predictor_knows_the_signer_and_the_version_it_was_given(store: str) -> None:
    pod = pod_of(objects(store, components=("signed",), **RENAMED))
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    (folder,) = (m["mountPath"] for m in container["volumeMounts"] if m["name"] == "signer")
    (volume,) = (v["projected"]["sources"] for v in pod["volumes"] if v["name"] == "signer")
    files = {f"{folder}/{item['path']}": item for source in volume for item in _items(source)}
    settings = {name: environment[f"BRAIN_TUMOR_SERVE_{name}"] for name in SIGNED}
    assert set(settings.values()) == set(files)
    annotation = files[settings["STORAGE_URI_FILE"]]["fieldRef"]["fieldPath"]
    (key,) = re.findall(r"metadata\.annotations\['(.+)'\]", annotation)
    recorded = json.loads((Path(__file__).parents[1] / "deploy/recorded/kserve.json").read_text())
    assert f'"{key}": "s3://' in json.dumps(recorded), "as a real KServe notes it"


def _items(source: dict[str, Any]) -> list[dict[str, Any]]:
    (projection,) = source.values()
    return list(projection["items"])
