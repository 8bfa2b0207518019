"""The tune step: search, then show every trial."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from components.shared.data.dataset import Split
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.reports import palette
from components.shared.reports.facts import facts_of
from components.shared.reports.html import plot, write_report
from components.shared.reports.text import csv_text
from components.shared.storage.files import write_atomically
from components.tune.logic import best_trial, search
from components.tune.trial import Trial, Trials
from components.tune.walk import Proposal

TRIALS = "trials.csv"


def tune(
    trials: Trials, split: Split, *, output: str | Path, report: str | Path
) -> tuple[Hyperparameters, list[Trial]]:
    """Searches and writes the trials as a table and a picture.

    Args:
        trials: Who trains and recalls; its records go once the search has ended.
        split: What the trials are trained and scored on.
        output: Folder for the table.
        report: HTML file.

    Returns:
        The best values, and all trials.

    Raises:
        UserError: An architecture is unknown or cannot be built, or every trial failed.
    """
    done = search(trials)
    best = best_trial(done)
    write_atomically(Path(output) / TRIALS, trials_csv(done))
    write_report(
        report,
        "tune/report.html.j2",
        facts_of(trials.dataset, split),
        algorithm=trials.settings.algorithm,
        split=split,
        trials=sorted(enumerate(done, start=1), key=lambda row: -(row[1].score or -1)),
        best=best,
        names=_searched(done),
        trials_plot=plot(draw_trials(done, best)),
    )
    trials.forget([Proposal(trial.values, trial.epochs) for trial in done])
    return best.values, done


def trials_csv(trials: list[Trial]) -> str:
    """Returns all trials as CSV with a header, in the order they were run."""
    names = list(asdict(Hyperparameters()))
    rows: list[list[object]] = []
    for number, trial in enumerate(trials, start=1):
        loss = float(np.mean(trial.losses)) if trial.losses else ""
        score = "" if trial.score is None else trial.score
        outcome = [trial.epochs, score, loss, round(trial.seconds, 2), trial.failure]
        rows.append([number, *asdict(trial.values).values(), *outcome])
    return csv_text(
        ["trial", *names, "epochs", "val_accuracy", "val_loss", "seconds", "failure"], rows
    )


def draw_trials(trials: list[Trial], best: Trial) -> Figure:
    """Draws each trial's accuracy over each hyperparameter; failed ones stand below the axis."""
    figure = Figure(figsize=(10.5, 3.2))
    scores = [trial.score for trial in trials if trial.score is not None]
    low, high = min(scores), max(scores)
    margin = max((high - low) * 0.12, 0.01)
    names = _searched(trials)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        choices = sorted({getattr(trial.values, name) for trial in trials})
        for number, trial in enumerate(trials):
            # A little aside, so that trials of one value do not hide each other.
            x = choices.index(getattr(trial.values, name)) + 0.24 * (number / len(trials) - 0.5)
            if trial.score is None:
                axes.plot(x, low - margin, "x", color=palette.BAD)
            else:
                axes.plot(x, trial.score, "o", color=palette.ACCENT, alpha=0.75, markersize=6)
            if trial is best:
                axes.plot(
                    x,
                    trial.score,
                    "o",
                    color="none",
                    markeredgecolor=palette.INK,
                    markersize=12,
                )
        axes.set_xticks(range(len(choices)), [f"{choice}" for choice in choices])
        axes.set(xlabel=name.replace("_", " "), xlim=(-0.6, len(choices) - 0.4))
        axes.set_ylim(low - 2 * margin, high + margin)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("validation accuracy")
    return figure


def _searched(trials: list[Trial]) -> list[str]:
    """Returns the names of what differs between trials."""
    rows = [asdict(trial.values) for trial in trials]
    differing = [name for name in rows[0] if len({row[name] for row in rows}) > 1]
    return differing or ["learning_rate"]
