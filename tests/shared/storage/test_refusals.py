"""What a store prints where it cannot be used, and what it makes of hostile servers."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.exceptions import InsecureRequestWarning

from components.shared.errors import UserError, network_reason
from components.shared.storage import Store, open_store, transfer
from components.shared.storage.store import name_fault
from tests.stores import (
    BUCKET,
    READER_KEY,
    SECRET_KEY,
    GCSServer,
    Proxy,
    S3Server,
    free_ports,
    refused,
    use,
)

Answer = Callable[[str], tuple[int, str, bytes]]  # path and query -> status, content type, body


@pytest.fixture
def stub() -> Iterator[Callable[[Answer], str]]:
    """Starts a server that answers every request as a function says, some bytes lacking."""
    servers = []

    def start(answer: Answer, lacking: int = 0) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if status == 206:
                    self.send_header(
                        "Content-Range", f"bytes 0-{len(body) - 1}/{len(body) + lacking}"
                    )
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "RETRY_SECONDS", 0.4)


def every_use(store: Store, model: Path) -> list[Callable[[], object]]:
    return [
        lambda: list(store.list()),
        lambda: store.folders(),
        lambda: store.read("x"),
        lambda: store.create("x", b"x"),
        lambda: store.upload(model, "1"),
        lambda: store.download("1", model.parent / "back"),
        lambda: store.fetch("1", model.parent / "back"),
        lambda: store.delete("1"),
    ]


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("s3://", "not a bucket name"),
        ("s3:///models", "not a bucket name"),
        ("s3://user:password@host/models", "not a bucket name"),
        ("s3://models/a/../b", "not a plain relative path"),
        ("gs://models/a//b", "not a plain relative path"),
        ("gs://models/a\0b", "do not print"),
        ("azure://models/a", "azure:// is not supported"),
    ],
)
def test_a_malformed_address(uri: str, part: str) -> None:
    with pytest.raises(UserError, match="registry") as caught:
        open_store(uri, "registry")
    assert part in str(caught.value)
    assert "password" not in str(caught.value)


def test_addresses(s3_uri: str) -> None:
    for uri in (s3_uri, f"{s3_uri}/", f"{s3_uri}//", s3_uri.replace("s3", "S3", 1)):
        assert open_store(uri, "registry").uri == s3_uri
    assert open_store("s3://models", "registry").uri == "s3://models"
    assert open_store("s3://models/", "registry").address("1/x") == "s3://models/1/x"


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_a_name_without_fault_stays_inside(name: str) -> None:
    if name_fault(name) is None:
        assert Path(os.path.normpath(Path("/store", name))).is_relative_to("/store/")
        assert Path("/store", name).as_posix() == f"/store/{name}"


@pytest.mark.parametrize("key", ["admin", "nobody"])
def test_wrong_s3_credentials(
    s3_uri: str, model: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_store(s3_uri, "registry")
    for act in every_use(store, model):
        refused(act, "registry", s3_uri, "AWS_ACCESS_KEY_ID")
    refused(lambda: list(store.list()), "refuses the credentials")


def test_no_s3_credentials(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("HOME", "/nowhere")
    refused(lambda: open_store(s3_uri, "registry").read("x"), "no permission", "AWS_ACCESS_KEY_ID")


def test_credentials_of_a_mounted_file(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = admin\naws_secret_access_key = {SECRET_KEY}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert open_store(s3_uri, "registry").create("x", b"x")
    file.write_text("no section\n")
    refused(lambda: open_store(s3_uri, "registry").read("x"), "registry")


def test_no_permission_in_s3(s3_uri: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(s3_uri, "registry").upload(model, "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    reader = open_store(s3_uri, "registry")
    assert reader.read("1/SHA256SUMS") == b"sums"
    refused(lambda: reader.create("x", b"x"), "no permission", "x")
    refused(lambda: reader.upload(model, "2"), "no permission", "/2/")
    refused(lambda: reader.delete("1"), "delete")
    assert len(list(reader.list())) == 4


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key, port = tmp_path / "certificate.pem", tmp_path / "key.pem", free_ports(1)[0]
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -out {certificate}"
    try:
        subprocess.run(
            [*make.split(), "-keyout", key, "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate")
    server = S3Server(
        tmp_path / "server",
        f"-s3.port.https={port}",
        f"-s3.cert.file={certificate}",
        f"-s3.key.file={key}",
    )
    server.start()
    use(monkeypatch, server.environment | {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}"})
    refused(
        lambda: open_store("s3://models/a", "registry").read("x"),
        "certificate that cannot be trusted",
        "AWS_CA_BUNDLE",
    )
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    assert open_store("s3://models/a", "registry").create("x", b"x")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(key))
    refused(lambda: open_store("s3://models/a", "registry").read("x"), "AWS_CA_BUNDLE")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere.pem")
    refused(lambda: open_store("s3://models/a", "registry"), "AWS_CA_BUNDLE: /nowhere.pem: No such")
    monkeypatch.delenv("AWS_CA_BUNDLE")
    monkeypatch.setenv("S3_VERIFY_SSL", "0")
    with pytest.warns(InsecureRequestWarning):
        assert open_store("s3://models/a", "registry").read("x") == b"x"
    server.kill()


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_no_bucket(
    s3_server: S3Server,
    gcs_server: GCSServer,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    use(monkeypatch, s3_server.environment | gcs_server.environment)
    store = open_store(f"{scheme}://missing/models", "registry")
    for act in every_use(store, model):
        refused(act, "registry", f"{scheme}://missing/models", "no bucket missing")


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_no_server(model: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    use(monkeypatch, {"AWS_ENDPOINT_URL": endpoint, "STORAGE_EMULATOR_HOST": endpoint})
    store = open_store(f"{scheme}://{BUCKET}/models", "registry")
    for act in every_use(store, model):
        refused(act, "registry", f"cannot talk to {endpoint}", "refused")


def test_a_refused_connection_is_told_without_pythons_words() -> None:
    server = urllib3.connection_from_url(f"http://127.0.0.1:{free_ports(1)[0]}", retries=False)
    with pytest.raises(urllib3.exceptions.HTTPError) as caught:
        server.request("GET", "/")
    assert network_reason(caught.value) == "nothing answers there (connection refused)"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"", "Remote end closed connection without response"), (b"no HTTP\r\n", "no HTTP")],
)
def test_an_answer_that_is_none_is_told_without_pythons_words(answer: bytes, said: str) -> None:
    def answers() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answers).start()
        server = urllib3.connection_from_url(
            f"http://127.0.0.1:{listening.getsockname()[1]}", retries=False
        )
        with pytest.raises(urllib3.exceptions.HTTPError) as caught:
            server.request("GET", "/")
    assert network_reason(caught.value) == said


def test_an_endpoint_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, {"AWS_ENDPOINT_URL": "127.0.0.1:8333"})
    refused(lambda: open_store("s3://models/x", "registry"), "AWS_ENDPOINT_URL", "http://")


def test_the_endpoint_is_found_as_the_aws_sdks_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def endpoint(**environment: str) -> str:
        use(monkeypatch, environment)
        return open_store("s3://models/x", "registry").endpoint  # type: ignore[attr-defined]

    both = {"AWS_ENDPOINT_URL": "http://any:1", "AWS_ENDPOINT_URL_S3": "http://s3:2"}
    assert endpoint(**both) == "http://s3:2"
    assert endpoint(AWS_ENDPOINT_URL_S3="", AWS_ENDPOINT_URL="http://any:1") == "http://any:1"
    ignored = endpoint(**both, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    assert ignored == "https://s3.amazonaws.com"
    use(monkeypatch, {"AWS_ENDPOINT_URL_S3": "s3:2"})
    refused(lambda: open_store("s3://models/x", "registry"), "AWS_ENDPOINT_URL_S3", "http://")


def test_a_server_that_is_no_object_store(
    stub: Callable[[Answer], str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = stub(lambda path: (200, "text/html", b"<html>welcome</html>"))
    use(monkeypatch, {"AWS_ENDPOINT_URL": endpoint, "STORAGE_EMULATOR_HOST": endpoint})
    for scheme in ("s3", "gs"):
        store = open_store(f"{scheme}://{BUCKET}/models", "registry")
        refused(lambda store=store: store.download("1", model.parent / "back"), "registry")


def test_a_server_that_stays_broken(
    stub: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    endpoint = stub(lambda path: (503, "text/plain", b"no"))
    use(monkeypatch, {"AWS_ENDPOINT_URL": endpoint, "STORAGE_EMULATOR_HOST": endpoint})
    for scheme in ("s3", "gs"):
        for act in every_use(open_store(f"{scheme}://{BUCKET}/models", "registry"), model):
            refused(act, "registry", "503")


@pytest.mark.parametrize(("status", "part"), [(401, "credentials"), (403, "no permission")])
def test_google_refuses(
    stub: Callable[[Answer], str],
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    status: int,
    part: str,
) -> None:
    error = {"error": {"code": status, "message": "somebody does not have storage.objects.get"}}
    endpoint = stub(lambda path: (status, "application/json", json.dumps(error).encode()))
    use(monkeypatch, {"STORAGE_EMULATOR_HOST": endpoint})
    for act in every_use(open_store(f"gs://{BUCKET}/models", "registry"), model):
        refused(act, "registry", f"gs://{BUCKET}/models", part)


@pytest.mark.parametrize("content", [None, "", "{}", '{"type": "service_account"}'])
def test_malformed_google_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    use(monkeypatch, {"GOOGLE_APPLICATION_CREDENTIALS": str(file)})
    refused(lambda: open_store("gs://models/x", "registry"), "GOOGLE_APPLICATION_CREDENTIALS")


def test_a_server_that_ignores_conditions(
    s3_server: S3Server, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy takes the condition away, so the real server does as one that never knew it."""
    open_store(s3_uri, "registry").create("claims/1", b"another's")
    proxy = Proxy(s3_server.port)
    proxy.swap, proxy.swaps = (b"If-None-Match", b"X-None-Match-"), 10**6
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    store = open_store(s3_uri, "registry")
    assert not store.create("claims/1", b"mine")
    refused(lambda: store.create("claims/2", b"mine"), "ignores If-None-Match")
    assert store.read("claims/1") == b"another's"
    assert [entry.name for entry in store.list()] == ["claims/1"]
    proxy.close()


