"""What a training costs with many images on many nodes, from units that were measured.

    python -m benchmarks.scale measure --source path/to/archive.zip
    python -m benchmarks.scale check --source path/to/archive.zip
    python -m benchmarks.scale plan --images 10000000 --gpus 1000
    python -m benchmarks.scale state workflow.json

`measure` writes `benchmarks/scale/units.json`. It takes minutes and starts a store of its own.
`check` ingests from that store with one, two and four workers and compares what it measures with
what the simulation says. `plan` needs neither: it simulates a run, with the assumptions that its
options name. `state` says how many trials fit into what Argo keeps of a run, from the file of a run
with two rounds of two trials (`kubectl get workflow NAME --output json`). docs/scale.md says what
follows.
"""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.scale.state import ROUND, TRIAL, State
from benchmarks.scale.training import Cluster, Cost, Training, Work
from benchmarks.scale.units import MEASURED, Units
from pipelines.ending import ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, count in (("measure", 2000), ("check", 1000)):
        command = commands.add_parser(name)
        command.add_argument("--source", default="sample://?images=400", help="images to take")
        command.add_argument("--images", type=int, default=count, help=f"how many ({count})")
    state = commands.add_parser("state")
    state.add_argument("workflow", type=Path, help="JSON that kubectl printed")
    plan = commands.add_parser("plan")
    plan.add_argument("--units", type=Path, default=MEASURED, help="what measure wrote")
    for model in (Work, Cluster):
        for one in fields(model):
            default = 10_000_000 if one.name == "images" else one.default
            kind: Any = type(default)
            text = f"{one.name.replace('_', ' ')} ({default:,})" if kind is not str else default
            plan.add_argument(
                f"--{one.name.replace('_', '-')}", type=kind, default=default, help=str(text)
            )
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Runs what the command line says."""
    given = vars(_parser().parse_args(arguments))
    console = Console(width=120)
    if given["command"] == "plan":
        cluster = Cluster(**{one.name: given[one.name] for one in fields(Cluster)})
        work = Work(**{one.name: given[one.name] for one in fields(Work)})
        show(Training(Units.read(given["units"]), cluster, work).run(), console)
        return
    if given["command"] == "state":
        show_state(State.of(json.loads(given["workflow"].read_text())), console)
        return
    from benchmarks.scale import check, measure  # which import TensorFlow

    if given["command"] == "measure":
        found = measure.measure(given["images"], given["source"])
        MEASURED.write_text(found.model_dump_json(indent=1) + "\n")
        console.print(found)
    else:
        check.check(given["images"], given["source"], console)


def show(costs: list[Cost], console: Console) -> None:
    """Prints a row for each step, and one for all."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("step", no_wrap=True)
    for name in ("pods", "lost", "requests", "down", "up", "shared", "GPU hours", "busy", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for cost in costs:
        table.add_row(cost.step, *_cells(cost, cost.ended - cost.began))
    names = ("pods", "lost", "down", "up", "requests", "shared", "gpu_seconds", "busy_seconds")
    whole = Cost("total", **{name: sum(getattr(cost, name) for cost in costs) for name in names})
    table.add_row(whole.step, *_cells(whole, costs[-1].ended), style="bold")
    console.print(table)


def show_state(state: State, console: Console) -> None:
    """Prints what Argo keeps of a run, and how often a part of it may come again."""
    console.print(
        f"run: {len(state.nodes):,} nodes, {_size(state.plain)}, packed {_size(state.packed)}; "
        f"the pipeline {_size(state.rest)}"
    )
    for name, pattern in (("trial", TRIAL), ("round of two trials", ROUND)):
        part = state.part(pattern)
        console.print(
            f"{name}: {len(part.nodes)} nodes, {_size(part.plain)}, packed {_size(part.packed)}; "
            f"{state.limit(pattern)} more fit into 1 MB"
        )


def _cells(cost: Cost, seconds: float) -> list[str]:
    busy = f"{cost.busy_seconds / cost.gpu_seconds:.0%}" if cost.gpu_seconds else ""
    held = f"{cost.gpu_seconds / 3600:,.1f}" if cost.gpu_seconds else ""
    counts = [f"{cost.pods:,}", f"{cost.lost:,}", f"{cost.requests:,.0f}"]
    sizes = [_size(cost.down), _size(cost.up), _size(cost.shared)]
    return [*counts, *sizes, held, busy, _time(seconds)]


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if size else ""
        size /= 1000
    return f"{size:,.3g} PB"


def _time(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 600 else f"{seconds / 3600:,.1f} h"


if __name__ == "__main__":
    sys.exit(ended(main))
