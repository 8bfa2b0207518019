"""The search for hyperparameters: by one process, or by many that share records."""

import math
import statistics
from collections.abc import Sequence

from components.shared.errors import UserError
from components.shared.run.progress import begun_line
from components.tune.rounds import Numbered
from components.tune.settings import Settings
from components.tune.space import searched_values
from components.tune.trial import Trial, Trials
from components.tune.walk import Proposal, Walk


def search(trials: Trials) -> list[Trial]:
    """Searches; a trial that has a record is not trained again, whoever trained it.

    Args:
        trials: Who trains and recalls.

    Returns:
        All trials, in the order they were proposed.

    Raises:
        UserError: An architecture is unknown or cannot be built, every trial failed, or a number is
            out of range.
    """
    trials.settings.check(trials.start)
    done: list[Trial] = []
    walk = Walk(trials.settings, trials.start)
    while proposals := walk.ask():
        for proposal in proposals:
            done.append(finish(trials, len(done) + 1, proposal, done))
        walk.tell([trial.score for trial in done[-len(proposals) :]])
    if all(trial.failure for trial in done):
        raise UserError(
            f"tune: all {len(done)} trials failed, the last with: {done[-1].failure}; "
            "give more trials or another algorithm"
        )
    return done


def next_round(trials: Trials) -> list[Numbered]:
    """Returns what the workers of a search are to train next; nothing where all is trained.

    Args:
        trials: Who recalls what was trained.

    Raises:
        UserError: The search cannot be, see `Settings.check`.
    """
    trials.settings.check(trials.start)
    before = 0
    walk = Walk(trials.settings, trials.start)
    while proposals := walk.ask():
        recalled = [trials.recall(proposal) for proposal in proposals]
        missing: dict[Proposal, int] = {}
        for number, (proposal, trial) in enumerate(
            zip(proposals, recalled, strict=True), before + 1
        ):
            if trial is None:
                missing.setdefault(proposal, number)
        if missing:
            return [Numbered(number, proposal) for proposal, number in missing.items()]
        walk.tell([trial.score for trial in recalled if trial])
        before += len(proposals)
    return []


def count_rounds(settings: Settings) -> int:
    """Returns in how many rounds the workers of a search train all of its trials.

    Args:
        settings: Of the search.
    """
    if settings.algorithm == "bayesian":  # which takes long to ask, and has no end of its own
        return math.ceil(settings.trials / settings.workers)
    rounds = 0
    walk = Walk(settings)
    while proposals := walk.ask():
        walk.tell([0.0] * len(proposals))
        rounds += 1
    return rounds


def _begun(settings: Settings, number: int, before: Sequence[Trial]) -> str:
    """Returns how the line of a trial begins: `trial 3 of 8 (12 min left)`, as far as is known."""
    if settings.algorithm == "hyperband":
        return f"trial {number}"
    left = None
    if before:
        each = statistics.fmean(trial.seconds for trial in before)
        left = each * (settings.trials - number + 1) / settings.workers
    return begun_line(number, settings.trials, "trial", left)


def best_trial(trials: list[Trial]) -> Trial:
    """Returns the trial of greatest mean validation accuracy; equals are decided by the loss."""
    completed = [trial for trial in trials if not trial.failure]
    return max(completed, key=lambda t: (t.score, -statistics.fmean(t.losses)))


def finish(trials: Trials, number: int, proposal: Proposal, before: Sequence[Trial] = ()) -> Trial:
    """Trains a proposal, or recalls what came of it, and prints so.

    Args:
        trials: Who trains and recalls.
        number: Of the trial, from 1.
        proposal: What to try.
        before: The trials of smaller numbers, where they are known.

    Raises:
        UserError: The network cannot be built.
    """
    values = proposal.values
    searched = searched_values(values.architecture, trials.start)
    settings = "  ".join(f"{name} {getattr(values, name):g}" for name in searched)
    print(
        f"{_begun(trials.settings, number, before)}: {values.architecture}  {settings}", flush=True
    )
    trial = trials.recall(proposal)
    if trial:
        print(_reuse_reason(trial, before, trials.settings.workers), flush=True)
    else:
        trial = trials.train(proposal)
    if trial.score is None:
        print(f"failed: {trial.failure}", flush=True)
    else:
        print(f"validation accuracy {trial.score:.4f}", flush=True)
    return trial


def _reuse_reason(recalled: Trial, before: Sequence[Trial], workers: int) -> str:
    """Returns why a trial is not trained, for people."""
    for number, trial in enumerate(before, 1):
        if (trial.values, trial.epochs) == (recalled.values, recalled.epochs):
            return f"the same as trial {number}: its result counts again"
    return "finished before the run was resumed" if workers == 1 else "a worker trained it"
