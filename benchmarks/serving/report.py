"""What was measured, as tables, as a picture, as ratios and as JSON."""

import io
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.serving.contenders import CONTENDERS, OURS, REFERENCE
from benchmarks.serving.load import Figures, summed_up
from benchmarks.serving.measure import SMALL, Run, Scenario
from components.shared.storage.files import write_atomically

# How much better than the reference this predictor has to be.
REQUESTS_GOAL, P99_GOAL, P50_GOAL = 15.0, 10.0, 6.0
_OURS_COLOUR, _OTHERS_COLOUR = "#0b6e99", "#b9bec4"


@dataclass(frozen=True)
class Row:
    """One server, asked in one form.

    Attributes:
        key: Of the server.
        title: Of both, for people.
        form: How images were sent.
        figures: By scenario, all rounds together.
        rounds: By scenario, each round alone.
        cpu_ms: By scenario, milliseconds of CPU of the server for one request.
        memory: Most resident bytes in any round.
        ready_seconds: From start to first answer, the mean of the rounds.
    """

    key: str
    title: str
    form: str
    figures: dict[Scenario, Figures]
    rounds: dict[Scenario, list[Figures]]
    cpu_ms: dict[Scenario, float]
    memory: int
    ready_seconds: float


def rows(runs: dict[str, list[Run]]) -> list[Row]:
    """Sums up all rounds.

    Args:
        runs: By server, as `measure.rounds` returns them.
    """
    return [row for key, turns in runs.items() for row in _rows(key, turns)]


def _rows(key: str, turns: Sequence[Run]) -> Iterator[Row]:
    for form in CONTENDERS[key].forms:
        row = Row(
            key,
            f"{CONTENDERS[key].title}, {form.name}",
            form.name,
            {},
            {},
            {},
            max(turn.memory for turn in turns),
            sum(turn.ready_seconds for turn in turns) / len(turns),
        )
        for name, scenario in dict.fromkeys(place for turn in turns for place in turn.loads):
            if name != form.name:
                continue
            place = (name, scenario)
            with_it = [turn for turn in turns if place in turn.loads]
            row.figures[scenario] = summed_up([turn.loads[place] for turn in with_it])
            row.rounds[scenario] = [summed_up([turn.loads[place]]) for turn in with_it]
            cpu = sum(turn.cpu_seconds[place] for turn in with_it)
            row.cpu_ms[scenario] = 1e3 * cpu / max(1, row.figures[scenario].requests)
        yield row


def print_tables(found: Sequence[Row], console: Console) -> None:
    """Prints tables that are Markdown: one a closed loop of small images, larger ones, fixed rates.

    Args:
        found: As `rows` returns them.
        console: Where to.
    """
    scenarios = list(dict.fromkeys(scenario for row in found for scenario in row.figures))
    for scenario in sorted(scenarios, key=lambda scenario: -scenario.clients):
        if scenario.clients and scenario.size == SMALL:
            console.print(_detailed(found, scenario), end="\n\n")
    larger = [s for s in scenarios if s.clients and s.size != SMALL]
    if larger:
        console.print("requests/s (p99 in ms)\n")
        console.print(
            _compact(found, larger, lambda f: f"{f.requests_per_second:.1f} ({_ms(f.p99)})"),
            end="\n\n",
        )
    fixed = [s for s in scenarios if s.rate]
    if fixed:
        console.print("p50 and p99 in ms, from the time a request was due\n")
        console.print(_compact(found, fixed, lambda f: f"{_ms(f.p50)}, {_ms(f.p99)}"), end="\n\n")


def _detailed(found: Sequence[Row], scenario: Scenario) -> Table:
    table = _table(
        str(scenario),
        "requests/s",
        "of each round",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "failed",
        "CPU ms a request",
        "memory MB",
        "first answer s",
    )
    with_it = (row for row in found if scenario in row.figures)
    for row in sorted(with_it, key=lambda row: -row.figures[scenario].requests_per_second):
        figures = row.figures[scenario]
        table.add_row(
            row.title,
            f"{figures.requests_per_second:.1f}",
            f"{figures.slowest:.1f}–{figures.fastest:.1f}",
            _ms(figures.p50),
            _ms(figures.p95),
            _ms(figures.p99),
            str(figures.failed),
            _number(row.cpu_ms[scenario], 2),
            f"{row.memory / 1e6:.0f}",
            f"{row.ready_seconds:.1f}",
        )
    return table


def _compact(
    found: Sequence[Row], scenarios: Sequence[Scenario], cell: Callable[[Figures], str]
) -> Table:
    table = _table("", *map(str, scenarios))
    for row in found:
        cells = []
        for scenario in scenarios:
            figures = row.figures.get(scenario)
            failed = f", {figures.failed} failed" if figures and figures.failed else ""
            cells.append(cell(figures) + failed if figures else "overloaded before")
        table.add_row(row.title, *cells)
    return table


