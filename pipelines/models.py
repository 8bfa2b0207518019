"""The registry's commands: `brain-tumor models list | show | history | promote | …`."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from components.shared.errors import UserError
from components.shared.reports.numbers import decimal, percent
from pipelines.next_step import show_next
from pipelines.output import Format, PlainTable, console, errors, print_json

if TYPE_CHECKING:
    from components.shared.evaluation.metrics import Interval
    from components.shared.registry import Registry
    from components.shared.registry.history import Alias, Event

app = typer.Typer(
    help="Look at the registered models; promote, roll back, verify, sign, fetch and delete them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Address = Annotated[
    str,
    typer.Option(
        "--registry",
        envvar="BRAIN_TUMOR_REGISTRY",
        help="A folder, s3://bucket/folder or gs://bucket/folder.",
    ),
]
Reference = Annotated[
    str,
    typer.Argument(help="Number, latest, champion or candidate; or REGISTRY#VERSION."),
]
Reason = Annotated[str, typer.Option(help="Reason, for the history.", show_default=False)]
Output = Annotated[Format, typer.Option("--format", "-f", help="Output format.")]

DEFAULT = "runs/registry"
_READERS = 16
_BOUNDED = ("accuracy", "sensitivity", "specificity")


@app.command(name="list")
def list_versions(registry: Address = DEFAULT, output: Output = Format.table) -> None:
    """List the versions, newest first, with their aliases and held-out figures."""
    with _working(registry) as models:
        aliases = models.aliases()
        versions = reversed(_registered(models))
        with ThreadPoolExecutor(_READERS) as pool:
            rows = list(pool.map(lambda version: _row(models, version, aliases), versions))
    if output is Format.json:
        print_json(rows)
    elif rows:
        console.print(_versions_table(rows))
    else:
        console.print(f"no versions in {escape(models.uri)}", soft_wrap=True)


@app.command()
def show(reference: Reference, registry: Address = DEFAULT, output: Output = Format.table) -> None:
    """Show a version: figures, what it was made from, what it was compared with, its history.

    [dim]brain-tumor models show runs/registry#champion[/]
    """
    registry, reference = _split(reference, registry)
    with _working(registry) as models:
        version = models.resolve(reference)
        metadata = models.metadata(version)
        events = models.history()
    named = _named(events[-1].aliases, version) if events else []
    events = [event for event in events if event.version == version]
    if output is Format.json:
        print_json(
            {
                "version": version,
                "address": models.address(version),
                "aliases": named,
                "metadata": metadata.model_dump(mode="json"),
                "history": [event.model_dump(mode="json") for event in events],
            }
        )
        return
    champion = metadata.gate.champion_version
    held_out = metadata.metrics.held_out
    facts = PlainTable(show_header=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, value in {
        "version": " ".join([str(version), *named]),
        "address": models.address(version),
        "registered (UTC)": _time(metadata.created.isoformat()),
        **{name: _interval(getattr(held_out.model, name)) for name in _BOUNDED},
        "held-out images": f"{held_out.images}, {metadata.data.split_strategy} split",
        "other sources": "; ".join(found.sentence() for found in metadata.external) or "none",
        "threshold": f"{decimal(metadata.threshold)}, {metadata.threshold_rule}",
        "compared with": f"version {champion}" if champion else "none: there was no champion",
        "notes": "; ".join(metadata.gate.notes) or "none",
        "data": f"{metadata.data.source}, version {metadata.data.source_version or 'unknown'}",
        "data digest": metadata.data.digest,
        "split digest": metadata.data.split_digest,
        "code": metadata.git_revision or "unknown",
        "run": metadata.pipeline_run or "unknown",
    }.items():
        facts.add_row(name, _plain(value))
    console.print(facts)
    if events:
        console.print()
        console.print(_history_table(events))


@app.command()
def history(registry: Address = DEFAULT, output: Output = Format.table) -> None:
    """Show all that happened in the registry, oldest first."""
    with _working(registry) as models:
        events = models.history()
        if not events:
            models.require_history()
    if output is Format.json:
        print_json([event.model_dump(mode="json") for event in events])
    elif events:
        console.print(_history_table(events))
    else:
        console.print(f"no history in {escape(models.uri)}", soft_wrap=True)


@app.command()
def promote(reference: Reference, registry: Address = DEFAULT, reason: Reason = "") -> None:
    """Make a version champion.

    What serves already is not touched: that is the deploy step's work, or GitOps'.
    """
    registry, reference = _split(reference, registry)
    with _working(registry) as models:
        version = models.promote(reference, reason)
    _print_champion(models, version)


@app.command()
def rollback(registry: Address = DEFAULT, reason: Reason = "") -> None:
    """Make the former champion champion again. Repeated, it goes further back."""
    with _working(registry) as models:
        version = models.rollback(reason)
    _print_champion(models, version)


@app.command()
def verify(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            help="Numbers, latest, champion or candidate; or REGISTRY#VERSION. Without: all."
        ),
    ] = None,
    registry: Address = DEFAULT,
    output: Output = Format.table,
) -> None:
    """Check versions against their digests, file by file, and their signatures if a key is set.

    Exit status 1 if one of them is not what was registered.
    """
    named = [_split(name, registry) for name in references or []]
    if len(registries := {registry for registry, _ in named}) > 1:
        raise UserError(f"name versions of one registry, not of {' and '.join(sorted(registries))}")
    with _working(*registries or [registry]) as models:
        versions = [models.resolve(version) for _, version in named] or _registered(models)
        faults = {version: _fault(models.verify, version) for version in versions}
    if output is Format.json:
        print_json([{"version": v, "error": fault} for v, fault in faults.items()])
    for version, fault in faults.items() if output is Format.table else ():
        told = f"[red]{_plain(fault)}[/]" if fault else "is what was registered"
        console.print(f"version {version}: {told}", soft_wrap=True)
    if any(faults.values()):
        raise typer.Exit(1)


@app.command()
def sign(reference: Reference, registry: Address = DEFAULT) -> None:
    """Sign a version that was registered without a signature.

    BRAIN_TUMOR_SIGNING_KEY names the private key's file. Look at the version first.
    """
    registry, reference = _split(reference, registry)
    with _working(registry) as models:
        version = models.resolve(reference)
        models.sign(version)
    console.print(f"signed version {version}")


@app.command()
def fetch(
    reference: Reference,
    folder: Annotated[Path, typer.Argument(help="Folder to create.")],
    registry: Address = DEFAULT,
) -> None:
    """Download a version, verified, for `predict` and `serve`.

    [dim]brain-tumor models fetch s3://bucket/models#champion model[/]
    """
    registry, reference = _split(reference, registry)
    with _working(registry) as models:
        version = models.resolve(reference)
        models.fetch(version, folder)
    console.print(f"wrote version {version} to {escape(str(folder))}", soft_wrap=True)
    show_next("predict", str(folder), "path/to/images")


@app.command()
def delete(
    reference: Annotated[str, typer.Argument(metavar="NUMBER", help="Number, or REGISTRY#NUMBER.")],
    registry: Address = DEFAULT,
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a version for good. Its number is never used again."""
    registry, number = _split(reference, registry)
    if not number.isdecimal() or not int(number):
        raise UserError(f"{number!r} is not a version number; give one such as 3")
    version = int(number)
    if not yes:
        typer.confirm(f"Delete version {version} from {registry} for good?", abort=True)
    with _working(registry) as models:
        models.delete(version, reason)
    console.print(f"deleted version {version}")


