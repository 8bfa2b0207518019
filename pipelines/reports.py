"""What a run on this machine leaves for people: its reports in one folder, and a first page."""

import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.collect.results import CROSS_VALIDATION, PREDICTIONS, CrossValidation
from components.shared.evaluation.comparison import floors_by_accuracy
from components.shared.evaluation.external import EXTERNAL
from components.shared.evaluation.metrics import MEASURES, Scores
from components.shared.evaluation.predictors import Compared
from components.shared.evaluation.results import EVALUATION, Evaluation
from components.shared.model_folder.contract import CARD
from components.shared.reports.collection import Report, write_reports
from components.shared.reports.numbers import count, decimal
from pipelines.costs import StepCost

_REPORTS = {  # by the output of the step: file, title and meaning
    "data_report": ("data", "Data", "What the files are, what repeats, what gives the class away."),
    "split_report": ("split", "Split", "What trains, what validates and what is held out."),
    "folds_report": ("folds", "Folds", "What each fold holds out."),
    "tune_report": ("search", "Search", "Every trial of the search for hyperparameters."),
    "train_report": ("training", "Training", "The curves of the training, epoch by epoch."),
    "evaluation_report": (
        "evaluation",
        "Evaluation",
        "What the model is worth on images it has not seen, and where it is wrong.",
    ),
    "validation_report": ("other-source", "Other source", "What it is worth elsewhere."),
    "registration": ("gate", "Gate", "Whether the model passed, and against what."),
    "registered_model": ("model-card", "Model card", "What the registered version is for."),
    "cross_validation_report": (
        "cross-validation",
        "Cross-validation",
        "What the training is worth, with each image held out once.",
    ),
    "suspicious_labels": ("labels", "Labels in doubt", "Images whose label may be wrong."),
}
_CARDS = ("accuracy", "sensitivity", "specificity", "auroc")


def report_training(
    folder: Path, steps: list[StepCost], outputs: Mapping[str, Any], revision: str, log: Path
) -> Path:
    """Writes the reports of a training.

    Args:
        folder: Takes them.
        steps: The run's, with what they made.
        outputs: Of the pipeline.
        revision: Of the code; empty where unknown.
        log: Of the run.

    Returns:
        The first page.
    """
    found = Evaluation.open(outputs["evaluation"].path)
    part, model = found.held_out, outputs["model_uri"]
    return _write(
        folder,
        "Training run",
        steps,
        revision,
        log,
        verdict="The model passed its gate and is registered."
        if model
        else "The model did not pass its gate: nothing was registered.",
        cards=_cards(part, f"{found.split_strategy} split"),
        about=f"On {count(part.images)} held-out images in {count(part.groups)} groups of "
        "near-duplicates. Below each figure is its 95% interval.",
        places=({"model": model} if model else {})
        | {"figures": str(Path(outputs["evaluation"].path) / EVALUATION), "log": str(log)},
    )


def report_cross_validation(
    folder: Path, steps: list[StepCost], outputs: Mapping[str, Any], revision: str, log: Path
) -> Path:
    """Writes the reports of a cross-validation; arguments and result as of `report_training`."""
    results = Path(outputs["cross_validation"].path)
    found = CrossValidation.open(results)
    return _write(
        folder,
        "Cross-validation",
        steps,
        revision,
        log,
        verdict=f"Each of {count(found.images)} images was predicted once, by a network that had "
        "not seen it.",
        cards=_cards(found.mean, f"mean of {len(found.folds)} folds"),
        about=f"Of {count(found.images)} images in {count(found.groups)} groups of "
        "near-duplicates. Below each figure is its 95% interval.",
        places={
            "figures": str(results / CROSS_VALIDATION),
            "predictions": str(results / PREDICTIONS),
            "log": str(log),
        },
    )


def _write(
    folder: Path, title: str, steps: list[StepCost], revision: str, log: Path, **shown: Any
) -> Path:
    facts = {
        "run": log.stem,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "commit": revision or "unknown",
        "command": shlex.join(["brain-tumor", *sys.argv[1:]]),
    }
    costs = [
        (
            step.step,
            "cached" if step.cached else f"{decimal(step.seconds, 1)} s",
            "" if step.cached else f"{decimal(step.peak_memory_bytes / 1e9, 2)} GB",
        )
        for step in steps
    ]
    return write_reports(folder, title, _found(steps), facts, steps=costs, **shown)


def _found(steps: Iterable[StepCost]) -> list[Report]:
    """Returns what the steps reported, in the order of the steps."""
    found: list[Report] = []
    for step in steps:
        for output, (name, title, meaning) in _REPORTS.items():
            if output not in step.outputs:
                continue
            source = Path(step.outputs[output].path)
            if output == "registered_model":
                source = source / CARD
            if output == "validation_report":
                if not (Path(step.outputs["validation"].path) / EXTERNAL).exists():
                    continue  # there was no other source
                others = 1 + sum(report.name.startswith(name) for report in found)
                name, title = f"{name}-{others}", f"{title} {others}"
            if source.is_file():
                found.append(Report(name, title, meaning, source))
    return found


def _cards(compared: Compared[Scores], what: str) -> list[tuple[str, str, str]]:
    cards = []
    for name in _CARDS:
        measure = MEASURES[name]
        value, ends = measure.texts(compared.model.of(name))
        cards.append((measure.title, value, ends))
    cards[0] = (f"{cards[0][0]}, {what}", *cards[0][1:])
    floors = floors_by_accuracy(compared)
    told = ", ".join(f"{title} {value}" for title, value in floors)
    return [*cards, ("Accuracy of the best baseline", floors[0][1], told)]
