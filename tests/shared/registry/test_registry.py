"""The registry: versions, aliases, references, verification and deletion."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.checksums import verify, write_sums
from components.shared.registry import Registry
from components.shared.registry.history import Action
from tests.shared.registry.versions import publish

_ROOT = Path(__file__).parents[3]
Add = Callable[..., list[int]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the local registry keeps the model."""
    return tmp_path / "registry" / "brain-tumor"


def test_an_empty_registry(registry: Registry, tmp_path: Path) -> None:
    assert registry.versions() == []
    assert registry.aliases() == {}
    assert registry.history() == []
    for reference in ("latest", "champion", "candidate"):
        with pytest.raises(UserError, match="nothing was ever registered there"):
            registry.resolve(reference)
    with pytest.raises(UserError, match="no former champion"):
        registry.rollback()
    assert not (tmp_path / "registry").exists()


def test_versions_count_from_one(registry: Registry, add: Add, home: Path) -> None:
    assert add(11) == list(range(1, 12)) == registry.versions()
    assert registry.address(11) == str(home / "11")
    assert registry.metadata(11).version == 11
    verify(home / "11")
    registry.verify(11)


def test_the_folder_holds_what_was_registered(
    registry: Registry, home: Path, tmp_path: Path
) -> None:
    publish(registry, tmp_path / "model")
    verify(tmp_path / "model")
    sums = (tmp_path / "model" / "SHA256SUMS").read_bytes()
    assert (home / "1" / "SHA256SUMS").read_bytes() == sums


def test_readers_see_only_finished_numbers(registry: Registry, add: Add, home: Path) -> None:
    add()
    for name in ("7", "08", "-3", "latest", ".staging-x", "3.5", "1/4"):
        (home / name).mkdir()
        (home / name / "file").write_text("")
    for name in ("08", "1/4"):
        (home / name / "SHA256SUMS").write_text("")
    assert registry.versions() == [1]
    for read in (registry.metadata, registry.verify):
        with pytest.raises(UserError, match="there is no finished version 7"):
            read(7)
    # A folder that somebody left unfinished keeps its number.
    assert add() == [8]


def test_what_lies_in_the_history_by_mistake_is_left_out(
    registry: Registry, add: Add, home: Path
) -> None:
    add()
    (home / "_registry" / "history" / "notes.txt").write_text("")
    (home / "_registry" / "claims" / "notes.txt").write_text("")
    assert len(registry.history()) == 1
    assert add() == [2]


