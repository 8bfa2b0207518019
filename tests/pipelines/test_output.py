"""What the commands print: on any terminal, and without commands to it."""

import io
import json
import sys

import pytest
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipelines.output import PlainTable, SafeConsole, open_to_every_terminal, print_json

HOSTILE = "\x1b[31mred\x1b]0;title\x9b2J\udcff"


def test_no_escape_sequence_of_a_name_reaches_the_terminal() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, width=100, highlight=False)
    table = Table(box=None)
    table.add_row(escape(HOSTILE))
    for renderable in (escape(HOSTILE), Text(f"{HOSTILE}\nsecond line"), table):
        console.print(renderable, style="bold")
    said = file.getvalue()
    assert "\x1b[1m" in said  # the console's own
    assert all(part not in said for part in ("\x1b[31m", "\x1b]", "\x9b", "\udcff"))
    assert said.count(r"\x1b[31mred\x1b]0;title\x9b2J\udcff") == 3
    assert "second line" in said


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "größe – 脳"),
        ("iso-8859-1", r"größe \u2013 \u8133"),
        ("ascii", r"gr\xf6\xdfe \u2013 \u8133"),
    ],
)
def test_any_terminal_loses_nothing(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding))
    open_to_every_terminal()
    content = ({"file": HOSTILE}, {"file": "größe – 脳"})
    for each in content:
        print_json(each)
    print("größe – 脳", flush=True)
    *parts, line = raw.getvalue().decode(encoding).split("}\n")
    assert tuple(json.loads(part + "}") for part in parts) == content
    assert line == f"{shown}\n"
    assert min(set(raw.getvalue()) - {10}) >= 32


LONG = "a folder/" * 40 + "scan.jpg"


def _shown(columns: int | None) -> list[str]:
    """Returns the lines of a long name in a table and alone: on a terminal, or in a file."""
    file = io.StringIO()
    terminal = columns is not None
    console = SafeConsole(file=file, force_terminal=terminal, width=columns, color_system=None)
    table = PlainTable()
    table.add_column("file")
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_row(LONG, "90.8–95.5")
    console.print(table)
    console.print(LONG)
    return file.getvalue().splitlines()


def test_a_file_or_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    _, row, alone = _shown(None)
    assert row.split("  ") == [LONG, "90.8–95.5"]
    assert alone == LONG


def test_on_a_narrow_terminal_a_table_folds_and_loses_no_letter() -> None:
    lines = _shown(60)
    assert max(map(len, lines)) <= 60
    assert lines[1].endswith("  90.8–95.5")
    letters = "".join(lines[1:]).replace("90.8–95.5", "").replace(" ", "")
    assert letters == 2 * LONG.replace(" ", "")
