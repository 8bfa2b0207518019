"""`--help` on a terminal of 80 columns: nothing that a user has to type is cut."""

import re
import sys

import pytest
import typer

from pipelines import cli, models

COMMANDS = {
    command.name or command.callback.__name__.replace("_", "-"): (group, command)
    for group, app in (((), cli.app), (("models",), models.app))
    for command in app.registered_commands
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_narrow_help_cuts_no_name_and_no_address(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    group, _ = COMMANDS[name]
    pages = []
    for columns in ("1000", "80"):
        monkeypatch.setattr(sys, "argv", ["brain-tumor", *group, name, "--help"])
        monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", int(columns))
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        pages.append(capsys.readouterr().out)
    wide, narrow = pages
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    named = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", wide))
    assert "--help" in named
    assert named <= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", narrow))
    letters = re.sub(r"[\s│]", "", narrow)
    for address in re.findall(r"\w+://[\w./#-]+", wide):
        assert address in letters


def test_a_switch_shows_no_value(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        typer.main.get_command(cli.app)(["run", "--help"])
    assert "<bool>" not in capsys.readouterr().out
