"""The same pipelines on this machine, through kfp.local."""

import hashlib
import itertools
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TextIO

from kfp import local
from kfp.local.logging_utils import local_logger_context
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from components.collect.results import CrossValidation
from components.ingest.labels_file import pinned
from components.ingest.several import sources_fingerprint, sources_here, sources_pinned
from components.shared.errors import UserError
from components.shared.evaluation.metrics import MEASURES, Scores
from components.shared.evaluation.predictors import PREDICTORS, Compared
from components.shared.evaluation.results import Evaluation
from components.shared.model_folder.signing import Trust
from components.shared.registry.reference import pinned_version
from components.shared.run.step import TERMINATION_VARIABLE
from components.shared.storage.store import on_disk
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from pipelines.costs import StepCost, step_costs
from pipelines.ending import FaultError, Stopped, fault_line, say_stopped
from pipelines.output import PlainTable, show_in_browser
from pipelines.processes import at_a_time, loops_over_outputs, steps_as_processes
from pipelines.progress_bar import ProgressBar
from pipelines.reports import report_cross_validation, report_training
from pipelines.settings import check_together
from pipelines.step_cache import cached_by_code
from pipelines.transcript import Step, Transcript, plain
from pipelines.version import git_revision

PROJECT = Path(__file__).parent.parent


@dataclass
class LocalRun:
    """A finished run.

    Attributes:
        outputs: The pipeline's outputs: values, and artifacts with a local `path`.
        costs: What each step cost.
        log: File with everything that was printed.
        revision: Of the code; empty where unknown.
    """

    outputs: dict[str, Any]
    costs: list[StepCost]
    log: Path
    revision: str

    @property
    def report(self) -> Path:
        """The folder for its reports."""
        return self.log.with_suffix("") / "report"


def run_local(
    pipeline: Pipeline, parameters: dict[str, Any], root: Path, console: Console
) -> LocalRun:
    """Runs a pipeline on this machine.

    Finished steps are taken from the cache when data, parameters and code are the same, and a
    step that was killed goes on where it was: the same command again resumes a run. A model that
    the same command registered before is not registered again.

    Args:
        pipeline: Which.
        parameters: Checked run parameters.
        root: Folder for results, cache, unfinished work and, unless given, the registry.
        console: Where to show progress.

    Returns:
        The outputs and what the steps cost.

    Raises:
        UserError: A step failed; its own words.
        FaultError: A step failed by a fault of the program.
        Stopped: A signal ended the run.
    """
    root = root.absolute()
    if not str(root).isprintable():  # KFP keeps paths as UTF-8
        raise UserError(f"runs folder {root}: its path is not plain text; give another folder")
    here = {
        "registry": str(root / "registry"),
        "state_root": str(root / ".state"),
        "git_revision": _revision_if_any(),
    }
    alone = {"gpu_count": "0", "ingest_workers": 1, "train_workers": 1}  # one takes all CPUs
    parameters = here | parameters | alone
    parameters = {
        name: parameters[name] for name in parameters if name in pipeline.run.model_fields
    }
    cluster = Cluster(parallelism=1)  # one takes all CPUs
    check_together(parameters, cluster)
    Trust.from_environment()  # a key that cannot be used is told now, not after hours
    if "source" in parameters:
        parameters["source"] = sources_here(parameters["source"])
    if "from_model" in parameters:
        parameters["from_model"] = pinned_version(parameters["from_model"])
    if parameters.get("validate_sources"):
        parameters["validate_sources"] = sources_pinned(parameters["validate_sources"])
    parameters["labels"] = pinned(parameters.get("labels", ""))
    if not parameters.get("source_version"):
        parameters["source_version"] = sources_fingerprint(
            parameters.get("source", "kaggle://"),
            labels=parameters["labels"],
            class_folders=parameters.get("class_folders", ""),
        )

    with on_disk(root):
        defined = pipeline.define(cluster, _run_id(pipeline, parameters))
        return _run(defined, parameters, root, console)


