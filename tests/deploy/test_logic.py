"""The step and the command: from a registry to a cluster, and into the registry again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from kfp import dsl

from components.deploy import manifest
from components.deploy.api import open_api
from components.deploy.component import deploy
from components.deploy.served import TOKEN_VARIABLE, ServedModel
from components.shared.errors import UserError
from components.shared.model_folder.smoke import SmokeImage, read_smoke, write_smoke
from components.shared.registry import Registry
from components.shared.registry.history import Alias
from components.shared.storage.files import write_atomically
from tests.command_line import Invoke, invoke  # noqa: F401
from tests.deploy.conftest import BASE, NAME, Cluster, Pod
from tests.serving.conftest import running, write_model
from tests.shared.registry.versions import metadata

ROOT = "pvc://models/registry"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry of five versions, of which the fifth is champion, and the sixth the candidate."""
    found = Registry.open(str(tmp_path / "registry"))
    pixels = np.random.default_rng(0).integers(0, 255, (4, 150, 150, 3), dtype=np.uint8)
    for number in range(1, 7):
        folder = tmp_path / "new" / str(number)
        write_smoke(folder, pixels, np.float32([0.1, 0.9, 0.4, 0.7]), threshold=0.5)

        def describe(version: int, folder: Path = folder) -> None:
            write_atomically(folder / "metadata.json", metadata(version).model_dump_json())

        found.publish(folder, describe)
    found.promote("5")
    return found


@pytest.fixture
def arguments(cluster: Cluster, registry: Registry, tmp_path: Path) -> dict[str, Any]:
    cluster.start_with()
    return {
        "registry": registry.uri,
        "version": 6,
        "served_from": ROOT,
        "inference_service": NAME,
        "namespace": "",
        "canary_percent": 0,
        "soak_seconds": 1,
        "max_error_rate": 0.1,
        "max_latency_seconds": 5.0,
        "force_conflicts": False,
        "dry_run": False,
        "run_id": "run-7",
        "rollout": dsl.Markdown(uri=str(tmp_path / "out" / "summary.md")),
    }


def test_what_serves_becomes_champion(
    arguments: dict[str, Any], registry: Registry, cluster: Cluster
) -> None:
    url, version = deploy.python_func(**arguments)
    assert (url, version) == (f"http://{NAME}.example.org", 6)
    assert cluster.wanted["predictor"]["model"]["storageUri"] == f"{ROOT}/brain-tumor/6"
    assert registry.aliases()[Alias.champion] == 6
    assert registry.history()[-1].reason == "serves as models/brain-tumor, run run-7"
    summary = Path(arguments["rollout"].path).read_text()
    assert "# Version 6 serves" in summary
    assert url in summary
    assert f"+      storageUri: {ROOT}/brain-tumor/6" in summary


def test_what_fails_leaves_the_champion(
    arguments: dict[str, Any], registry: Registry, cluster: Cluster
) -> None:
    cluster.kserve.pod = lambda version: Pod(version, off_by=0.1 * (version == 6))
    with pytest.raises(SystemExit, match=r"^deploy: version 6 is not rolled out .* serves again$"):
        deploy.python_func(**arguments)
    assert registry.aliases()[Alias.champion] == 5
    assert cluster.serving() == [5]


def test_a_dry_run_changes_nothing(
    arguments: dict[str, Any],
    registry: Registry,
    cluster: Cluster,
    capsys: pytest.CaptureFixture,
) -> None:
    before = cluster.api[NAME]
    url, version = deploy.python_func(**arguments | {"dry_run": True})
    assert (url, version) == ("", 6)
    assert f"+      storageUri: {ROOT}/brain-tumor/6" in capsys.readouterr().out
    assert "# Dry run" in Path(arguments["rollout"].path).read_text()
    assert cluster.api[NAME] == before
    assert registry.aliases()[Alias.champion] == 5


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"registry": ""}, "registry is empty"),
        ({"version": 9}, "no finished version 9"),
        ({"served_from": ""}, "KServe cannot read this folder"),
        ({"canary_percent": 100}, "canary_percent"),
        ({"inference_service": "No"}, "inference_service"),
        ({"namespace": "nowhere", "inference_service": "new"}, "there is no namespace nowhere"),
    ],
    ids=str,
)
def test_mistakes_are_told_in_a_line(
    arguments: dict[str, Any], changed: dict[str, Any], line: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        deploy.python_func(**arguments | changed)
    told = str(caught.value.code)
    assert told.startswith("deploy: ")
    assert line in told
    assert "\n" not in told


def test_a_damaged_version_is_not_deployed(
    arguments: dict[str, Any], registry: Registry, cluster: Cluster
) -> None:
    Path(registry.address(6), "smoke", "0.png").write_bytes(b"x")
    before = cluster.api[NAME]
    with pytest.raises(SystemExit, match=r"smoke/0\.png has changed"):
        deploy.python_func(**arguments)
    assert cluster.api[NAME] == before


def test_the_command(invoke: Invoke, registry: Registry, cluster: Cluster) -> None:  # noqa: F811
    cluster.start_with()
    options = ("--registry", registry.uri, "--served-from", ROOT)
    status, out, _ = invoke("deploy", "candidate", *options, "--dry-run")
    assert status == 0
    assert f"+      storageUri: {ROOT}/brain-tumor/6" in out
    assert cluster.serving() == [5]
    status, out, _ = invoke("deploy", "candidate", *options)
    assert status == 0
    assert out.endswith(f"version 6 serves at http://{NAME}.example.org\n")
    assert cluster.serving() == [6]
    status, out, err = invoke("deploy", "champion", *options, "--canary-percent", 100)
    assert (status, out) == (2, "")
    assert err.startswith("error: canary_percent: ")


def test_without_a_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none")
    )
    with pytest.raises(UserError, match=r"no Kubernetes cluster to deploy to: .*; set KUBECONFIG"):
        open_api("a", "b")


