"""The command that a user is told to give next works when it is copied."""

import shlex
import sys
from pathlib import Path

import pytest

from pipelines.next_step import reference, show_next, show_next_run


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("{here}/runs/registry/brain-tumor/3", "runs/registry#3"),
        ("/elsewhere/registry/brain-tumor/12", "/elsewhere/registry#12"),
        ("s3://bucket/models/brain-tumor/3", "s3://bucket/models#3"),
        ("{here}/runs/x/registered_model", "runs/x/registered_model"),
    ],
)
def test_a_version_is_named_as_people_write_it(
    address: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reference(address.format(here=tmp_path)) == told


def test_a_program_that_no_shell_finds_is_called_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / ".venv" / "bin" / "brain-tumor"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [".venv/bin/brain-tumor", "run"])
    monkeypatch.setenv("PATH", "/usr/bin")
    show_next("demo")
    monkeypatch.setenv("PATH", str(program.parent))
    show_next("demo")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [".venv/bin/brain-tumor", "brain-tumor"]


def test_what_a_shell_would_take_apart_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--source", "my scans; rm [x]#weight=2"]
    show_next(*words)
    (line,) = capsys.readouterr().out.splitlines()
    assert shlex.split(line) == ["next", "brain-tumor", *words]


def test_a_run_after_a_cross_validation_reads_the_same_images(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_next_run({"folds": 3, "slices": 5, "labels": "l.csv", "source": "a", "from_model": "r#1"})
    show_next_run({"source": ["a", "b#weight=2"], "labels": ""})
    one, several = capsys.readouterr().out.splitlines()
    told = ["run", "--source", "a", "--labels", "l.csv", "--slices", "5", "--from-model", "r#1"]
    assert shlex.split(one) == ["next", "brain-tumor", *told]
    assert shlex.split(several)[2:] == ["run", "--source", "a", "--source", "b#weight=2"]
