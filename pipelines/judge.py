"""`brain-tumor evaluate` and `compare`: registered models on images of other sources."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from rich.markup import escape

from components.ingest.labels_file import pinned
from components.ingest.logic import ingest
from components.ingest.several import open_sources, sources_here
from components.shared.data.dataset import ImageDataset
from components.shared.data.sources import source_title
from components.shared.evaluation.external import EXTERNAL, PREDICTIONS, ExternalResult
from components.shared.evaluation.metrics import MEASURES, Interval
from components.shared.model_folder.card import model_card
from components.shared.model_folder.contract import CARD, METADATA
from components.shared.model_folder.known_images import ImagesOfDataset
from components.shared.model_folder.metadata import ModelMetadata, read_metadata
from components.shared.model_folder.reader import open_model_folder, settled
from components.shared.model_folder.signing import Trust
from components.shared.registry.reference import version_folder
from components.shared.reports.numbers import counted
from components.shared.run.parameters import Data
from components.shared.storage.files import write_atomically
from components.shared.storage.store import on_disk
from components.validate.compare import COMPARISON, Comparison, compare, lead_texts
from components.validate.logic import validate
from components.validate.model import JudgedModel, registered_model
from pipelines.ending import going_on
from pipelines.output import PlainTable, console, errors, show_in_browser
from pipelines.progress_bar import progress_shown
from pipelines.quiet import quiet_stderr

REPORT = "report.html"
_SHARE = MEASURES["accuracy"]  # flagged and unsure are shares too
_SHOWN = ("accuracy", "sensitivity", "specificity", "auroc", "flagged", "unsure")


def evaluate_version(model: str, data: Data, output: Path) -> ExternalResult:
    """Measures a registered version on another source.

    Args:
        model: As `version_folder` takes it.
        data: The other source.
        output: Folder for `external.json`, `predictions.csv`, the report, and the version's
            metadata and card with this result in them. The version itself does not change.

    Returns:
        The result.

    Raises:
        UserError: The model or the source cannot be used.
    """
    with opened(model) as folder, ingested(data, output) as dataset:
        result = validate(
            dataset,
            judged_model(folder),
            ImagesOfDataset.open(folder),
            output,
            output / REPORT,
            name=source_title(data.source),
        )
        _describe(read_metadata(folder), result, output)
    return result


def compare_versions(models: tuple[str, str], data: Data, output: Path) -> Comparison:
    """Compares two registered versions on another source.

    Args:
        models: As `version_folder` takes them.
        data: The other source.
        output: Folder for `comparison.json` and the report.

    Returns:
        The comparison.

    Raises:
        UserError: A model or the source cannot be used.
    """
    with ExitStack() as stack:
        folders = [stack.enter_context(opened(model)) for model in models]
        dataset = stack.enter_context(ingested(data, output))
        one, other = (judged_model(folder) for folder in folders)
        if one.title == other.title:  # of two registries
            one, other = replace(one, title="the first"), replace(other, title="the second")
        known = (ImagesOfDataset.open(folders[0]), ImagesOfDataset.open(folders[1]))
        return compare(
            dataset,
            (one, other),
            known,
            output,
            output / REPORT,
            name=source_title(data.source),
        )


def show_evaluation(result: ExternalResult, output: Path, open_report: bool = False) -> None:
    """Prints the figures, by what the labels say, and where everything is."""
    table = PlainTable()
    patients = f", {counted(result.patients, 'patient')}" if result.patients else ""
    console.print(f"[bold]{escape(result.name)}[/]: {counted(result.images, 'image')}{patients}\n")
    table.add_column("")
    whole = result.scores | {"flagged": result.flagged, "unsure": result.unsure()}
    shown = [name for name in _SHOWN if whole.get(name)]
    for name in shown:
        heading = MEASURES[name].name if name in MEASURES else name
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("all", *_cells(shown, whole))
    table.add_row("95% interval", *_cells(shown, whole, ends=True), style="dim")
    for kind, subgroups in result.tables():
        table.add_row(f"by {kind}", style="dim")
        for found in subgroups:
            measured = {name: getattr(found, name) for name in shown}
            table.add_row(f"  {escape(found.name)}", *_cells(shown, measured))
    if result.strangers:
        table.add_row("no brain MRI", style="dim")
    for strangers in result.strangers:
        flagged = _cells(shown, {"flagged": strangers.flagged})
        table.add_row(f"  {escape(strangers.name)}", *flagged)
    console.print(table)
    for note in _notes(result):
        console.print(f"[yellow]{note}[/]")
    files = {"figures": EXTERNAL, "answers": PREDICTIONS, "card": CARD}
    _show_places(output, files, open_report)


def _notes(result: ExternalResult) -> Iterator[str]:
    if result.overlap.images:
        images = counted(result.overlap.images, "image")
        yield f"left out: {images} that the model's own dataset holds"
    if not result.overlap.checked:
        yield "whether the model's own dataset holds some of these images is unknown"
    if result.unmeasured():
        lacking = "healthy images" if result.tumor else "tumours"
        yield f"no {lacking}: {', '.join(result.unmeasured())} cannot be measured"


def _cells(
    names: Sequence[str], found: Mapping[str, Interval | None], ends: bool = False
) -> list[str]:
    """Returns what a row of the table shows: values, or the ends of their intervals."""
    cells = []
    for name in names:
        interval, measure = found.get(name), MEASURES.get(name, _SHARE)
        if interval and ends:
            low, high = (measure.text(end) for end in (interval.low, interval.high))
            cells.append(f"{low.removesuffix('%')}–{high.removesuffix('%')}")
        else:
            cells.append(measure.text(interval.value) if interval else "")
    return cells


def show_comparison(comparison: Comparison, output: Path, open_report: bool = False) -> None:
    """Prints both models' figures, the first one's lead, and where the report is."""
    table = PlainTable()
    table.add_column("", no_wrap=True)
    for title in comparison.titles:
        table.add_column(escape(title), justify="right")
    table.add_column("lead of the first", justify="right")
    table.add_column("95% interval", justify="right", no_wrap=True)
    table.add_column("better")
    for found in comparison.differences:
        scores = [
            MEASURES[found.measure].text(result.scores[found.measure].value)
            for result in comparison.results
        ]
        lead, ends = lead_texts(found)
        better = comparison.titles[found.high < 0] if found.low > 0 or found.high < 0 else "-"
        table.add_row(MEASURES[found.measure].name, *scores, lead, ends, escape(better))
    console.print(table)
    _show_places(output, {"figures": COMPARISON}, open_report)


@contextmanager
def opened(model: str) -> Iterator[Path]:
    """Lends a version's folder, verified.

    Args:
        model: As `version_folder` takes it.

    Raises:
        UserError: It cannot be used.
    """
    with version_folder(model) as found, settled(found, Trust.from_environment()) as folder:
        open_model_folder(folder)
        yield folder


def judged_model(folder: Path) -> JudgedModel:
    """Opens the model of a verified folder, without what libraries print."""
    with quiet_stderr():
        return registered_model(folder)


@contextmanager
def ingested(data: Data, output: Path) -> Iterator[ImageDataset]:
    """Lends the source's images; what was decoded outlives a killed command, to go on with.

    Args:
        data: The source.
        output: Folder that what was decoded is kept below, until the context ends well.

    Raises:
        UserError: The source cannot be used.
    """
    work = output / ".work"
    source, labels = sources_here(data.source), pinned(data.labels)
    with (
        _folder(output),
        going_on(),
        progress_shown("images", errors),
        open_sources(
            source, data.source_version, labels, data.class_folders, judging=True
        ) as opened,
    ):
        ingest(opened, work / "dataset", work / "state", data.max_bad_share, data.slices)
        yield ImageDataset(work / "dataset")
    rmtree(work)


@contextmanager
def _folder(output: Path) -> Iterator[None]:
    """Makes the folder for results; what the disk says of it is one line."""
    with on_disk(output):
        output.mkdir(parents=True, exist_ok=True)
        yield


def _describe(metadata: ModelMetadata, result: ExternalResult, output: Path) -> None:
    """Writes a version's metadata and card with a result in them; a newer one replaces another."""
    others = (one for one in metadata.external if one.dataset_digest != result.dataset_digest)
    described = metadata.model_copy(update={"external": (*others, result)})
    write_atomically(output / METADATA, described.model_dump_json(indent=2) + "\n")
    write_atomically(output / CARD, model_card(described))


def _show_places(output: Path, files: dict[str, str], open_report: bool) -> None:
    """Prints where everything is; opens the report in a browser too, if that is wanted."""
    report = output / REPORT
    places = {"report": report.absolute().as_uri()}
    places |= {name: str(output / file) for name, file in files.items()}
    console.print()
    for name, place in places.items():
        console.print(f"{name:<10}{escape(place)}", soft_wrap=True)
    if open_report:
        show_in_browser(report)
