"""What a search gains from several workers, and what killed ones cost it.

    python -m benchmarks.search
    python -m benchmarks.search --seconds 3 --searches 3 --seeds 6

The steps are the project's own, each a process, as a pipeline runs them: propose, one train-trial a
worker, tune. The device is simulated: a trial sleeps, and the score of its values is made up. So
any number of workers fits a machine of two cores. Of a pod's start only the process counts.

First comes the time of one search with more and more workers, and the trace of one. Then workers
and the steps that propose are killed at random moments and started again, as Kubernetes does.
--seeds asks what rounds cost an algorithm that learns from results: the best that `bayesian` finds
by as many trials, when it learns of them one by one or of a round at once.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from components.shared.networks.hyperparameters import Hyperparameters
from components.tune import trial
from components.tune.logic import count_rounds, finish, next_round, search
from components.tune.rounds import read_proposal, read_round, write_round
from components.tune.settings import Settings
from components.tune.trial import Trial, Trials
from components.tune.walk import Walk
from pipelines.ending import ended

WORKERS = (1, 2, 4)
LEARNERS = (1, 4, 8)
DATASET = SimpleNamespace(digest="made-up")
SPLIT = SimpleNamespace(digest=lambda: "made-up")
_POLL = 0.005  # seconds
_TRAINING: Any = trial  # the module whose trainings are stood in for


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="Searches by several workers.")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.5, help="that a trial sleeps")
    parser.add_argument("--searches", type=int, default=1, help="that are disturbed")
    parser.add_argument("--seeds", type=int, default=0, help="objectives to find the best of")
    arguments = parser.parse_args()
    console = Console(width=100)
    _TRAINING.keras.backend.clear_session = lambda: None  # would start TensorFlow before a fork
    _TRAINING.gc.collect = lambda: 0
    _show_times(console, arguments.trials, arguments.seconds)
    if arguments.searches:
        _show_kills(console, arguments.trials, arguments.searches)
    if arguments.seeds:
        _show_learning(console, arguments.seeds)


# The steps of a search as processes


@dataclass
class Span:
    """What one process did.

    Attributes:
        step: Which.
        begun: Seconds since the search began.
        ended: Likewise.
        killed: Whether it was killed.
    """

    step: str
    begun: float
    ended: float = 0.0
    killed: bool = False


@dataclass
class Run:
    """A search by several processes.

    Attributes:
        spans: What each did.
        seconds: Of the whole search.
        trials: What the search came to.
        begun: How many trainings began.
        alone: How many of them the step that tunes had to do.
    """

    spans: list[Span] = field(default_factory=list)
    seconds: float = 0.0
    trials: list[Trial] = field(default_factory=list)
    begun: int = 0
    alone: int = 0


def _run(settings: Settings, seconds: float, kills: Callable[[], float] | None = None) -> Run:
    """Runs a search as the pipeline does.

    Args:
        settings: Of the search.
        seconds: That a trial sleeps, give or take a fifth.
        kills: Draws the seconds after which a process is killed; None for no kills.
    """
    run = Run()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _TRAINING.fit = _sleeping(seconds, root / "begun")
        trials = Trials(DATASET, SPLIT, settings, root / "state")  # type: ignore[arg-type]
        started = time.perf_counter()
        if settings.workers > 1:
            for _ in range(count_rounds(settings)):
                _side_by_side(run, {"propose": partial(_propose, trials, root)}, started, kills)
                numbers = [one.number for one in read_round(root)]
                work = {f"trial {n}": partial(_train, trials, root, n) for n in numbers}
                _side_by_side(run, work, started, kills)
        before = _begun(root)
        run.trials = search(trials)
        run.seconds = time.perf_counter() - started
        run.begun = _begun(root)
        run.alone = run.begun - before
    return run


def _propose(trials: Trials, root: Path) -> None:
    write_round(root, next_round(trials))


def _train(trials: Trials, root: Path, number: int) -> None:
    finish(trials, number, read_proposal(root, number))


def _side_by_side(
    run: Run,
    work: Mapping[str, Callable[[], None]],
    started: float,
    kills: Callable[[], float] | None,
) -> None:
    """Runs processes until all have ended well; one that was killed is started again."""
    living: dict[int, tuple[Span, float]] = {}

    def start(step: str) -> None:
        end = time.perf_counter() + kills() if kills else float("inf")
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work[step]()
            os._exit(0)
        living[child] = Span(step, time.perf_counter() - started), end

    for step in work:
        start(step)
    while living:
        time.sleep(_POLL)
        for child, (span, end) in list(living.items()):
            if time.perf_counter() > end:
                os.kill(child, signal.SIGKILL)
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended:
                continue
            del living[child]
            span.ended, span.killed = time.perf_counter() - started, bool(status)
            run.spans.append(span)
            if status:
                assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
                start(span.step)


def _sleeping(seconds: float, log: Path) -> Callable[..., Any]:
    """Returns what stands in for a training."""

    def fit(_dataset: Any, _split: Any, told: Any) -> Any:
        with log.open("a") as file:
            file.write("x")
        drawn = random.Random(repr(told.network)).uniform(0.8, 1.2)
        time.sleep(seconds * drawn)
        score = _made_up(told.network, seed=0) + 0.001 * told.epochs
        return SimpleNamespace(best=SimpleNamespace(val_accuracy=min(1.0, score), val_loss=0.1))

    return fit


def _begun(root: Path) -> int:
    log = root / "begun"
    return log.stat().st_size if log.exists() else 0


def _quiet(work: Callable[[], Run]) -> Run:
    """Runs something whose lines nobody needs."""
    kept = os.dup(1)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        try:
            return work()
        finally:
            os.dup2(kept, 1)
            os.close(kept)


# Times


def _settings(algorithm: str, trials: int, workers: int, seed: int = 0) -> Settings:
    return Settings(
        architectures=("reference",),
        algorithm=algorithm,
        trials=trials,
        epochs=9,
        seed=seed,
        workers=workers,
    )


def _show_times(console: Console, trials: int, seconds: float) -> None:
    table = Table("algorithm", "workers", "trials", "rounds", "seconds", "times faster", "busy")
    trace = None
    for algorithm in ("random", "grid", "hyperband", "bayesian"):
        alone = 0.0
        for workers in WORKERS:
            settings = _settings(algorithm, trials, workers)
            run = _quiet(partial(_run, settings, seconds))
            alone = alone or run.seconds
            rounds = sum(span.step == "propose" for span in run.spans)
            slept = sum(
                t.seconds for t in {repr(t.values) + str(t.epochs): t for t in run.trials}.values()
            )
            busy = slept / (workers * run.seconds)
            cells = (algorithm, workers, len(run.trials), rounds or "–", f"{run.seconds:.1f}")
            table.add_row(*map(str, cells), f"{alone / run.seconds:.2f}", f"{busy:.0%}")
            if (algorithm, workers) == ("random", 4):
                trace = run
    console.print(f"A trial sleeps {seconds:g} s, give or take a fifth.")
    console.print(table)
    if trace:
        console.print("The trace of random with 4 workers:")
        _show_trace(console, trace)


def _show_trace(console: Console, run: Run, width: int = 70) -> None:
    for span in sorted(run.spans, key=lambda span: span.begun):
        left, right = (round(width * at / run.seconds) for at in (span.begun, span.ended))
        bar = " " * left + ("×" if span.killed else "█") * max(1, right - left)
        console.print(f"{span.step:<9} {bar:<{width}} {span.begun:6.2f} – {span.ended:.2f} s")


# Kills


def _show_kills(console: Console, trials: int, searches: int) -> None:
    table = Table(
        *("algorithm", "searches", "processes", "killed", "of these propose", "trials"),
        *("trained again", "left to tune", "same table"),
    )
    for algorithm in ("random", "grid", "hyperband", "bayesian"):
        counts = dict.fromkeys(("processes", "killed", "propose", "trials", "again", "left"), 0)
        same = 0
        for seed in range(searches):
            chance = random.Random(seed)
            settings = _settings(algorithm, trials, 4, seed)
            whole = _quiet(partial(_run, settings, 0.0))
            run = _quiet(partial(_run, settings, 0.2, partial(chance.expovariate, 1.5)))
            killed = [span for span in run.spans if span.killed]
            distinct = len({(trial.values, trial.epochs) for trial in run.trials})
            counts["processes"] += len(run.spans)
            counts["killed"] += len(killed)
            counts["propose"] += sum(span.step == "propose" for span in killed)
            counts["trials"] += distinct
            counts["again"] += run.begun - distinct
            counts["left"] += run.alone
            same += [(t.values, t.score) for t in run.trials] == [
                (t.values, t.score) for t in whole.trials
            ]
        table.add_row(algorithm, str(searches), *map(str, counts.values()), f"{same} of {searches}")
    console.print(
        "A process is killed after a time that is drawn, 0.7 s in the mean. A trial sleeps 0.2 s."
    )
    console.print(table)


# What rounds cost an algorithm that learns


def _made_up(values: Hyperparameters, seed: int) -> float:
    """Returns a made-up score, 0..1: smooth in each value, with pairs that go together."""
    at = np.array(
        [
            (np.log10(values.learning_rate) + 4) / 3,
            (values.dropout - 0.2) / 0.3,
            (np.log2(values.dense) - 6) / 2,
            float(values.augmentation),
        ]
    )
    drawn = np.random.default_rng(seed)
    best, weight = drawn.uniform(0, 1, 4), drawn.uniform(0.2, 1, 4)
    together = drawn.normal(0, 0.3, (4, 4))
    away = at - best
    return float(0.9 * np.exp(-(weight * away**2).sum() - abs(away @ together @ away)))


def _show_learning(console: Console, seeds: int, trials: int = 24) -> None:
    table = Table("algorithm", "workers", "best found, share of the best there is", "90% of seeds")
    for algorithm, workers in [("random", 1), *(("bayesian", n) for n in LEARNERS)]:
        found = [_found(algorithm, trials, workers, seed) for seed in range(seeds)]
        low, high = np.quantile(found, (0.05, 0.95))
        drawn = np.random.default_rng(0).choice(found, (2000, seeds)).mean(axis=1)
        least, most = np.quantile(drawn, (0.025, 0.975))
        mean = f"{statistics.fmean(found):.3f} ({least:.3f}–{most:.3f})"
        table.add_row(algorithm, str(workers), mean, f"{low:.3f}–{high:.3f}")
    console.print(f"{trials} trials of 96 there are, {seeds} objectives.")
    console.print(table)


def _found(algorithm: str, trials: int, workers: int, seed: int) -> float:
    """Returns the best score that a walk comes to, as a share of the best of the whole space."""
    settings = _settings(algorithm, trials, workers, seed)
    scores: list[float] = []
    walk = Walk(settings)
    while proposals := walk.ask():
        told = [_made_up(proposal.values, seed) for proposal in proposals]
        scores += told
        walk.tell(told)
    walk = Walk(_settings("grid", 10_000, 1000))
    best = max(_made_up(proposal.values, seed) for proposal in walk.ask())
    return max(scores) / best


if __name__ == "__main__":
    sys.exit(ended(main))
