"""The start of a command: Ctrl-C while packages are imported."""

import os
import sys
from pathlib import Path

import pytest

from components.shared.command_line.start import start
from tests.terminal import run_on_terminal, seen

PROJECT = Path(__file__).parents[3]
# As packages in C and some in Python do: what comes up at their import they make an ImportError.
SLOW = """
import time
try:
    print("importing", flush=True)
    time.sleep(60)
except BaseException as error:
    raise ImportError("no such part") from error
"""


def test_ctrl_c_during_the_imports_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    program = "from components.shared.command_line.start import start; start('slow')"

    def answer(said: str) -> str:
        return "\x03" if said == "importing\r\n" else ""

    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{tmp_path}"}
    status, said = run_on_terminal([sys.executable, "-c", program], environment, answer=answer)
    assert status == 130
    # The terminal echoes ^C after it sends the signal, so the echo may come last.
    assert sorted(seen(said)) == ["^C", "importing", "stopped before it began"]


def test_afterwards_ctrl_c_is_that_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quick.py").write_text("def main():\n    raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        start("quick")
