"""Real servers that are killed, cut off, slow, full, or answered with damaged bytes."""

import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.storage import Store, open_store, transfer
from tests.stores import BUCKET, GCSServer, Proxy, S3Server, refused, use, wait_for

SIZE = 18 * 2**20
MARK, HARMED = b"what the proxy looks for", b"what it makes of it all."
LAST = "SHA256SUMS"


Server = S3Server | GCSServer


@contextmanager
def serving(kind: type[Server], folder: Path) -> Iterator[tuple[Server, Proxy]]:
    server = kind(folder)
    proxy = Proxy(server.port)
    server.seen_at = proxy.endpoint
    server.start()
    yield server, proxy
    server.kill()
    proxy.close()


@pytest.fixture(scope="module", params=[S3Server, GCSServer], ids=["s3", "gcs"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Proxy]]:
    with serving(request.param, tmp_path_factory.mktemp("server")) as served:
        yield served


@pytest.fixture
def proxy(served: tuple[Server, Proxy], monkeypatch: pytest.MonkeyPatch) -> Proxy:
    server, proxy = served
    use(monkeypatch, server.environment)
    proxy.heal()
    return proxy


@pytest.fixture
def store(served: tuple[Server, Proxy], proxy: Proxy) -> Store:
    return new_store(served[0])


def new_store(server: Server) -> Store:
    scheme = "s3" if isinstance(server, S3Server) else "gs"
    return open_store(f"{scheme}://{BUCKET}/{uuid.uuid4()}", "registry")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up soon, for faults that stay."""
    monkeypatch.setattr(transfer, "RETRY_SECONDS", 0.4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    noise = os.urandom(SIZE - 100 * len(MARK))
    (folder / "variables").write_bytes(noise[: SIZE // 2] + MARK * 100 + noise[SIZE // 2 :])
    (folder / "labels.json").write_bytes(b"[]")
    (folder / LAST).write_bytes(b"sums")
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_download_goes_on_where_it_was_cut(
    store: Store, proxy: Proxy, model: Path, tmp_path: Path
) -> None:
    store.upload(model, "1", last=LAST)
    before = proxy.passed["down"]
    proxy.cuts, proxy.cut_after, proxy.cut_direction = 2, transfer.PIECE // 2, "down"
    store.download("1", tmp_path / "back")
    assert digests(tmp_path / "back") == digests(model)
    assert proxy.cuts == 0
    assert proxy.passed["down"] - before < SIZE + 2 * transfer.PIECE


def test_an_upload_goes_on_where_it_was_cut(
    store: Store, proxy: Proxy, model: Path, tmp_path: Path
) -> None:
    proxy.cuts, proxy.cut_after, proxy.cut_direction = 2, transfer.PIECE // 2, "up"
    store.upload(model, "1", last=LAST)
    assert proxy.cuts == 0
    assert proxy.passed["up"] < SIZE + 3 * transfer.PIECE
    store.download("1", tmp_path / "back")
    assert digests(tmp_path / "back") == digests(model)


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_is_always_cut(
    store: Store, proxy: Proxy, model: Path, tmp_path: Path
) -> None:
    store.upload(model, "1", last=LAST)
    proxy.cuts, proxy.cut_after = 10**6, 0
    here = sorted(tmp_path.iterdir())
    for act in (
        lambda: store.download("1", tmp_path / "back"),
        lambda: store.fetch("1/variables", tmp_path / "back"),
        lambda: store.upload(model, "2", last=LAST),
        lambda: store.create("claim", b"x"),
        lambda: store.read("1/labels.json"),
        lambda: store.delete("1"),
        lambda: list(store.list()),
        lambda: store.folders(),
    ):
        refused(act, "registry", "cannot talk to", "check")
    assert sorted(tmp_path.iterdir()) == here
    proxy.cuts = 0
    assert LAST not in [entry.name for entry in store.list("2")]
    assert len(list(store.list("1"))) == 3


def test_damage_on_the_way_down_is_noticed(
    store: Store, proxy: Proxy, model: Path, tmp_path: Path
) -> None:
    store.upload(model, "1", last=LAST)
    proxy.swap, proxy.swaps = (MARK, HARMED), 1
    store.download("1", tmp_path / "back")
    assert proxy.swaps == 0
    assert digests(tmp_path / "back") == digests(model)
    proxy.swaps = 10**6
    refused(lambda: store.download("1", tmp_path / "bad"), "variables", "check the network")
    refused(lambda: store.fetch("1/variables", tmp_path / "bad"), "variables")
    refused(lambda: store.read("1/variables", limit=2 * SIZE), "variables")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "model"]


def test_damage_on_the_way_up_is_noticed(
    store: Store, proxy: Proxy, model: Path, tmp_path: Path
) -> None:
    proxy.swap, proxy.swaps = (MARK, HARMED), 1
    store.upload(model, "1", last=LAST)
    assert proxy.swaps == 0
    store.download("1", tmp_path / "back")
    assert digests(tmp_path / "back") == digests(model)
    proxy.swaps = 10**6
    refused(lambda: store.upload(model, "2", last=LAST), "variables", "check the network")
    assert list(store.list("2")) == []


def test_a_slow_connection_is_no_fault(
    store: Store, proxy: Proxy, model: Path, tmp_path: Path
) -> None:
    proxy.delay = 0.005
    store.upload(model, "1", last=LAST)
    store.download("1", tmp_path / "back")
    assert digests(tmp_path / "back") == digests(model)


def test_a_creation_whose_confirmation_was_lost(store: Store, proxy: Proxy) -> None:
    assert store.create("claims/1", b"mine")  # after this, one request makes one creation
    proxy.cuts, proxy.cut_after, proxy.cut_direction = 1, 0, "down"
    assert store.create("claims/2", b"mine")
    assert proxy.cuts == 0
    assert store.read("claims/2") == b"mine"
    open_store(store.uri, "registry").create("claims/3", b"another's")
    proxy.cuts = 1
    assert not store.create("claims/3", b"mine")


def interrupted(
    server: Server, proxy: Proxy, direction: str, restart: bool, act: Callable[[], object]
) -> BaseException | None:
    """Kills a server while bytes pass; returns what was raised by what used it."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    proxy.heal()
    proxy.delay = 0.01
    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: proxy.passed[direction] > SIZE // 4)
    server.kill()
    proxy.delay = 0
    if restart:
        server.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("kind", [S3Server, GCSServer], ids=["s3", "gcs"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_server_is_killed(
    kind: type[Server],
    direction: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(kind, tmp_path / "server") as (server, proxy):
        use(monkeypatch, server.environment)
        store = new_store(server)
        store.upload(model, "1", last=LAST)

        def act() -> None:
            if direction == "up":
                store.upload(model, "2", last=LAST)
            else:
                store.download("1", tmp_path / "back")

        with monkeypatch.context() as patch:
            patch.setattr(transfer, "RETRY_SECONDS", 0.4)
            error = interrupted(server, proxy, direction, False, act)
            assert isinstance(error, UserError)
            refused(lambda: list(store.list()), "cannot talk to")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "server"]
        server.start()
        assert f"2/{LAST}" not in [entry.name for entry in store.list()]
        store.delete("2")

        assert interrupted(server, proxy, direction, True, act) is None
        if direction == "up":
            store.download("2", tmp_path / "back")
        assert digests(tmp_path / "back") == digests(model)
