"""`brain-tumor recalibrate`: a registered model, fitted again on a site's own labelled images."""

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rich.markup import escape

from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.data.sources import source_title
from components.shared.errors import UserError
from components.shared.evaluation.metrics import MEASURES
from components.shared.evaluation.recalibration import Recalibrated, Wanted, recalibrate
from components.shared.model_folder.known_images import ImagesOfDataset
from components.shared.model_folder.metadata import RecalibrationRecord
from components.shared.model_folder.reader import open_model_folder
from components.shared.registry import Registry
from components.shared.reports.numbers import counted, percent
from components.shared.run.parameters import Data, Evaluate
from components.validate.judged import Judged, find_overlap, judge
from pipelines.judge import ingested, judged_model, opened
from pipelines.next_step import reference, show_next
from pipelines.output import PlainTable, console
from pipelines.quiet import quiet_stderr

_SEED = 0
_SHOWN = ("accuracy", "sensitivity", "specificity", "ece")


class Done(NamedTuple):
    """What became of a recalibration."""

    version: int
    address: str
    record: RecalibrationRecord
    found: Recalibrated


def recalibrate_version(model: str, data: Data, how: Evaluate, registry: str, output: Path) -> Done:
    """Fits a registered version again on a site's images, and registers the result.

    Args:
        model: As `version_folder` takes it.
        data: The site's images.
        how: What is wanted of threshold and range, and the resamples.
        registry: Takes the new version; empty for the one that `model` names.
        output: Folder for what is decoded, removed at the end.

    Returns:
        What became of it.

    Raises:
        UserError: The model, the source or the registry cannot be used, or there is too little.
    """
    wanted = Wanted(how.target_sensitivity, how.target_error)
    with ExitStack() as stack:
        folder = stack.enter_context(opened(model))
        models = _registry(model, registry)
        with quiet_stderr():  # TensorFlow: before images are decoded, where it is missing
            from components.register.recalibrated import register_recalibrated
        dataset = stack.enter_context(ingested(data, output))
        known = ImagesOfDataset.open(folder)
        positions, overlap = find_overlap(dataset, known)
        answers = judge(dataset, judged_model(folder), positions, overlap)
        rows = answers.rows
        found = recalibrate(
            dataset.labels[rows],
            answers.model.on(rows),
            dataset.groups[rows],
            wanted,
            samples=how.bootstrap_samples,
            seed=_SEED,
        )
        record = _record(folder, dataset, answers, found, how.bootstrap_samples)
        with TemporaryDirectory(prefix="recalibrated-") as temporary:
            version = register_recalibrated(
                folder,
                Path(temporary, "model"),
                models,
                found=found,
                wanted=wanted,
                record=record,
                dataset=dataset,
                rows=rows,
                known=known,
            )
    return Done(version, models.address(version), record, found)


def _registry(model: str, given: str) -> Registry:
    if not given and os.path.isdir(model):
        raise UserError(f"--registry: say where the new version goes; {model} is a folder alone")
    return Registry.open(given or model.rpartition("#")[0])


def _record(
    folder: Path, dataset: ImageDataset, answers: Judged, found: Recalibrated, samples: int
) -> RecalibrationRecord:
    origin, rows, manifest = open_model_folder(folder), answers.rows, dataset.manifest
    tumor = int((dataset.labels[rows] == TUMOR).sum())
    return RecalibrationRecord(
        from_version=origin.version,
        from_digest=origin.digest,
        source=source_title(manifest.source),
        source_version=manifest.source_version,
        dataset_digest=dataset.digest,
        images=len(rows),
        groups=len(set(dataset.groups[rows].tolist())),
        patients=dataset.count_patients(rows),
        tumor=tumor,
        healthy=len(rows) - tumor,
        left_out=answers.overlap.images,
        overlap_checked=answers.overlap.checked,
        temperature=found.fit.temperature,
        bootstrap_samples=samples,
        seed=_SEED,
        before=found.before,
        after=found.after,
    )


def show_recalibration(done: Done) -> None:
    """Prints what was fitted, what that is worth, and where the new version is."""
    record, found = done.record, done.found
    patients = f", {counted(record.patients, 'patient')}" if record.patients else ""
    console.print(
        f"[bold]{escape(record.source)}[/]: {counted(record.images, 'image')}{patients}, "
        f"{record.groups:,} groups\n"
    )
    table = PlainTable()
    for heading in ("", f"version {record.from_version}", f"version {done.version}, cross-fitted"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in _SHOWN:
        measure = MEASURES[name]
        cells = (measure.texts(scores.of(name)) for scores in (found.before, found.after))
        table.add_row(measure.name, *(f"{value} ({ends})" for value, ends in cells))
    console.print(table)
    console.print()
    if found.unsure:
        sure = found.unsure.held_out
        console.print(f"answered, and not unsure: {percent(sure.coverage.value)}")
        if sure.error and sure.group_error is not None:
            console.print(
                f"wrong among these: {percent(sure.error.value)}, with each group counted once "
                f"{percent(sure.group_error)}"
            )
    else:
        console.print(f"[yellow]{escape(found.never_unsure)}[/]")
    if record.left_out:
        images = counted(record.left_out, "image")
        console.print(f"[yellow]left out: {images} that the model's own dataset holds[/]")
    console.print(f"version {done.version}  {escape(done.address)}", soft_wrap=True)
    show_next("models", "promote", reference(done.address))