def _split(reference: str, registry: str) -> tuple[str, str]:
    """Returns the registry that a reference names, or else the given one, and the version."""
    from components.shared.registry.reference import split_reference

    return split_reference(reference, registry)


@contextmanager
def _working(registry: str) -> Iterator["Registry"]:
    """Opens a registry; what it tells meanwhile goes beside the results, to standard error."""
    from components.shared.registry import Registry
    from pipelines.progress_bar import progress_shown

    with progress_shown("registry", errors):
        yield Registry.open(registry)


def _registered(models: "Registry") -> list[int]:
    """Returns the versions; a misspelt registry has none, and so has one of deleted ones."""
    versions = models.versions()
    if not versions:
        models.require_history()
    return versions


def _row(models: "Registry", version: int, aliases: "dict[Alias, int]") -> dict[str, Any]:
    """Returns a version's line in the list; one that cannot be read hides no other."""
    row = {
        "version": version,
        "aliases": _named(aliases, version),
        "address": models.address(version),
    }
    try:
        metadata = models.metadata(version)
    except UserError as error:
        return row | {"error": str(error)}
    held_out = metadata.metrics.held_out.model
    return row | {
        "created": metadata.created.isoformat(),
        **{name: getattr(held_out, name).value for name in _BOUNDED},
        "data_digest": metadata.data.digest,
        "split_digest": metadata.data.split_digest,
        "git_revision": metadata.git_revision,
        "pipeline_run": metadata.pipeline_run,
        "compared_with": metadata.gate.champion_version,
    }


def _named(aliases: "dict[Alias, int]", version: int) -> list[str]:
    return [str(alias) for alias, holder in aliases.items() if holder == version]


def _print_champion(models: "Registry", version: int) -> None:
    address = escape(models.address(version))
    console.print(f"champion is version {version}: {address}", soft_wrap=True)


def _fault(check: Callable[[int], None], version: int) -> str | None:
    try:
        check(version)
    except UserError as error:
        return str(error)
    return None


def _versions_table(rows: list[dict[str, Any]]) -> Table:
    table = PlainTable()
    table.add_column("version", justify="right")
    table.add_column("aliases")
    table.add_column("registered (UTC)", min_width=16)
    for name in _BOUNDED:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        aliases = f"[green]{' '.join(row['aliases'])}[/]"
        if "error" in row:
            table.add_row(str(row["version"]), aliases, f"[red]{_plain(row['error'])}[/]")
            continue
        table.add_row(
            str(row["version"]),
            aliases,
            _time(row["created"]),
            *(percent(row[name]) for name in _BOUNDED),
        )
    return table


def _history_table(events: "Iterable[Event]") -> Table:
    table = PlainTable()
    table.add_column("event", justify="right")
    for name in ("time (UTC)", "what happened", "by", "reason"):
        table.add_column(name)
    for event in events:
        table.add_row(
            str(event.number),
            _time(event.time.isoformat()),
            f"{event.action} version {event.version}",
            _plain(event.author),
            _plain(event.reason),
        )
    return table


def _time(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _plain(text: str) -> str:
    """Returns what a registry says as rich shows it: no markup, and no command to the terminal."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def _interval(score: "Interval") -> str:
    return f"{percent(score.value)} (95% interval {percent(score.low)} to {percent(score.high)})"
