"""The command line: `brain-tumor run | cross-validate | compile | submit | predict | …`.

Importing it costs little, so that help and completion answer at once: what a command alone needs
(KFP, TensorFlow, the Kubernetes client) that command imports.
"""

import functools
import inspect
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from components.shared.command_line.help_page import show_whole
from components.shared.errors import UserError
from components.shared.reports.numbers import decimal
from components.shared.run.parameters import Data, DriftRule, Evaluate, Group, Parameter
from components.shared.storage.files import write_atomically
from pipelines import models, settings
from pipelines.catalogue import Pipeline
from pipelines.cluster import Cluster
from pipelines.deploy import deploy
from pipelines.ending import ended
from pipelines.output import Format, PlainTable, console, open_to_every_terminal, print_json
from serving.cli import serve

if TYPE_CHECKING:
    from components.drift.results import Drift

app = typer.Typer(
    help="From brain-MRI images to a served classifier: a Kubeflow pipeline, here or on a cluster.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file of parameters. Options override it."),
]
Runs = Annotated[Path, typer.Option(help="Folder for results, cache and registry.")]
OpenReport = Annotated[bool, typer.Option("--open", help="Open the report in a browser.")]
Which = Annotated[Pipeline, typer.Option(help="Which pipeline.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"brain-tumor {version('brain-tumor')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Takes what is given before a command."""


def main() -> None:
    """Entry point."""
    open_to_every_terminal()
    sys.exit(ended(_run_command))


def _run_command() -> int | None:
    try:
        Path.cwd()
    except FileNotFoundError as error:  # KFP would fail with a traceback
        raise UserError("the working directory was deleted; change to one that is there") from error
    # Named, also for `python -m pipelines.cli`.
    status: int | None = app(prog_name="brain-tumor", standalone_mode=False)
    return status


def takes_parameters(*pipelines: Pipeline) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each parameter of some pipelines.

    The command gets them as its keyword argument `given`: the checked values that the user set,
    from the configuration file and the options. Where there are several pipelines, its own
    argument `pipeline` says which one they are for.
    """
    known: dict[str, Parameter] = {}
    for parameter in (p for pipeline in pipelines for p in pipeline.run.parameters()):
        known.setdefault(parameter.name, parameter)

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_parameters(**arguments: Any) -> None:
            from_options = {name: arguments.pop(name) for name in known}
            config = arguments.pop("config")
            options = {name: value for name, value in from_options.items() if value is not None}
            run = arguments.get("pipeline", pipelines[0]).run
            given = settings.check_given(run, options, config)
            command(given=given.model_dump(include=given.model_fields_set), **arguments)

        own = [p for name, p in inspect.signature(command).parameters.items() if name != "given"]
        options = [_option(parameter) for parameter in known.values()]
        with_parameters.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
        return with_parameters

    return decorated


def takes(
    group: type[Group], name: str, required: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each parameter of a group.

    Args:
        group: The group's model.
        name: The command's argument that gets it, checked.
        required: Parameter that has to be given, whatever its default in a run is.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_group(**arguments: Any) -> None:
            given = {field: arguments.pop(field) for field in group.model_fields}
            set_here = {field: value for field, value in given.items() if value is not None}
            command(**{name: settings.check_given(group, set_here)}, **arguments)

        own = [
            p for argument, p in inspect.signature(command).parameters.items() if argument != name
        ]
        options = [_option(one, required=one.name == required) for one in group.parameters()]
        with_group.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
        return with_group

    return decorated


takes_cluster = takes(Cluster, "cluster")  # what is compiled in


def _option(parameter: Parameter, required: bool = False) -> inspect.Parameter:
    """Returns an option that says what it is for and what it is when unset; unset it is None."""
    kind: Any = str if parameter.type in (dict, list) else parameter.type
    metavar = "|".join(parameter.choices) or ("json" if kind is not parameter.type else "")
    if parameter.repeated:
        metavar = kind.__name__  # not that of a list: one is given at a time
    shown = "empty" if parameter.default == "" else json.dumps(parameter.default).strip('"')
    default = "" if required else f" [dim]\\[default: {escape(shown)}][/]"
    option = typer.Option(
        help=f"{parameter.description}{default}",
        metavar=f"<{metavar}>" if metavar else None,
        show_default=False,
        rich_help_panel=parameter.panel,
    )
    several = list[kind] if parameter.repeated else kind
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[several if required else several | None, option],
    )


@app.command()
@takes_parameters(Pipeline.training)
def run(
    given: dict[str, Any],
    runs: Runs = Path("runs"),
    open_report: OpenReport = False,
    config: Config = None,
) -> None:
    """Run the whole pipeline on this machine.

    If a run was stopped, give the same command again: it resumes. Finished steps come from a cache.

    [dim]brain-tumor run --source path/to/archive.zip --epochs 20[/]
    """
    from pipelines.local import run_local, show_results
    from pipelines.next_step import reference, show_next

    result = run_local(Pipeline.training, given, runs, console)
    show_results(result, console, open_report)
    if model := result.outputs["model_uri"]:
        show_next("predict", reference(model), "path/to/images")


@app.command()
@takes_parameters(Pipeline.cross_validation)
def cross_validate(
    given: dict[str, Any],
    runs: Runs = Path("runs"),
    open_report: OpenReport = False,
    config: Config = None,
) -> None:
    """Measure a training on images it has not seen, fold by fold, on this machine.

    It also lists labels that may be wrong. If it was stopped, give the same command again: it
    resumes.

    [dim]brain-tumor cross-validate --source path/to/archive.zip --folds 5 --epochs 20[/]
    """
    from pipelines.local import run_local, show_cross_validation
    from pipelines.next_step import show_next_run

    result = run_local(Pipeline.cross_validation, given, runs, console)
    show_cross_validation(result, console, open_report)
    show_next_run(given)


@app.command()
@takes_cluster
def compile(
    cluster: Cluster,
    pipeline: Which = Pipeline.training,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write. Without it: training.yaml here, or as the pipeline is called. "
            "--check compares with the file in the package.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing. Fail if the file differs.")
    ] = False,
    kubernetes_manifest: Annotated[
        str | None,
        typer.Option(
            metavar="<namespace>",
            help="Write Pipeline and PipelineVersion objects for this namespace, for GitOps.",
        ),
    ] = None,
) -> None:
    """Compile a pipeline to YAML for a cluster."""
    from pipelines import compile as compiling

    # Only who names the committed file writes it: `make compile` does.
    output = output or (pipeline.committed if check else Path(pipeline.committed.name))
    if kubernetes_manifest is not None:
        text = compiling.manifest(pipeline, cluster, kubernetes_manifest)
    else:
        text = compiling.compiled(pipeline, cluster)
    if check:
        compiling.check(output, text)
        console.print(f"{escape(str(output))} is what the code compiles to", soft_wrap=True)
    else:
        write_atomically(output, text)
        console.print(f"wrote {escape(str(output))}", soft_wrap=True)


@app.command()
@takes_parameters(*Pipeline)
@takes_cluster
def submit(
    given: dict[str, Any],
    cluster: Cluster,
    endpoint: Annotated[
        str,
        typer.Option(
            envvar="KFP_ENDPOINT", help="Address of KFP, for example http://localhost:8080."
        ),
    ],
    pipeline: Which = Pipeline.training,
    token: Annotated[
        str, typer.Option(envvar="KFP_TOKEN", help="Bearer token.", show_default=False)
    ] = "",
    cookie: Annotated[
        str,
        typer.Option(
            envvar="KFP_COOKIE",
            help="Session cookie, NAME=VALUE, if a login page protects KFP.",
            show_default=False,
        ),
    ] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option(envvar="KFP_CA_FILE", help="PEM file of a private authority to trust."),
    ] = None,
    namespace: Annotated[
        str, typer.Option(envvar="KFP_NAMESPACE", help="Your namespace in a multi-user KFP.")
    ] = "",
    experiment: Annotated[
        str, typer.Option(help="Experiment of the run. Created if missing.")
    ] = "brain-tumor",
    run_name: Annotated[str, typer.Option(help="Name of the run.")] = "",
    service_account: Annotated[
        str,
        typer.Option(
            help="ServiceAccount of the steps. Empty takes KFP's own.", show_default=False
        ),
    ] = "",
    cron: Annotated[
        str,
        typer.Option(
            help="Start a run on a schedule, for example '0 6 * * 1' for Mondays at six. "
            "It replaces the recurring run of the same name in the experiment.",
            show_default=False,
        ),
    ] = "",
    config: Config = None,
) -> None:
    """Upload a pipeline as a version named by the git revision, and start a run of it.

    [dim]brain-tumor submit --endpoint http://localhost:8080 --image IMAGE@DIGEST --epochs 20[/]
    """
    from pipelines.submit import submit as submit_run

    done = submit_run(
        pipeline=pipeline,
        endpoint=endpoint,
        token=token,
        namespace=namespace,
        experiment=experiment,
        run_name=run_name,
        parameters=given,
        cluster=cluster,
        service_account=service_account,
        cookie=cookie,
        ca_file=ca_file,
        cron=cron,
    )
    kind, page = ("recurring run", "recurringrun") if cron else ("run", "runs")
    console.print(f"pipeline version {done.version}, {kind} {done.run_id}", soft_wrap=True)
    console.print(f"{endpoint.rstrip('/')}/#/{page}/details/{done.run_id}", soft_wrap=True)