def _run(defined: Any, parameters: dict[str, Any], root: Path, console: Console) -> LocalRun:
    """Runs a pipeline whose parameters are complete."""
    root.mkdir(parents=True, exist_ok=True)
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root),
        enable_caching=True,
        cache_root=str(root / ".cache"),
    )
    console.file = sys.stdout  # the real one, whatever stands in for it below
    with (
        _new_log(root) as file,
        NamedTemporaryFile(prefix="last-words-") as last_words,
        _environment(last_words.name),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # that images and requests mean nothing here
        log = Path(file.name)
        try:
            # Within a task KFP logs to standard output; of cached ones it tells outside.
            with (
                ProgressBar(console) as bar,
                redirect_stdout(
                    transcript := Transcript(console, bar, file, Path(last_words.name))
                ),
                local_logger_context(),
                steps_as_processes() as statuses,
                loops_over_outputs(),
                at_a_time(parameters.get("tune_workers", 1)),
                cached_by_code(),
                step_costs() as costs,
            ):
                task = defined(**parameters)
        except RuntimeError as error:
            transcript.end()
            raise _failure(transcript.failed, statuses, error, log) from error
        except Stopped:
            where = f" in {transcript.step.name}" if transcript.step else ""
            say_stopped(f"stopped{where}; give the same command again to resume; the log is {log}")
            raise
    return LocalRun(dict(task.outputs), costs, log, parameters["git_revision"])


def _failure(
    step: Step | None, statuses: list[int], error: RuntimeError, log: Path
) -> UserError | FaultError:
    """Returns why a run failed: as its step said, or what is known of how the step ended."""
    kept = f"finished steps are kept for the next run; the whole log is {log}"
    if not step:
        return FaultError(fault_line(plain(str(error)), log))
    if step.crashed:
        return FaultError(fault_line(step.last_words or f"{step.name}: {step.last_line}", log))
    if step.last_words:
        return UserError(f"{step.last_words}; {kept}")
    status = next((status for status in statuses if status), 0)
    if status == -signal.SIGKILL:
        return UserError(
            f"{step.name}: killed, as the system does where memory runs out; stop other programs "
            f"or give smaller parameters; {kept}"
        )
    return UserError(f"{step.name}: ended with status {status}: {step.last_line}; {kept}")


def _new_log(root: Path) -> TextIO:
    """Opens a log that no other run writes, though it began in the same second."""
    name = time.strftime("run-%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        path = root / (f"{name}.log" if number == 1 else f"{name}-{number}.log")
        with suppress(FileExistsError):
            return path.open("x", encoding="utf-8", errors="backslashreplace")
    raise AssertionError  # counting has no end


def show_results(run: LocalRun, console: Console, open_report: bool = False) -> None:
    """Prints what each step of a training cost, the held-out figures and where the report is.

    Args:
        run: The training.
        console: Where to print.
        open_report: Whether to open the report in a browser too.
    """
    _show_costs(run, console)
    found = Evaluation.open(run.outputs["evaluation"].path)
    console.print(_figures(f"{found.held_out.images:,} held-out images", found.held_out))
    if without := found.without_contradicted:
        console.print(_figures(f"{without.images:,} not contradicted", without))
    page = report_training(run.report, run.costs, run.outputs, run.revision, run.log)
    if model := run.outputs["model_uri"]:
        _show_places({"model": model, "report": page.as_uri()}, console)
    else:
        _show_refusal(_refused_for(run.costs), page, console)
    if open_report:
        show_in_browser(page)


def show_cross_validation(run: LocalRun, console: Console, open_report: bool = False) -> None:
    """Prints what each step cost, the folds' mean figures and where the report is.

    Args:
        run: The cross-validation.
        console: Where to print.
        open_report: Whether to open the report in a browser too.
    """
    _show_costs(run, console)
    result = CrossValidation.open(run.outputs["cross_validation"].path)
    console.print(_figures(f"mean of {len(result.folds)} folds", result.mean))
    if without := result.without_contradicted:
        console.print(_figures(f"{without.images:,} not contradicted", without.mean))
    page = report_cross_validation(run.report, run.costs, run.outputs, run.revision, run.log)
    _show_places({"report": page.as_uri()}, console)
    if open_report:
        show_in_browser(page)


def _show_costs(run: LocalRun, console: Console) -> None:
    table = PlainTable()
    table.add_column("step")
    table.add_column("time", justify="right")
    table.add_column("peak memory", justify="right")
    for cost in run.costs:
        if cost.cached:
            table.add_row(cost.step, "cached", "")
        else:
            memory = f"{cost.peak_memory_bytes / 1e9:.2f} GB"
            table.add_row(cost.step, f"{cost.seconds:.1f} s", memory)
    total = sum(cost.seconds for cost in run.costs if not cost.cached)
    table.add_row("total", f"{total:.1f} s", "", style="bold")
    console.print()
    console.print(table)
    console.print()


def _refused_for(costs: list[StepCost]) -> list[str]:
    """Returns why the gate refused the model, a sentence for each bound that it failed."""
    made = [cost.outputs["registration"] for cost in costs if "registration" in cost.outputs]
    return [reason for one in made for reason in one.metadata.get("reasons", ())]


def _show_refusal(reasons: list[str], page: Path, console: Console) -> None:
    """Prints why the gate refused the model, where that is shown, and what to change."""
    console.print()
    console.print("[red]not registered: the model did not pass the gate[/]")
    for reason in reasons:
        console.print(f"- {escape(reason)}", soft_wrap=True)
    _show_places({"gate": page.with_name("gate.html").as_uri(), "report": page.as_uri()}, console)
    console.print(
        "next    train longer (--epochs), give more images (--source), or allow less "
        "(--min-accuracy and its like); finished steps are kept",
        soft_wrap=True,
    )


def _show_places(places: dict[str, str], console: Console) -> None:
    console.print()
    for name, place in places.items():  # no table: it would cut the paths
        console.print(Text(f"{name:<8}{place}"), soft_wrap=True)


def _figures(title: str, compared: Compared[Scores]) -> Table:
    """Returns the figures of the model and of the floors, with their intervals."""
    table = PlainTable()
    table.add_column(title)
    for kind in PREDICTORS.values():
        table.add_column(kind.title, justify="right")
    for name in ("accuracy", "sensitivity", "specificity", "auroc"):
        measure = MEASURES[name]
        cells = []
        for predictor in PREDICTORS:
            found = compared.of(predictor).of(name)
            # Without leading zeros and percent signs, so that the table fits 80 columns.
            ends = "–".join(
                measure.text(end).removesuffix("%").removeprefix("0" * (not measure.is_share))
                for end in (found.low, found.high)
            )
            cells.append(f"{measure.text(found.value)} [dim]({ends})[/]")
        table.add_row(measure.name, *cells)
    return table


@contextmanager
def _environment(last_words: str) -> Iterator[None]:
    """What the steps' processes inherit: lines as they come, and TensorFlow without chatter.

    Args:
        last_words: File for why a step ends.
    """
    wanted = {
        TERMINATION_VARIABLE: last_words,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # whatever the terminal's is
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONWARNINGS": "ignore",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _run_id(pipeline: Pipeline, parameters: dict[str, Any]) -> str:
    """Returns the same id for the same command, so that a run that goes on is still the run."""
    what = json.dumps([pipeline, parameters], sort_keys=True)
    return f"local-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def _revision_if_any() -> str:
    """Returns the git revision, or nothing where the project is no checkout."""
    try:
        return git_revision()
    except UserError:
        return ""
