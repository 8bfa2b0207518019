"""The record in Kubeflow Model Registry, against a server that speaks its API."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.registry import kubeflow
from tests.shared.registry.model_registry_server import ModelRegistryServer, running
from tests.shared.registry.versions import DIGEST, metadata

_URI = "s3://bucket/models/brain-tumor/3"


@pytest.fixture
def server() -> Iterator[ModelRegistryServer]:
    with running() as server:
        yield server


def _told(address: str) -> str:
    with pytest.raises(UserError) as caught:
        kubeflow.record(address, metadata(3), _URI)
    message = str(caught.value)
    assert message.startswith(f"Kubeflow Model Registry {address}: ")
    assert "\n" not in message
    assert len(message) < 400
    return message.removeprefix(f"Kubeflow Model Registry {address}: ")


def test_a_version_is_recorded(server: ModelRegistryServer) -> None:
    kubeflow.record(server.address, metadata(3, champion=2), _URI)
    (model,) = server.models
    (version,) = server.versions
    (artifact,) = server.artifacts[version["id"]]
    assert model["name"] == "brain-tumor"
    assert version["name"] == "3"
    assert version["registeredModelId"] == model["id"]
    assert "@" in version["author"]
    assert artifact["artifactType"] == "model-artifact"
    assert artifact["uri"] == _URI
    assert artifact["modelFormatName"] == "tensorflow"
    assert artifact["modelSourceId"] == "run-7"
    properties = version["customProperties"]
    assert properties["accuracy"] == {
        "double_value": 0.9,
        "metadataType": "MetadataDoubleValue",
    }
    assert properties["data_digest"]["string_value"] == DIGEST
    assert properties["split_digest"]["string_value"] == DIGEST[::-1]
    assert properties["git_revision"]["string_value"] == "0123456789abcdef"
    assert properties["compared_with_version"]["int_value"] == "2"


def test_versions_share_their_model(server: ModelRegistryServer) -> None:
    kubeflow.record(server.address, metadata(1), _URI)
    kubeflow.record(f"{server.address}/", metadata(2, run=""), _URI)
    assert len(server.models) == 1
    assert [version["name"] for version in server.versions] == ["1", "2"]
    (artifact,) = server.artifacts[server.versions[1]["id"]]
    assert "modelSourceId" not in artifact


def test_a_version_is_recorded_once(server: ModelRegistryServer) -> None:
    kubeflow.record(server.address, metadata(3), _URI)
    assert _told(server.address) == "Version 3 already exists"
    assert len(server.versions) == 1


@pytest.mark.parametrize("path", ["/registered_models", "/model_version", "/model_versions"])
@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_refusals_are_told_in_a_line(server: ModelRegistryServer, path: str, status: int) -> None:
    server.faults[path] = status
    assert _told(server.address).startswith(f"answers {status}")


def test_a_server_of_another_api(server: ModelRegistryServer) -> None:
    assert _told(f"{server.address}/elsewhere").startswith("answers 404")


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert "Cannot connect" in _told(address)


def test_a_server_that_hangs(server: ModelRegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeflow, "_SECONDS", 0.2)
    server.delay = 1
    assert _told(server.address) == "no answer within 0.2 s"


def test_the_service_accounts_token_is_sent(
    server: ModelRegistryServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.token = "of-the-pod"
    assert _told(server.address).startswith("answers 401")
    (tmp_path / "token").write_text("of-the-pod")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    kubeflow.record(server.address, metadata(3), _URI)
    assert len(server.versions) == 1


@pytest.mark.parametrize("address", ["model-registry:8080", "ftp://host", "", "http://"])
def test_what_is_no_address(address: str) -> None:
    assert _told(address)