Model = Annotated[
    str,
    typer.Argument(
        help="Registered version: a folder, or REGISTRY#VERSION, for example "
        "runs/registry#champion."
    ),
]


@app.command()
@takes(Data, "data", required="source")
def evaluate(
    model: Model,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = Path("runs/evaluation"),
    open_report: OpenReport = False,
) -> None:
    """Measure a registered model on images of another source than its own dataset.

    One class is enough. Images labelled no brain MRI tell how many the model flags.

    [dim]brain-tumor evaluate runs/registry#champion --source other.zip --labels labels.csv[/]
    """
    from pipelines.judge import evaluate_version, show_evaluation

    show_evaluation(evaluate_version(model, data, output), output, open_report)


@app.command()
@takes(Data, "data", required="source")
def compare(
    model: Model,
    other: Model,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = Path("runs/comparison"),
    open_report: OpenReport = False,
) -> None:
    """Compare two registered models on the same images of another source.

    [dim]brain-tumor compare runs/registry#2 runs/registry#1 --source other.zip[/]
    """
    from pipelines.judge import compare_versions, show_comparison

    show_comparison(compare_versions((model, other), data, output), output, open_report)


@app.command()
@takes(Data, "data", required="source")
@takes(Evaluate, "how")
def recalibrate(
    model: Model,
    data: Data,
    how: Evaluate,
    registry: Annotated[
        str, typer.Option(help="For the new version. Empty takes that of MODEL.")
    ] = "",
    output: Annotated[Path, typer.Option(help="Folder for decoded images.")] = Path(
        "runs/recalibration"
    ),
) -> None:
    """Fit a registered model's temperature and thresholds again, on a site's labelled images.

    The result is a new version, whose card says what it came from. The network stays as it is.

    [dim]brain-tumor recalibrate runs/registry#champion --source site.zip --labels labels.csv[/]
    """
    from pipelines.recalibrate import recalibrate_version, show_recalibration

    show_recalibration(recalibrate_version(model, data, how, registry, output))


