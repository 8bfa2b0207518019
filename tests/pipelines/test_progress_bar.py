"""Progress on a real terminal, and lines where there is none."""

import io
import re

import pytest
from rich.console import Console

from components.shared.run.progress import begun_line, done_line
from pipelines import progress_bar
from pipelines.output import SafeConsole
from pipelines.progress_bar import ProgressBar, progress_shown
from tests.clock import Clock
from tests.terminal import seen, terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_bar, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def a_terminal_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def _drawn(bar: ProgressBar, columns: int) -> str:
    """Returns the bar's line, its whole and half columns as `#` and the rest as `-`."""
    console = Console(file=io.StringIO(), width=columns, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(bar)
    line = captured.get()
    assert line.count("\n") == 1
    assert len(line) <= columns, "one more would begin another line"
    return line.rstrip()


def test_the_bar_tells_step_trial_and_time_left(clock: Clock) -> None:
    with terminal(120) as (stream, _):
        bar = ProgressBar(Console(file=stream))
        bar.begin("tune")
        clock.now += 30
        assert not bar.takes(f"{begun_line(3, 8, 'trial', 600)}: compact  dropout 0.3")
        clock.now += 60
        assert bar.takes(f"{done_line(5, 8, 'epochs', 12.0)}: accuracy 93.10%")
        line = _drawn(bar, 120)
        bar.end()
    assert line.startswith("tune  trial 3 of 8, 5 of 8 epochs, accuracy 93.10%  ")
    assert line.endswith("90 s, 9 min left")
    assert line.count("━") + line.count("╸") == 13, "of 40, as (2 + 5/8) of 8"
    with terminal(20) as (stream, _):
        short = ProgressBar(Console(file=stream))
        short.begin("cross-validate-2")
        short.takes("1,024 of 3,907 files read (512 a second, 6 s left)")
        assert _drawn(short, 20) == "cross-validate-2  1"
        short.end()


def test_time_left_is_guessed_where_no_line_says_it(clock: Clock) -> None:
    with terminal() as (stream, _):
        bar = ProgressBar(Console(file=stream))
        bar.begin("tune")
        assert not bar.takes(f"{begun_line(1, 4, 'trial')}: compact")
        assert "left" not in _drawn(bar, 80)
        clock.now += 10
        bar.takes(done_line(1, 2, "epochs", 10.0))  # an eighth of all
        assert _drawn(bar, 80).endswith("10 s, 70 s left")
        bar.end()


@pytest.mark.parametrize(
    "line",
    [
        "3 of 3,907 images have no patient",
        "12 of 20 rows name no file (row 3)",
        "error: 1 of 5 files is broken",
        "trial 3 failed: the loss is not a number",
        "fold 2: 3 of 5 images",
        "[bold]1 of 2[/] things",
    ],
)
def test_no_other_line_is_taken(line: str) -> None:
    with terminal() as (stream, written):
        console = SafeConsole(file=stream, highlight=False)
        with ProgressBar(console) as bar:
            bar.begin("ingest")
            assert not bar.takes(line)
        assert seen(written()) == [""]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "iso-8859-1"])
@pytest.mark.parametrize("columns", [20, 80])
def test_lines_stay_whole_and_the_bar_goes(columns: int, encoding: str) -> None:
    lines = ["a first line", "müde – no progress: x of y", "the last"]
    with terminal(columns, encoding) as (stream, written):
        with progress_shown("reading", SafeConsole(file=stream, highlight=False)):
            for number, line in enumerate(lines, 1):
                print(line)
                print(f"{number} of 3 files read (2 a second, 1 s left)")
        raw = written()
    assert "reading" in raw
    assert "\x1b[?25h" in raw, "the cursor is back"
    shown = [line.encode(encoding, "backslashreplace").decode(encoding) for line in lines]
    assert [line for line in seen(raw) if line] == shown


@pytest.mark.parametrize("variable", [None, "FORCE_COLOR", "TERM"])
def test_elsewhere_every_line_is_a_line(
    variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, though CI wants colours in it, and on a terminal that cannot move its cursor."""
    line = "1 of 3 files read (2 a second, 1 s left)"
    if variable:
        monkeypatch.setenv(variable, "dumb" if variable == "TERM" else "1")
    if variable == "TERM":
        with terminal() as (stream, written):
            with progress_shown("reading", SafeConsole(file=stream, highlight=False)):
                print(line)
            said = written().replace("\r", "")
    else:
        file = io.StringIO()
        with progress_shown("reading", SafeConsole(file=file, highlight=False)):
            print(line)
        said = file.getvalue()
    assert re.sub(r"\x1b\[\d*m", "", said) == f"{line}\n"
