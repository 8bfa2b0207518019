"""The registry's commands."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.model_folder.checksums import verify
from components.shared.registry import Registry
from tests.shared.registry.versions import DIGEST, publish

Invoke = Callable[..., tuple[int, str, str]]
Told = Callable[..., str]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry of the environment: three versions, of which the second is champion."""
    monkeypatch.setenv("BRAIN_TUMOR_REGISTRY", str(tmp_path / "registry"))
    made = Registry.open(str(tmp_path / "registry"))
    for number in range(1, 4):
        publish(made, tmp_path / f"model-{number}", f"run-[{number}]")
    made.promote("1", "the first")
    made.promote("2")
    return made


@pytest.fixture
def done(invoke: Invoke) -> Callable[..., str]:
    """Runs a command that must end well; returns what it prints."""

    def run(*arguments: object) -> str:
        status, out, err = invoke("models", *arguments)
        assert (status, err) == (0, "")
        return out

    return run


def test_an_empty_registry(done: Callable[..., str], told: Told, tmp_path: Path) -> None:
    """A misspelt address is one; one of deleted versions is none."""
    emptied = Registry.open(str(tmp_path / "registry"))
    publish(emptied, tmp_path / "model")
    publish(emptied, tmp_path / "other")
    emptied.delete(1)
    for place, hint in (("registri", f"; did you mean '{tmp_path}/registry'?"), ("x", "")):
        where = ("--registry", tmp_path / place)
        for command in (["list"], ["history"], ["verify"], ["show", "champion"], ["fetch", 1, "a"]):
            for output in ((), ("-f", "json")) if command[0] in ("list", "verify") else ((),):
                line = told("models", *command, *where, *output)
                assert f"registry {tmp_path}/{place}: nothing was ever registered there" in line
                assert line.endswith(f"; check the address{hint}")
        assert "no former champion" in told("models", "rollback", *where)
    shutil.rmtree(tmp_path / "registry" / "brain-tumor" / "2")
    where = ("--registry", tmp_path / "registry")
    assert done("list", *where) == f"no versions in {tmp_path}/registry\n"
    assert json.loads(done("verify", "-f", "json", *where)) == []
    assert len(json.loads(done("history", "-f", "json", *where))) == 3
    assert "no version is champion" in told("models", "show", "champion", *where)