@app.command()
def predict(
    model: Model,
    files: Annotated[
        list[Path],
        typer.Argument(readable=False, help="Images and volumes, or folders of them."),
    ],
    slices: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of slices to read of a volume. 16 if not set."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.table,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="<path>", help="CSV file to write answers to, or - to print them so."),
    ] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>", help="Folder for pictures of the images with the evidence over them."
        ),
    ] = None,
) -> None:
    """Classify images and volumes with a registered model.

    Exit status 1 if a file could not be classified. This is not a diagnosis.

    [dim]brain-tumor predict runs/registry#champion scans --csv answers.csv --heatmaps maps[/]
    """
    from pipelines.predict import STANDARD_OUTPUT, answers, show_answers, show_summary, write_csv

    if csv and output is Format.json:
        raise UserError("--csv and --format json: give one of the two")
    found = answers(model, files, slices, heatmaps)
    if csv:
        summary = write_csv(found, csv)
        if csv != STANDARD_OUTPUT:
            show_summary(summary, csv, heatmaps)
        failed = bool(summary.failed)
    else:
        rows = list(found)
        failed = any("error" in row for row in rows)
        if output is Format.json:
            print_json(rows)
        else:
            show_answers(rows)
    if failed:
        raise typer.Exit(1)


@app.command()
@takes(DriftRule, "rule")
def drift(
    rule: DriftRule,
    model: Model,
    report: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("drift.html"),
    open_report: OpenReport = False,
    output: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.table,
) -> None:
    """Compare the images that a model gets now with those it was measured on.

    Exit status 1 if something drifted.

    [dim]brain-tumor drift runs/registry#champion --prometheus http://localhost:9090[/]
    """
    from components.drift.logic import drift_of
    from components.drift.report import write_drift_report
    from pipelines.output import show_in_browser

    found = drift_of(model, rule)
    write_drift_report(report, found)
    if output is Format.json:
        print_json(found.model_dump(mode="json"))
    else:
        console.print(_drift_table(found))
        console.print(f"version {found.version}: {escape(found.verdict)}", soft_wrap=True)
        console.print(f"report: {escape(report.absolute().as_uri())}", soft_wrap=True)
    if open_report:
        show_in_browser(report)
    if found.drifted:
        raise typer.Exit(1)


app.command()(serve)
app.command()(deploy)
app.add_typer(models.app, name="models")


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to write. Created if missing.")],
    images: Annotated[
        int, typer.Option(min=20, max=100_000, help="Number of usable images.")
    ] = 240,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="The same seed gives the same files.")
    ] = 7,
) -> None:
    """Write made-up images in the layout of the Kaggle dataset."""
    from components.ingest.sample import write_sample
    from pipelines.next_step import show_next

    write_sample(folder, images, seed)
    console.print(
        f"wrote {images} images, and a few broken files, to {escape(str(folder))}", soft_wrap=True
    )
    show_next("run", "--source", str(folder))


@app.command()
def demo(
    runs: Annotated[Path, typer.Option(help="Folder for results.")] = Path("runs/demo"),
    open_report: OpenReport = False,
) -> None:
    """Run the whole pipeline on made-up images and classify three with the result."""
    from pipelines.demo import run_demo
    from pipelines.next_step import show_next

    run_demo(runs, console, open_report)
    show_next("predict", f"{runs}/registry#latest", "path/to/images")


def _drift_table(found: "Drift") -> Table:
    table = PlainTable()
    table.add_column("quantity")
    for heading in ("index", "95% interval", "by chance", "p, together"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for one in found.quantities:
        table.add_row(
            one.name,
            decimal(one.psi),
            f"{decimal(one.low)} to {decimal(one.high)}",
            decimal(one.by_chance),
            decimal(one.adjusted_p_value),
            "[red]drift[/]" if one.drifted else "",
        )
    return table


show_whole(app, models.app)

if __name__ == "__main__":
    main()
