"""The Kaggle source, against a local server that answers as Kaggle's API does."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kagglesdk import kaggle_env

from components.ingest import sources
from components.ingest.sources import open_source
from components.shared.errors import UserError

HANDLE = "owner/scans"
FILES = {
    "Set/Set/Brain Tumor/a.png": b"a",
    "Set/Set/Healthy/b.png": b"b",
    "Set/metadata.csv": b"c",
}


class Kaggle(ThreadingHTTPServer):
    """One dataset with three versions; a download holds the number of its version too."""

    status = 200
    refusals = 1_000
    archive: bytes | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict, str | None]] = []

    def zip_of(self, version: int) -> bytes:
        if self.archive is not None:
            return self.archive
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in FILES.items():
                archive.writestr(name, content + str(version).encode())
        return buffer.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: Kaggle

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.rsplit("/", 1)[-1]
        self.server.asked.append((name, body, self.headers["Authorization"]))
        if self.server.status != 200 and self.server.refusals > 0:
            self.server.refusals -= 1
            self._answer(self.server.status, "application/json", b'{"message": "no"}')
        elif f"{body['ownerSlug']}/{body['datasetSlug']}" != HANDLE:
            self._answer(404, "application/json", b"{}")
        elif name == "GetDataset":
            content = json.dumps({"ref": HANDLE, "currentVersionNumber": 3}).encode()
            self._answer(200, "application/json", content)
        elif not 1 <= body["datasetVersionNumber"] <= 3:
            self._answer(404, "application/json", b"{}")
        else:
            content = self.server.zip_of(body["datasetVersionNumber"])
            self._answer(200, "application/zip", content)

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sources, "_KAGGLE_WAIT", 0.001)
    with Kaggle() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setitem(
            kaggle_env._env_to_endpoint,
            kaggle_env.KaggleEnv.TEST,
            f"http://127.0.0.1:{server.server_port}",
        )
        yield server
        server.shutdown()


def contents(version: str = "") -> tuple[str, dict[str, bytes]]:
    with open_source(f"kaggle://{HANDLE}", version) as source:
        return source.version, {file.path: file.read() for file in source.files}


def refused(uri: str = f"kaggle://{HANDLE}", version: str = "") -> str:
    with pytest.raises(UserError) as caught, open_source(uri, version):
        pass
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"source {uri}: ")
    return str(caught.value)


def test_the_newest_version_is_taken_and_recorded(kaggle: Kaggle) -> None:
    version, files = contents()
    assert version == "3"
    assert files == {"Set/Set/Brain Tumor/a.png": b"a3", "Set/Set/Healthy/b.png": b"b3"}
    assert [name for name, *_ in kaggle.asked] == ["GetDataset", "DownloadDataset"]
    assert {key for *_, key in kaggle.asked} == {None}  # no credentials are needed


def test_an_older_version(kaggle: Kaggle) -> None:
    version, files = contents("2")
    assert version == "2"
    assert files["Set/Set/Healthy/b.png"] == b"b2"


def test_a_second_run_downloads_nothing(kaggle: Kaggle) -> None:
    assert contents() == contents()
    assert [name for name, *_ in kaggle.asked].count("DownloadDataset") == 1


def test_credentials_are_used_where_given(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "reader")
    monkeypatch.setenv("KAGGLE_KEY", "0" * 32)
    contents()
    assert all((key or "").startswith("Basic ") for *_, key in kaggle.asked)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_refusal_is_one_line(kaggle: Kaggle, status: int) -> None:
    kaggle.status = status
    message = refused()
    assert "the download from Kaggle failed" in message
    assert str(status) in message
    assert "check the name, the network and" in message


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(kaggle: Kaggle, status: int) -> None:
    kaggle.status, kaggle.refusals = status, 2
    assert contents()[0] == "3"
    assert [name for name, *_ in kaggle.asked][:3] == ["GetDataset"] * 3


def test_what_will_not_pass_is_asked_once(kaggle: Kaggle) -> None:
    kaggle.status = 403
    refused()
    assert len(kaggle.asked) == 1


def test_what_there_is_not(kaggle: Kaggle) -> None:
    assert "404" in refused("kaggle://owner/others")
    assert "404" in refused(version="9")


def test_a_dead_server(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, "http://127.0.0.1:1"
    )
    assert "the download from Kaggle failed" in refused()


@pytest.mark.parametrize("archive", [b"", b"this is no archive", b"PK\3\4" + b"\0" * 100])
def test_a_download_that_is_no_archive(kaggle: Kaggle, archive: bytes) -> None:
    kaggle.archive = archive
    assert "the download from Kaggle failed" in refused()


@pytest.mark.parametrize(
    "uri", ["kaggle://", "kaggle://owner", "kaggle://a/b/c", "kaggle://../..", "kaggle://a b/c"]
)
def test_handles_that_are_none(uri: str) -> None:
    assert "give kaggle://owner/dataset" in refused(uri)


@pytest.mark.parametrize("version", ["latest", "-1", "1.0", "²", "v3"])
def test_versions_that_are_none(version: str) -> None:
    assert "is not a number" in refused(version=version)