def _table(first: str, *headings: str) -> Table:
    table = Table(box=box.MARKDOWN, header_style="", show_edge=True)
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _ms(seconds: float) -> str:
    return _number(1e3 * seconds, 1)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def goals(found: Sequence[Row]) -> list[str]:
    """Says how many times better this predictor is than each other server, on small images.

    Ratios are taken within each round and their median counts, since a shared machine drifts.
    Like is compared with like: forms that carry the image with each other, and forms that carry its
    address, which is then fetched, with each other.

    Args:
        found: As `rows` returns them.

    Returns:
        Lines for people; none where this predictor was not measured.
    """
    ours = [row for row in found if row.key == OURS]
    others = [row for row in found if row.key != OURS]
    closed = [s for row in ours for s in row.figures if s.clients and s.size == SMALL]
    if not closed:
        return []
    few = min(closed, key=lambda scenario: scenario.clients)
    many = max(closed, key=lambda scenario: scenario.clients)
    measures = (
        (f"requests/s, {many}", many, lambda f: f.requests_per_second, REQUESTS_GOAL),
        (f"p99, {many}", many, lambda f: 1 / f.p99, P99_GOAL),
        (f"p50, {few}", few, lambda f: 1 / f.p50, P50_GOAL),
    )
    lines = []
    for row in ours:
        rivals = [other for other in others if (other.form == "URL") == (row.form == "URL")]
        for name, scenario, worth, goal in measures:
            better = 0
            for other in rivals:
                ratios = _ratios(row.rounds[scenario], other.rounds[scenario], worth)
                middle = statistics.median(ratios)
                better += middle < 1
                each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
                line = f"{name}: {row.form} is {middle:.2f} times as good as {other.title} ({each})"
                if other.key == REFERENCE:
                    line += f"; goal {goal:g}: {'reached' if middle >= goal else 'MISSED'}"
                lines.append(line)
            if rivals:
                lines.append(f"{name}: {row.form} is number {better + 1} of {len(rivals) + 1}")
    return lines


def _ratios(
    ours: Sequence[Figures], theirs: Sequence[Figures], worth: Callable[[Figures], float]
) -> list[float]:
    """Returns ours to theirs in each round that both have."""
    pairs = zip(map(worth, ours), map(worth, theirs), strict=False)
    return [a / b if b else math.inf for a, b in pairs]


def draw(found: Sequence[Row], path: Path) -> None:
    """Draws requests a second and p99 of every server, small images and most clients.

    Args:
        found: As `rows` returns them.
        path: PNG to write.
    """
    closed = [s for row in found for s in row.figures if s.clients and s.size == SMALL]
    if not closed:
        return
    many = max(closed, key=lambda scenario: scenario.clients)
    shown = sorted(
        (row for row in found if many in row.figures),
        key=lambda row: row.figures[many].requests_per_second,
    )
    figure = Figure(figsize=(11, 0.9 + 0.42 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, shown, [row.figures[many].requests_per_second for row in shown], "requests/s")
    _bars(right, shown, [1e3 * row.figures[many].p99 for row in shown], "p99, ms (logarithmic)")
    right.set_xscale("log")
    right.xaxis.set_major_formatter(ScalarFormatter())
    right.xaxis.set_minor_formatter(NullFormatter())
    figure.suptitle(f"{many}, closed loop", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _bars(axes: Axes, shown: Sequence[Row], values: Sequence[float], what: str) -> None:
    colours = [_OURS_COLOUR if row.key == OURS else _OTHERS_COLOUR for row in shown]
    finite = [value if math.isfinite(value) else 0.0 for value in values]
    bars = axes.barh([row.title for row in shown], finite, color=colours, height=0.7)
    axes.bar_label(bars, [_number(value, 1) for value in values], padding=3, fontsize=8)
    axes.set_xlabel(what)
    axes.margins(x=0.15)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def write_json(
    path: Path,
    found: Sequence[Row],
    failed: dict[str, str],
    versions: dict[str, list[str]],
    options: dict[str, Any],
) -> None:
    """Writes everything that was measured, and with what.

    Args:
        path: File to write.
        found: As `rows` returns them.
        failed: By server, why it was not measured.
        versions: By server, what was installed for it.
        options: Of the command line.
    """
    document = {
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"processor": _processor(), "system": platform.platform()},
        "options": options,
        "servers": [
            {
                "server": row.key,
                "form": row.form,
                "ready_seconds": round(row.ready_seconds, 2),
                "memory_bytes": row.memory,
                "scenarios": [
                    asdict(scenario)
                    | _finite(figures)
                    | {
                        "cpu_ms": round(row.cpu_ms[scenario], 4),
                        "rounds": [_finite(one) for one in row.rounds[scenario]],
                    }
                    for scenario, figures in row.figures.items()
                ],
            }
            for row in found
        ],
        "failed": failed,
        "goals": goals(found),
        "versions": versions,
    }
    write_atomically(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _finite(figures: Figures) -> dict[str, float | None]:
    """Returns them as JSON has numbers."""
    return {
        name: round(value, 6) if math.isfinite(value) else None
        for name, value in asdict(figures).items()
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
