"""The registry in each kind of store: many writers, readers meanwhile, and kills."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.checksums import verify
from components.shared.model_folder.contract import NAME, SUMS
from components.shared.registry import Registry
from components.shared.registry.history import Action
from components.shared.storage import store
from components.shared.storage.store import STAGING
from tests.forked import Forked
from tests.shared.registry.versions import publish
from tests.shared.registry.writer import WAITING, write
from tests.stores import BUCKET

_WRITERS = 8


@pytest.fixture
def registry(store_uri: str) -> Registry:
    return Registry.open(store_uri)


class _Writer:
    """A process that registers versions, and what it sends of them."""

    def __init__(
        self, uri: str, number: int = 0, count: int = 1, stage: str = "", run: str = ""
    ) -> None:
        self._received, sent = Pipe(duplex=False)
        arguments = (sent, number, uri, count, stage, run)
        self._process = Forked(write, *arguments, output=Path(os.devnull), environment=os.environ)
        sent.close()

    def receive(self) -> Any:
        assert self._received.poll(200)
        return self._received.recv()

    def kill(self) -> None:
        self._process.kill()
        assert self._process.wait(10) == -signal.SIGKILL

    def versions(self, count: int) -> list[tuple[str, int]]:
        """Returns the mark and number of each version, when it has registered all."""
        found = [self.receive() for _ in range(count)]
        assert self._process.wait(10) == 0
        return found


def test_the_life_of_versions(registry: Registry, store_uri: str, tmp_path: Path) -> None:
    assert registry.versions() == []
    for number in range(1, 5):
        assert publish(registry, tmp_path / f"{number}") == number
    assert registry.address(1) == f"{store_uri}/brain-tumor/1"
    assert registry.metadata(3).version == 3
    registry.promote("1")
    registry.promote("candidate")
    registry.delete(2)
    assert registry.versions() == [1, 3, 4]
    assert registry.rollback() == 1
    registry.delete(4)
    assert registry.aliases() == {"champion": 1}
    assert publish(registry, tmp_path / "5") == 5
    registry.fetch(1, tmp_path / "fetched")
    verify(tmp_path / "fetched")
    assert Registry.open(store_uri).history() == registry.history()
    assert len(registry.history()) == 10


def test_many_writers_and_a_reader(registry: Registry, store_uri: str) -> None:
    seen: set[int] = set()
    done = threading.Event()

    def read() -> None:
        """Believes nothing: whatever it is shown must be whole at once."""
        reader = Registry.open(store_uri)
        while not done.is_set():
            aliases = reader.aliases()
            versions = set(reader.versions())
            assert set(aliases.values()) <= versions
            assert seen <= versions
            for version in versions - seen:
                reader.verify(version)
                assert reader.metadata(version).version == version
            seen.update(versions)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            writers = [_Writer(store_uri, number, 2) for number in range(_WRITERS)]
            found = [version for writer in writers for version in writer.versions(2)]
        finally:
            done.set()
        reading.result()
    marks = {version: mark for mark, version in found}
    assert sorted(marks) == list(range(1, 2 * _WRITERS + 1)) == registry.versions()
    assert len(found) == len(marks)
    assert {v: registry.metadata(v).pipeline_run for v in marks} == marks
    for version in registry.versions():
        registry.verify(version)
    events = registry.history()
    assert [event.number for event in events] == list(range(1, 2 * _WRITERS + 1))
    assert sorted(event.version for event in events) == registry.versions()
    assert registry.aliases() == {"candidate": events[-1].version}


def _kill_at(stage: str, uri: str, run: str = "") -> None:
    """Lets a writer come to a stage, and kills it there."""
    writer = _Writer(uri, stage=stage, run=run)
    assert writer.receive() == WAITING
    writer.kill()


@pytest.mark.parametrize("stage", ["claimed", "uploading", "decided", "uploaded"])
def test_a_killed_writer(registry: Registry, store_uri: str, stage: str, tmp_path: Path) -> None:
    _kill_at(stage, store_uri)
    # Only a whole version is seen; one that did not come into the history is nobody's candidate.
    seen = [1] if stage == "uploaded" else []
    assert registry.versions() == seen
    assert registry.aliases() == {}
    for version in seen:
        registry.verify(version)
    if not seen:
        with pytest.raises(UserError, match="nothing was ever registered there"):
            registry.promote("1")
    # Its number is never given again.
    assert publish(registry, tmp_path / "next") == 2
    assert registry.versions() == [*seen, 2]
    assert registry.aliases() == {"candidate": 2}


@pytest.mark.parametrize("stage", ["creating", "sending", "uploading", "decided"])
def test_what_a_killed_writer_left_is_swept_once_it_is_old(
    store_uri: str,
    stage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if stage == "creating" and "://" in store_uri:
        pytest.skip("an object appears at once")
    _kill_at(stage, store_uri)
    registry = Registry.open(store_uri)
    left = _unfinished(store_uri, request)
    assert left
    publish(registry, tmp_path / "soon")  # for all that it knows, the other one is alive
    assert _unfinished(store_uri, request) == left

    monkeypatch.setattr(store, "STALE", -1.0)  # as if a day had passed
    publish(registry, tmp_path / "late")
    assert _unfinished(store_uri, request) == []
    assert len(registry.versions()) == 2
    for version in registry.versions():
        registry.verify(version)


def _unfinished(uri: str, request: pytest.FixtureRequest) -> list[str]:
    """Lists, past the code under test, what lies in a store and is of no finished version."""
    folder = uri.rpartition(f"{BUCKET}/")[2]
    parts = []
    if uri.startswith("s3:"):
        client = request.getfixturevalue("s3_server").client()
        names = [one.object_name for one in client.list_objects(BUCKET, f"{folder}/", True)]
        uploads = client._list_multipart_uploads(BUCKET, prefix=f"{folder}/").uploads
        parts = [f"parts of {one.object_name}" for one in uploads]
    else:
        root = request.getfixturevalue("gcs_server").folder / BUCKET if "://" in uri else Path("/")
        names = [
            str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()
        ]
    versions = tuple(name.removesuffix(SUMS) for name in names if name.endswith(f"/{SUMS}"))
    kept = (*versions, f"{folder.strip('/')}/{NAME}/_registry/")
    return sorted(parts + [name for name in names if STAGING in name or not name.startswith(kept)])


@pytest.mark.parametrize("stage", ["claimed", "uploading", "decided", "uploaded"])
def test_the_next_try_of_a_killed_run_registers_it_once(
    registry: Registry, store_uri: str, stage: str, tmp_path: Path
) -> None:
    _kill_at(stage, store_uri, "run-a")
    decided = 1 if stage in ("decided", "uploaded") else None
    assert registry.registered_by("run-b") is None
    if decided:
        assert Registry.open(store_uri).registered_by("run-a") == decided

    version = publish(registry, tmp_path / "next", "another try", run="run-a")
    assert version == (decided or 2)
    assert registry.versions() == [version] == [event.version for event in registry.history()]
    assert registry.aliases() == {"candidate": version}
    registry.verify(version)
    # The folder holds what is registered, whoever did that.
    registry.fetch(version, tmp_path / "fetched")
    sums = [(tmp_path / name / "SHA256SUMS").read_text() for name in ("next", "fetched")]
    assert sums[0] == sums[1]
    verify(tmp_path / "next")
    assert publish(registry, tmp_path / "other", "another run", run="run-b") > version


def test_the_tries_of_a_run_at_once_make_one_version(registry: Registry, store_uri: str) -> None:
    writers = [_Writer(store_uri, number, run="run-a") for number in range(_WRITERS)]
    found = {number for writer in writers for _, number in writer.versions(1)}
    (version,) = registry.versions()
    assert found == {version}
    assert [event.version for event in registry.history()] == [version]
    registry.verify(version)


def test_a_run_whose_version_was_deleted(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path / "1", run="run-a")
    publish(registry, tmp_path / "2", run="run-b")
    registry.delete(1)
    with pytest.raises(UserError, match="version 1, which this run registered, is gone from"):
        registry.registered_by("run-a")
    assert registry.versions() == [2]


def test_changes_at_once_follow_each_other(
    registry: Registry, store_uri: str, tmp_path: Path
) -> None:
    for number in range(1, 5):
        publish(registry, tmp_path / f"{number}")

    def change(number: int) -> None:
        own = Registry.open(store_uri)
        version = 1 + number % 3
        try:
            if number < 2 * _WRITERS:
                own.promote(str(version), f"change {number}")
            else:
                own.delete(version)
        except UserError:  # deleted, or an alias named it: both are right
            pass

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(change, range(2 * _WRITERS + 6)))
    for number in range(2 * _WRITERS, 2 * _WRITERS + 3):  # one by one, so that some are deleted
        change(number)
    events = registry.history()
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    gone: set[int] = set()
    for event in events:
        if event.action is Action.promoted:
            assert event.aliases["champion"] == event.version
        elif event.action is Action.deleted:
            assert event.version not in gone
            gone.add(event.version)
        assert gone.isdisjoint(event.aliases.values())
    assert gone
    assert registry.versions() == sorted({1, 2, 3, 4} - gone)
    assert registry.aliases() == events[-1].aliases
