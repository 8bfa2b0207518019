"""`--help` on a terminal of 80 columns: nothing that a user has to type is cut."""

import re
import sys

import pytest
import typer

import serving.cli
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


@pytest.mark.parametrize("words", [[], ["run"], ["models"]], ids=" ".join)
def test_a_switch_shows_no_value(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        typer.main.get_command(cli.app)([*words, "--help"])
    assert "<bool>" not in capsys.readouterr().out


def test_the_predictors_own_command_has_the_same_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    pages = []
    for main, name in ((cli.main, ["brain-tumor", "serve"]), (serving.cli.main, ["serving"])):
        monkeypatch.setattr(sys, "argv", [*name, "-h"])
        with pytest.raises(SystemExit, match="0"):
            main()
        pages.append(capsys.readouterr().out.partition("Serve a registered")[2])
    assert pages[0] == pages[1] != ""
    assert "--port,--http_port               <0 to 65535>" in pages[0]


def test_what_an_option_takes_is_in_brackets_and_in_words(capsys: pytest.CaptureFixture) -> None:
    said = []
    for _, command in COMMANDS.values():
        alone = typer.Typer(rich_markup_mode="rich")
        alone.registered_commands.append(command)
        with pytest.raises(SystemExit, match="0"):
            typer.main.get_command(alone)(["--help"])
        said.append(capsys.readouterr().out)
    page = "\n".join(said)
    assert "<=x" not in page
    assert " range" not in page
    assert "list[" not in page
    assert {"<1 or more>", "<grouped|by-name>", "<json>"} <= set(re.findall(r"<[^>]+>", page))