def test_an_api_server_that_is_none(
    kubeconfig: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.deploy.api._PATIENCE", 0.2)
    kubeconfig("http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"API at http://127\.0\.0\.1:9 cannot be reached"):
        open_api("a", "b").get()


def test_a_new_one_is_as_the_manifests_have_it() -> None:
    base = yaml.safe_load(BASE.read_text())
    uri = base["spec"]["predictor"]["model"]["storageUri"]
    new = manifest.created(base["metadata"]["name"], uri)
    assert new == base


def test_one_of_another_name_names_itself_throughout() -> None:
    text = yaml.safe_dump(manifest.created("other", "s3://b/1/")["spec"])
    assert "serving.kserve.io/inferenceservice: other" in text


# The real predictor.


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A predictor of version 7, which says how bright an image is, with its smoke images.

    It answers who has the token, which the environment has.
    """
    from components.shared.model_folder.checksums import write_sums
    from components.shared.model_folder.contract import SUMS

    folder = tmp_path_factory.mktemp("served")
    write_model(folder)
    grey = np.uint8([60, 120, 220, 240])
    pixels = np.broadcast_to(grey[:, None, None, None], (4, 150, 150, 3))
    write_smoke(folder, pixels, grey / 255, threshold=0.25)
    (folder / SUMS).unlink()
    write_sums(folder)
    log = tmp_path_factory.mktemp("log")
    tokens = log / "tokens"
    tokens.write_text("a-token-of-0123456789\n")
    with (
        running(folder, log / "log", tokens_file=tokens) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(TOKEN_VARIABLE, "a-token-of-0123456789\n")
        yield server, read_smoke(folder)


def test_the_real_predictor_answers_as_it_was_registered(served: Any) -> None:
    server, images = served
    model = ServedModel(server.url, server.name)
    for image in images:
        probe = model.ask(image)
        assert (probe.version, probe.fault, probe.mismatch) == (7, "", "")
    off = SmokeImage(images[0].png, images[0].label, images[0].probability_healthy + 0.01)
    assert "P(Healthy) is off by 0.01" in model.ask(off).mismatch
    other = SmokeImage(images[0].png, "Healthy", images[0].probability_healthy)
    assert "it answers 'Brain Tumor'" in model.ask(other).mismatch
    assert "HTTP 404" in ServedModel(server.url, "another").ask(images[0]).fault
    assert "HTTP 400" in model.ask(SmokeImage(b"no png", "Healthy", 0.5)).fault


def test_without_its_token_the_predictor_answers_nothing(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, images = served
    for wrong in ("", "another-token-0123456789"):
        monkeypatch.setenv(TOKEN_VARIABLE, wrong)
        assert "HTTP 401" in ServedModel(server.url, server.name).ask(images[0]).fault
    monkeypatch.setenv(TOKEN_VARIABLE, "two\nlines")
    with pytest.raises(UserError, match=f"{TOKEN_VARIABLE} is not a token") as refused:
        ServedModel(server.url, server.name)
    assert "lines" not in str(refused.value)


def test_a_rollout_to_the_real_predictor(served: Any, cluster: Cluster) -> None:
    server, images = served
    cluster.start_with()
    cluster.images = images
    assert httpx.get(f"{server.url}/v2/models/{NAME}/ready").status_code == 200
    cluster.rollout(7, address=server.url, timeout_seconds=20).run()
    assert cluster.wanted["predictor"]["model"]["storageUri"].endswith("/7/")
