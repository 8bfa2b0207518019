"""A step's progress on a terminal: one line at its bottom, with trial and time left."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from components.shared.reports.text import printable
from components.shared.run.progress import Progress, duration, read_progress

_WIDEST, _NARROWEST = 40, 10  # columns of the bar itself; where fewer are left there is none
_TIMES_A_SECOND = 4
_GAP = "  "


class ProgressBar:
    """Makes of lines of progress a bar below all other lines; elsewhere the lines stay lines."""

    def __init__(self, console: Console) -> None:
        """Shows nothing yet.

        Args:
            console: Whose terminal. Where it writes to no terminal, nothing is shown ever.
        """
        self._shown = console.is_interactive and console.file.isatty()
        self._live = Live(
            self,
            console=console,
            refresh_per_second=_TIMES_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._clear("")

    def __enter__(self) -> "ProgressBar":
        """Shows nothing before something begins."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves nothing on the terminal."""
        self.end()

    def begin(self, title: str, at_once: bool = True) -> None:
        """Shows that something has begun, such as a step.

        Args:
            title: What.
            at_once: Whether to show it before there is a line of progress.
        """
        self._clear(title)
        if self._shown and at_once:
            self._live.start(refresh=True)

    def end(self) -> None:
        """Removes the bar from the terminal."""
        self._live.stop()
        self._clear("")

    def takes(self, line: str) -> bool:
        """Shows what a line of progress says.

        Args:
            line: Any line.

        Returns:
            Whether the bar says it all, so that nobody needs the line.
        """
        found = read_progress(line) if self._shown else None
        if not found:
            return False
        self._add(found)
        self._live.start()  # does nothing if it is shown
        return not found.begun  # what has begun, such as a trial with its values, is worth a line

    def _clear(self, title: str) -> None:
        self._title, self._started = title, time.monotonic()
        self._levels: list[Progress] = []  # from the outermost
        self._since = self._told = self._started  # of the outermost level, and its last line
        self._share_then = 0.0

    def _add(self, found: Progress) -> None:
        known = [level.what for level in self._levels]
        if found.what in known:
            levels = [*self._levels[: known.index(found.what)], found]
        else:
            levels = [*(level for level in self._levels if level.begun), found]
        ended = len(levels) == 1 and found.done == found.total
        outermost = known[:1]
        self._levels = [] if ended else levels
        if [level.what for level in self._levels[:1]] != outermost:
            self._since, self._share_then = time.monotonic(), self._share()
        if self._levels and self._levels[0] is found:
            self._told = time.monotonic()

    def _share(self) -> float:
        """Returns how much of the outermost level is done, 0..1."""
        share = 0.0
        for level in reversed(self._levels):
            inner = share if level.begun else 0.0
            share = min(1.0, (level.done + inner) / max(1, level.total))
        return share

    def _seconds_left(self, now: float) -> float | None:
        """Returns how long the outermost level still takes, as it said or by what it took."""
        if not self._levels:
            return None
        if (said := self._levels[0].seconds_left) is not None:
            return max(0.0, said - (now - self._told))
        done = self._share() - self._share_then
        return (now - self._since) / done * (1 - self._share()) if done > 0 else None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the line, never wider than the terminal: first words, then times, then the bar."""
        width, now = options.max_width - 1, time.monotonic()
        words = Text.assemble((printable(self._title), "bold"))
        if self._levels:
            words.append(_GAP + ", ".join(level.words for level in self._levels))
        clock = Text(duration(now - self._started), "dim")
        if left := self._seconds_left(now):
            clock.append(f", {duration(left)} left")
        rest = width - words.cell_len - clock.cell_len - 2 * len(_GAP)
        text = f", {self._levels[-1].text}" if self._levels and self._levels[-1].text else ""
        if cell_len(text) <= rest - _WIDEST:
            words.append(text)
            rest -= cell_len(text)
        cells: list[Text | Bar] = [words, clock]
        if rest >= _NARROWEST:
            share = self._share() if self._levels else None
            bar = Bar(1.0, share or 0.0, width=min(_WIDEST, rest), pulse=share is None)
            cells.insert(1, bar)
        elif rest < -len(_GAP):
            cells = [words]
            words.truncate(max(1, width), overflow="crop")
        grid = Table.grid(padding=(0, len(_GAP), 0, 0))
        for _ in cells:
            grid.add_column(no_wrap=True, overflow="crop")
        grid.add_row(*cells)
        yield grid


class Lines(io.TextIOBase):
    """A stream that hands whole lines on."""

    def __init__(self, take: Callable[[str], None]) -> None:
        """Takes who gets each line, without its end."""
        self._take = take
        self._rest = ""

    def writable(self) -> bool:
        """Returns True, as `redirect_stdout` needs."""
        return True

    def write(self, text: str) -> int:
        """Takes text; whole lines are passed on."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)


@contextmanager
def progress_shown(title: str, console: Console) -> Iterator[None]:
    """Shows what is printed meanwhile on another console: progress as a bar on a terminal.

    Args:
        title: What is done, in a word or two.
        console: Where; the one of standard error lets results be piped on.
    """
    with ProgressBar(console) as bar:

        def take(line: str) -> None:
            if not bar.takes(line):
                console.print(Text(printable(line)), soft_wrap=True)

        bar.begin(title, at_once=False)
        with redirect_stdout(Lines(take)):
            yield