def test_a_reference_names_its_registry_itself(
    registry: Registry,
    done: Callable[..., str],
    told: Told,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BRAIN_TUMOR_REGISTRY")
    monkeypatch.chdir(tmp_path)
    assert "2 champion" in done("show", "registry#champion")
    assert json.loads(done("show", f"{registry.uri}#3", "-f", "json"))["version"] == 3
    done("promote", "registry#3")
    done("fetch", "registry#champion", "fetched")
    assert registry.resolve("champion") == 3
    verify(tmp_path / "fetched")
    assert done("verify", "registry#1", "registry#latest").count("is what was registered") == 2
    assert "versions of one registry" in told("models", "verify", "registry#1", "other#1")
    done("delete", "registry#1", "-y")
    assert registry.versions() == [2, 3]
    monkeypatch.setenv("BRAIN_TUMOR_REGISTRY", "registry")
    assert "3 champion" in done("show", "#3")
    line = told("models", "show", "registry#7")
    assert line.endswith("there is no finished version 7; finished: 2, 3")
    assert told("models", "show", "registry#champoin").endswith("did you mean 'champion'?")
    for reference in ("registry#champion", "registry#0", "two"):
        assert "is not a version number" in told("models", "delete", reference, "-y")


def test_list(registry: Registry, done: Callable[..., str]) -> None:
    header, *rows = done("list").splitlines()
    assert header.split()[:3] == ["version", "aliases", "registered"]
    assert [row.split()[0] for row in rows] == ["3", "2", "1"]
    assert [row.split()[1] for row in rows[:2]] == ["candidate", "champion"]
    assert "90.0%" in rows[2]
    found = json.loads(done("list", "--format", "json"))
    assert [row["version"] for row in found] == [3, 2, 1]
    assert [row["aliases"] for row in found] == [["candidate"], ["champion"], []]
    assert found[0]["data_digest"] == DIGEST
    assert found[0]["accuracy"] == 0.9
    assert found[0]["pipeline_run"] == "run-[3]"


def test_a_damaged_version_does_not_hide_the_others(
    registry: Registry, done: Callable[..., str]
) -> None:
    Path(registry.address(2), "metadata.json").write_text("{}")
    rows = done("list").splitlines()
    assert any("metadata.json" in row for row in rows)
    found = json.loads(done("list", "-f", "json"))
    assert ["error" in row for row in found] == [False, True, False]
    assert found[1]["aliases"] == ["champion"]


def test_show(registry: Registry, done: Callable[..., str]) -> None:
    out = done("show", "champion")
    for part in (
        "2 champion",
        registry.address(2),
        "90.0% (95% interval 80.0% to 90.0%)",
        "sample://<b>x</b>, version 1",
        DIGEST,
        "0123456789abcdef",
        "run-[2]",
        "none: there was no champion",
        "registered version 2",
        "promoted version 2",
    ):
        assert part in out
    assert "registered version 1" not in out
    found = json.loads(done("show", "1", "-f", "json"))
    assert found["version"] == found["metadata"]["version"] == 1
    assert found["address"] == registry.address(1)
    assert found["aliases"] == []
    assert [event["action"] for event in found["history"]] == ["registered", "promoted"]
    assert found["history"][1]["reason"] == "the first"


def test_nothing_in_a_registry_commands_the_terminal(
    registry: Registry, done: Callable[..., str], tmp_path: Path
) -> None:
    publish(registry, tmp_path / "model", "\x1b]0;mine\x07\x1b[2J[red]")
    registry.promote("4", "\x1b[2J[/]")
    for command in (["list"], ["show", "4"], ["history"]):
        out = done(*command)
        assert "\x1b" not in out
        assert "\x07" not in out
    assert "[red]" in done("show", "4")


def test_object_stores_tell_their_progress_elsewhere(
    s3_uri: str, invoke: Invoke, tmp_path: Path
) -> None:
    publish(Registry.open(s3_uri), tmp_path / "model")
    status, out, err = invoke("models", "verify", "-f", "json", "--registry", s3_uri)
    assert status == 0
    assert json.loads(out) == [{"version": 1, "error": None}]
    assert "bytes downloaded" in err
    status, out, _ = invoke("models", "fetch", "latest", tmp_path / "got", "--registry", s3_uri)
    assert out.splitlines()[0] == f"wrote version 1 to {tmp_path / 'got'}"
    verify(tmp_path / "got")


def test_a_version_without_a_history(registry: Registry, invoke: Invoke) -> None:
    for event in Path(registry.uri, "brain-tumor", "_registry", "history").iterdir():
        event.unlink()
    status, out, _ = invoke("models", "show", "latest")
    assert status == 0
    assert "registered version" not in out


def test_promote_and_rollback(registry: Registry, done: Callable[..., str]) -> None:
    assert done("promote", "candidate", "--reason", "better") == (
        f"champion is version 3: {registry.address(3)}\n"
    )
    assert registry.aliases() == {"champion": 3}
    assert registry.history()[-1].reason == "better"
    assert done("rollback", "--reason", "worse") == (
        f"champion is version 2: {registry.address(2)}\n"
    )
    assert done("rollback").startswith("champion is version 1")
    rows = done("history").splitlines()
    assert len(rows) == 1 + 8
    assert "rolled back to version 2" in rows[-2]
    assert rows[-2].split()[-1] == "worse"
    assert len(json.loads(done("history", "-f", "json"))) == 8


def test_verify(registry: Registry, done: Callable[..., str], invoke: Invoke) -> None:
    assert done("verify").splitlines() == [
        f"version {number}: is what was registered" for number in (1, 2, 3)
    ]
    Path(registry.address(2), "saved_model.pb").write_text("other")
    status, out, _ = invoke("models", "verify")
    assert status == 1
    assert "version 2: " in out
    assert "saved_model.pb has changed" in out
    assert "version 3: is what was registered" in out
    status, out, _ = invoke("models", "verify", "champion", "1", "-f", "json")
    assert status == 1
    first, second = json.loads(out)
    assert (first["version"], second) == (2, {"version": 1, "error": None})
    assert "saved_model.pb has changed" in first["error"]


def test_fetch(registry: Registry, done: Callable[..., str], told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    assert done("fetch", "champion", folder).startswith(f"wrote version 2 to {folder}\n")
    verify(folder)
    assert "is there already" in told("models", "fetch", "1", folder)


def test_delete(registry: Registry, done: Callable[..., str], invoke: Invoke, told: Told) -> None:
    assert done("delete", "1", "--yes", "--reason", "old") == "deleted version 1\n"
    assert registry.versions() == [2, 3]
    assert "version 2 is champion" in told("models", "delete", "2", "-y")
    assert "no finished version 9" in told("models", "delete", "9", "-y")
    status, _, err = invoke("models", "delete", "0", "-y")
    assert status == 2
    assert "is not a version number" in err


def test_deletion_asks_first(
    registry: Registry, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    status, out, _ = invoke("models", "delete", "1")
    assert status == 1
    assert f"Delete version 1 from {registry.uri} for good?" in out
    assert registry.versions() == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "third"], "'third' names no version; give a number, latest, champion, "),
        (["show", "[/red]"], "'[/red]' names no version"),
        (["show", "runs/registry/brain-tumor/3"], "write REGISTRY#VERSION, such as"),
        (["promote", "9"], "there is no finished version 9"),
        (
            ["list", "--registry", "ftp://host/models"],
            "ftp:// is not supported; give a folder, s3://",
        ),
        (["list", "--registry", "s3://"], "registry: what follows s3:// is not a bucket name"),
    ],
)
def test_mistakes_are_told_in_a_line(
    registry: Registry, told: Told, arguments: list[str], message: str
) -> None:
    assert message in told("models", *arguments)