def test_a_failing_description_leaves_a_number_behind(
    registry: Registry, add: Add, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()

    def fail(version: int) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        registry.publish(tmp_path / "model", fail)
    assert registry.versions() == []
    assert registry.history() == []
    assert add() == [2]


def test_registries_without_a_history_go_on(registry: Registry, add: Add, home: Path) -> None:
    """Versions of older projects, or copied from another registry."""
    add(2)
    shutil.rmtree(home / "_registry")
    assert registry.versions() == [1, 2]
    assert registry.aliases() == {}
    assert registry.resolve("latest") == 2
    assert registry.promote("1") == 1
    assert add() == [3]
    registry.delete(2)
    shutil.rmtree(home / "3")
    assert add() == [4]


def test_a_malformed_claim_stops_nobody(registry: Registry, add: Add, home: Path) -> None:
    add()
    (home / "1" / "SHA256SUMS").unlink()
    (home / "_registry" / "claims" / "1").write_text("?")
    assert add() == [2]
    assert (home / "1").exists()


def test_references(registry: Registry, add: Add) -> None:
    add(3)
    registry.promote("2")
    assert registry.resolve("1") == 1
    assert registry.resolve("latest") == registry.resolve("candidate") == 3
    assert registry.resolve("champion") == 2
    for reference in ("", "0", "03", "-1", "1.0", "Champion", "../1", "9" * 10):
        with pytest.raises(
            UserError,
            match=r"names no version; (give a number, latest|did you mean|write REGISTRY#VERSION)",
        ):
            registry.resolve(reference)
    with pytest.raises(UserError, match="no finished version 4"):
        registry.resolve("4")


def test_aliases_move(registry: Registry, add: Add) -> None:
    add(2)
    assert registry.aliases() == {"candidate": 2}
    assert registry.promote("candidate", "measured well") == 2
    assert registry.aliases() == {"champion": 2}
    assert registry.promote("champion") == 2  # again: nothing happens
    add()
    assert registry.aliases() == {"champion": 2, "candidate": 3}
    assert registry.promote("1") == 1
    assert registry.aliases() == {"champion": 1, "candidate": 3}
    events = registry.history()
    assert [(event.number, event.action, event.version) for event in events] == [
        (1, Action.registered, 1),
        (2, Action.registered, 2),
        (3, Action.promoted, 2),
        (4, Action.registered, 3),
        (5, Action.promoted, 1),
    ]
    assert events[0].reason == "run graph"
    assert events[2].reason == "measured well"


def test_rollback_goes_back_to_champions_that_exist(registry: Registry, add: Add) -> None:
    add(4)
    for version in ("1", "2", "3", "4"):
        registry.promote(version)
    registry.delete(3)
    assert registry.rollback("it misses tumours") == 2
    assert registry.aliases() == {"champion": 2}
    assert registry.history()[-1].reason == "it misses tumours"
    assert registry.rollback() == 1
    with pytest.raises(UserError, match="no former champion"):
        registry.rollback()
    assert registry.aliases() == {"champion": 1}


def test_a_version_that_an_alias_names_is_kept(registry: Registry, add: Add) -> None:
    add()
    with pytest.raises(UserError, match="version 1 is candidate; promote or register another"):
        registry.delete(1)
    registry.promote("1")
    with pytest.raises(UserError, match="version 1 is champion"):
        registry.delete(1)
    assert registry.versions() == [1]
    assert [event.action for event in registry.history()] == ["registered", "promoted"]


def test_deleted_numbers_never_come_again(registry: Registry, add: Add, home: Path) -> None:
    add(2)
    registry.promote("1")
    add()
    registry.delete(2, "obsolete")
    assert registry.versions() == [1, 3]
    assert not (home / "2").exists()
    assert registry.history()[-1].action is Action.deleted
    assert registry.history()[-1].reason == "obsolete"
    with pytest.raises(UserError, match="no finished version 2"):
        registry.promote("2")
    assert add() == [4]
    for version in (99, 4):
        with pytest.raises(UserError):
            registry.delete(version)
    assert add() == [5]  # nothing took 99


def test_a_killed_deletion_is_taken_up_again(registry: Registry, add: Add, home: Path) -> None:
    add(2)
    shutil.copytree(home / "1", home.parent / "kept")
    registry.delete(1)
    shutil.copytree(home.parent / "kept", home / "1")  # as if it had been killed before the files
    with pytest.raises(UserError, match="version 1 was deleted"):
        registry.promote("1")
    registry.delete(1)
    assert registry.versions() == [2]
    assert [event.action for event in registry.history()].count(Action.deleted) == 1


def test_what_killed_runs_left_goes_after_a_day(registry: Registry, add: Add, home: Path) -> None:
    add(3)
    registry.promote("3")
    for version in ("1", "2"):
        (home / version / "SHA256SUMS").unlink()
    (home / "7").mkdir()
    (home / "7" / "copied.pb").write_text("")
    claim = home / "_registry" / "claims" / "1"
    content = json.loads(claim.read_text())
    content["time"] = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    claim.write_text(json.dumps(content))
    add()
    assert sorted(path.name for path in home.iterdir()) == ["2", "3", "7", "8", "_registry"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "saved_model.pb").write_text("other"), "saved_model.pb has changed"),
        (lambda f: (f / "saved_model.pb").unlink(), "saved_model.pb is missing"),
        (lambda f: (f / "variables" / "more").write_text(""), "variables/more is extra"),
        (lambda f: (f / "SHA256SUMS").write_text("?"), "SHA256SUMS line 1 is malformed"),
    ],
)
def test_damage_is_named(
    registry: Registry,
    add: Add,
    home: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    add()
    damage(home / "1")
    with pytest.raises(UserError, match=message) as caught:
        registry.verify(1)
    assert str(home / "1") in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message):
        registry.fetch(1, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_fetching(registry: Registry, add: Add, tmp_path: Path) -> None:
    add()
    registry.fetch(1, tmp_path / "new" / "folder")
    verify(tmp_path / "new" / "folder")
    with pytest.raises(UserError, match="is there already"):
        registry.fetch(1, tmp_path / "new" / "folder")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="check the path, its permissions"):
        registry.fetch(1, tmp_path / "file" / "folder")
    with pytest.raises(UserError, match="no finished version 2"):
        registry.fetch(2, tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_a_version_under_a_wrong_number_is_told(registry: Registry, add: Add, home: Path) -> None:
    add()
    shutil.copytree(home / "1", home / "2")
    for read in (registry.metadata, registry.verify):
        with pytest.raises(UserError, match=r"brain-tumor/2/metadata\.json: says it is number 1"):
            read(2)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": 0}', "\0", "nul"])
def test_malformed_records_are_named(
    registry: Registry, add: Add, home: Path, content: str
) -> None:
    add()
    (home / "1" / "metadata.json").write_text(content)
    with pytest.raises(UserError, match=r"1/metadata\.json: .*; restore it") as caught:
        registry.metadata(1)
    assert "\n" not in str(caught.value)
    (home / "1" / "SHA256SUMS").unlink()
    write_sums(home / "1")
    with pytest.raises(UserError, match=r"1/metadata\.json: .*; restore it"):
        registry.verify(1)
    (home / "_registry" / "history" / "00000001.json").write_text(content)
    with pytest.raises(UserError, match=r"history/00000001\.json: .*; restore it"):
        registry.aliases()


def test_a_version_without_metadata_is_told(registry: Registry, add: Add, home: Path) -> None:
    add()
    (home / "1" / "metadata.json").unlink()
    (home / "1" / "SHA256SUMS").unlink()
    write_sums(home / "1")
    with pytest.raises(UserError, match=r"brain-tumor/1/metadata\.json: cannot read it"):
        registry.verify(1)
    with pytest.raises(UserError, match=r"brain-tumor/1/metadata\.json: there is no such file"):
        registry.metadata(1)


def test_an_event_under_a_wrong_number_is_told(registry: Registry, add: Add, home: Path) -> None:
    add()
    events = home / "_registry" / "history"
    shutil.copy(events / "00000001.json", events / "00000005.json")
    with pytest.raises(UserError, match=r"00000005\.json: says it is number 1"):
        add()


def test_a_registry_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"registry .*file"):
        publish(Registry.open(str(tmp_path / "file")), tmp_path / "model")


def test_importing_the_registry_loads_no_heavy_package() -> None:
    code = (
        "import sys, components.shared.registry\n"
        "heavy = {'tensorflow', 'keras', 'minio', 'google.cloud.storage', 'model_registry'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)
