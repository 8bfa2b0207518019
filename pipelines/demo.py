"""The demonstration: the whole pipeline on made-up images, in minutes, on any machine."""

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from components.ingest.sample import write_sample
from components.shared.data.classes import CLASSES
from components.shared.errors import UserError
from components.shared.model_folder.signing import Trust
from components.shared.reports.numbers import percent
from pipelines.catalogue import Pipeline
from pipelines.local import run_local, show_results
from pipelines.output import PlainTable
from pipelines.quiet import quiet_stderr
from pipelines.settings import check_run

PARAMETERS = {
    "source": "sample://?images=700&seed=7",
    "max_trials": 2,
    "tune_epochs": 6,
    "seed": 15,
    "epochs": 12,
    "target_error": 0.05,  # a few hundred images are too few to keep to 2%
    "min_accuracy": 0.7,
    "min_sensitivity": 0.7,
    "min_specificity": 0.6,
}


def run_demo(root: Path, console: Console, open_report: bool = False) -> None:
    """Runs the pipeline, then classifies three images it has never seen.

    Args:
        root: Folder for results.
        console: Where to show progress.
        open_report: Whether to open the report in a browser too.

    Raises:
        UserError: A step failed, or the model did not pass the gate.
    """
    parameters = check_run(Pipeline.training, PARAMETERS)
    run = run_local(Pipeline.training, parameters, root, console)
    if not run.outputs["registered"]:
        show_results(run, console, open_report)
        raise UserError("the demonstration's model did not pass its gate; see the summary above")
    _classify_three(run.outputs["model_uri"], console)
    show_results(run, console, open_report)


def _classify_three(model_uri: str, console: Console) -> None:
    from serving.classifier import Classifier, Prediction

    with TemporaryDirectory(prefix="unseen-") as folder:
        write_sample(folder, images=20, seed=8)
        images = Path(folder).rglob("Brain Tumor/*(1).*"), Path(folder).rglob("Healthy/*([12]).*")
        files = sorted(path for found in images for path in found)
        table = PlainTable()
        for heading in ("three images of another sample", "it is", "the model says", "probability"):
            table.add_column(heading)
        with quiet_stderr():
            classifier = Classifier(model_uri, trust=Trust.from_environment())
        for path, answer in classifier.classify_files(files):
            assert isinstance(answer, Prediction)
            truth = next(name for name in CLASSES if name in path.parts)
            style = "green" if answer.label == truth else "red"
            table.add_row(
                path.name, truth, f"[{style}]{answer.label}[/]", percent(answer.probability)
            )
    console.print()
    console.print(table)
