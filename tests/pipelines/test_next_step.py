"""The command that a user is told to give next works when it is copied."""

import shlex
from pathlib import Path

import pytest

from pipelines.next_step import reference, show_next


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


def test_what_a_shell_would_take_apart_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--source", "my scans; rm [x]#weight=2"]
    show_next(*words)
    (line,) = capsys.readouterr().out.splitlines()
    assert shlex.split(line) == ["next", "brain-tumor", *words]
