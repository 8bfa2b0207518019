"""The registry in each kind of store: many writers, readers meanwhile, and kills."""

import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.checksums import verify
from components.shared.model_folder.contract import NAME, SUMS
from components.shared.registry import Registry
from components.shared.registry.history import Action
from components.shared.storage import store
from components.shared.storage.store import STAGING
from tests.shared.registry.versions import publish
from tests.stores import BUCKET

_ROOT = Path(__file__).parents[3]
_WRITERS = 8


@pytest.fixture
def registry(store_uri: str) -> Registry:
    return Registry.open(store_uri)


@contextmanager
def _writing(
    uri: str, count: int = 1, writers: int = 1, stage: str = "", run: str = ""
) -> Iterator[Popen[str]]:
    arguments = [uri, str(count), str(writers), stage, run]
    command = [sys.executable, "-m", "tests.shared.registry.writer", *arguments]
    with Popen(command, cwd=_ROOT, stdout=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


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

    with ThreadPoolExecutor(1) as pool, _writing(store_uri, 2, _WRITERS) as process:
        reading = pool.submit(read)
        out, _ = process.communicate(timeout=200)
        done.set()
        reading.result()
    assert process.returncode == 0
    # Not line by line: what another process says of its progress may stand before it on a line.
    lines = re.findall(r"(run-\S+) (\d+)\n", out)
    marks = {int(version): mark for mark, version in lines}
    assert sorted(marks) == list(range(1, 2 * _WRITERS + 1)) == registry.versions()
    assert len(lines) == len(marks)
    assert {v: registry.metadata(v).pipeline_run for v in marks} == marks
    for version in registry.versions():
        registry.verify(version)
    events = registry.history()
    assert [event.number for event in events] == list(range(1, 2 * _WRITERS + 1))
    assert sorted(event.version for event in events) == registry.versions()
    assert registry.aliases() == {"candidate": events[-1].version}


def _kill_at(stage: str, uri: str, run: str = "") -> None:
    """Lets a writer come to a stage, and kills it there."""
    with _writing(uri, stage=stage, run=run) as process:
        assert process.stdout is not None
        assert any(line == "waiting\n" for line in process.stdout)
        process.kill()
        process.wait(timeout=10)


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
        with pytest.raises(UserError, match="no finished version 1"):
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
    with _writing(store_uri, 1, _WRITERS, run="run-a") as process:
        out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    found = re.findall(r"run-\S+ (\d+)\n", out)
    assert len(found) == _WRITERS
    (version,) = registry.versions()
    assert set(found) == {str(version)}
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
