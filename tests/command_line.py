"""The command line, run in the process of the tests: no imports again for each command."""

import sys
from collections.abc import Callable

import pytest

from pipelines import cli, output

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Invoke:
    """Runs the command line in this process: exit status, standard output and error."""

    def invoked(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["brain-tumor", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(output.console, "_width", 200)
        monkeypatch.setattr(output.errors, "_width", 200)
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return invoked


@pytest.fixture
def told(invoke: Invoke) -> Callable[..., str]:
    """Runs a command that must end with exit status 2 and one line."""

    def line(*arguments: object) -> str:
        status, out, err = invoke(*arguments)
        assert status == 2
        assert out == ""
        assert "Traceback" not in err
        (only,) = err.splitlines()
        return only.removeprefix("error: ")

    return line