def _listing(keys: list[str]) -> bytes:
    rows = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>x</ETag>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for key in keys
    )
    return (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>models</Name><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
    ).encode()


def test_a_server_that_lists_hostile_names(
    stub: Callable[[Answer], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    hostile = [
        "m/1/../../x",
        "m/1//etc/passwd",
        "m/1/a\\b",
        "m/1/.staging-x/y",
        "elsewhere",
        "/etc",
    ]
    keys = [*hostile, "m/1/good"]

    def answer(path: str) -> tuple[int, str, bytes]:
        if "list-type" in parse_qs(urlsplit(path).query):
            return 200, "application/xml", _listing(keys)
        return 206, "application/octet-stream", b"x"

    use(monkeypatch, {"AWS_ENDPOINT_URL": stub(answer)})
    store = open_store("s3://models/m", "registry")
    store.download("1", tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").rglob("*")] == ["good"]
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "skipped" in line]) == len(hostile)
    keys += ["m/1/good/below"]
    refused(lambda: store.download("1", tmp_path / "more"), "good is both an object and a folder")
    assert not (tmp_path / "more").exists()


def test_a_server_that_sends_less_than_there_is(
    stub: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(path: str) -> tuple[int, str, bytes]:
        if "list-type" in parse_qs(urlsplit(path).query):
            return 200, "application/xml", _listing(["m/x"])
        return 206, "application/octet-stream", b"x"

    use(monkeypatch, {"AWS_ENDPOINT_URL": stub(answer, lacking=1)})
    store = open_store("s3://models/m", "registry")
    refused(lambda: store.read("x"), "sent less")
    refused(lambda: store.fetch("x", tmp_path / "x"), "sent less")
    assert list(tmp_path.iterdir()) == []


def test_folder_markers_are_no_objects(s3_server: S3Server, s3_uri: str, tmp_path: Path) -> None:
    import io

    store = open_store(s3_uri, "registry")
    store.create("models/1/x", b"x")
    root = s3_uri.removeprefix(f"s3://{BUCKET}/")
    for key in (f"{root}/", f"{root}/models/", f"{root}/models/empty/"):
        s3_server.client().put_object(BUCKET, key, io.BytesIO(b""), 0)
    assert [entry.name for entry in store.list()] == ["models/1/x"]
    store.download("models", tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").rglob("*")] == ["1", "x"]
    store.delete("models", first="1/x")
    assert list(store.list()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(store: Store, model: Path, small_disk: Path, local_uri: str) -> None:
    (model / "large").write_bytes(os.urandom(100_000))
    store.upload(model, "1")
    refused(lambda: store.download("1", small_disk / "back"), "No space left", "free space")
    refused(lambda: store.fetch("1/large", small_disk / "back"), "No space left", "free space")
    assert list(small_disk.iterdir()) == []
    full = open_store(str(small_disk / "registry"), "registry")
    refused(lambda: full.upload(model, "1", last="SHA256SUMS"), "No space left", "free space")
    refused(lambda: full.create("claim", b"x" * 100_000), "No space left", "free space")
    assert list(full.list()) == []
    assert full.create("claim", b"x")


def test_a_folder_that_cannot_be_written(store: Store, model: Path, tmp_path: Path) -> None:
    store.upload(model, "1")
    (tmp_path / "file").write_bytes(b"")
    refused(lambda: store.download("1", tmp_path / "file"), "is there already")
    refused(lambda: store.download("1", tmp_path / "file" / "below"), "file")
    refused(lambda: store.fetch("1/SHA256SUMS", tmp_path / "missing" / "x"), "missing")
