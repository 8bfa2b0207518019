"""The search for hyperparameters, resumable after a kill."""

import gc
import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import keras
import keras_tuner
from keras_tuner.engine import base_tuner

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError, require_at_least
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.start import Start
from components.shared.networks.table import ARCHITECTURES, network
from components.shared.run.code import code_digest
from components.shared.storage.files import write_atomically
from components.shared.training.fit import DivergedError, Epoch, fit

Algorithm = Literal["random", "bayesian", "hyperband", "grid"]
OBJECTIVE = "val_accuracy"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of values and what came of it.

    Attributes:
        values: The hyperparameters.
        epochs: How many epochs each execution trained.
        accuracies: Validation accuracy that each execution came to; empty if the trial failed.
        losses: Validation loss of the same weights.
        seconds: Wall time of all executions.
        failure: Why the trial failed, or empty.
    """

    values: Hyperparameters
    epochs: int
    accuracies: tuple[float, ...]
    losses: tuple[float, ...]
    seconds: float
    failure: str = ""

    @property
    def score(self) -> float | None:
        """Mean validation accuracy, or None if the trial failed."""
        return statistics.fmean(self.accuracies) if self.accuracies else None


def search_space(
    architectures: Sequence[str], start: Start | None = None
) -> keras_tuner.HyperParameters:
    """Returns what is searched: for each architecture what suits it.

    A value's name begins with its architecture's, because KerasTuner keeps only one value a name.

    Args:
        architectures: Names of one or more.
        start: The version that every trial starts from, which decides the size of the network.
    """
    space = keras_tuner.HyperParameters()
    space.Choice("architecture", list(architectures))
    for architecture in architectures:
        with space.conditional_scope("architecture", [architecture]):
            for name, choices in _space(architecture, start).items():
                space.Choice(f"{architecture}/{name}", choices)
    return space


def proposed_values(proposal: dict[str, Any], fixed: Hyperparameters) -> Hyperparameters:
    """Returns the hyperparameters of a proposal.

    Args:
        proposal: Values by name, as `search_space` names them.
        fixed: What is not searched.
    """
    architecture = proposal["architecture"]
    searched = {
        name: proposal[f"{architecture}/{name}"]
        for name in network(architecture).recipe.space
        if f"{architecture}/{name}" in proposal
    }
    return replace(fixed, architecture=architecture, **searched)


def _space(architecture: str, start: Start | None) -> dict[str, Sequence[Any]]:
    """Returns the values to search among, but for what the weights to start from decide."""
    space = network(architecture).recipe.space
    return {name: values for name, values in space.items() if not (start and name == "dense")}


def search(
    dataset: ImageDataset,
    split: Split,
    architectures: Sequence[str],
    algorithm: Algorithm,
    *,
    trials: int,
    epochs: int,
    executions: int,
    seed: int,
    state: str | Path,
    pretrained_weights: str = "",
    start: Start | None = None,
) -> list[Trial]:
    """Searches; a trial that was finished before a kill is not run again.

    KerasTuner's oracles decide what to try from the seed and the results so far, so a fresh
    oracle that is given the recorded results walks the same way to where the killed one stood.
    That needs nothing of KerasTuner's own files, which a kill can leave half-written.

    Args:
        dataset: The images.
        split: Its train part is learned, its validation part scores.
        architectures: Which to choose among, one or more.
        algorithm: Which oracle.
        trials: How many to run; `hyperband` decides that itself from `epochs`.
        epochs: Of each trial; for `hyperband`, of the longest.
        executions: Trainings a trial, of different seeds; their mean counts.
        seed: Of oracle and trainings.
        state: Folder of finished trials.
        pretrained_weights: File of Xception's weights without top; empty to download them.
        start: The registered version whose weights every trial starts from; None for none.

    Returns:
        All trials, in the order they were run.

    Raises:
        UserError: An architecture is unknown or cannot be built, every trial failed, or a number is
            out of range.
    """
    require_at_least(1, max_trials=trials, tune_epochs=epochs, executions_per_trial=executions)
    for architecture in architectures:
        if architecture not in ARCHITECTURES:
            raise UserError(
                f"tune: '{architecture}' is no architecture; give {', '.join(ARCHITECTURES)}, "
                "or several with commas between"
            )
        if start:
            start.check(architecture)
    space = search_space(architectures, start)
    oracle = _oracle(space, algorithm, trials=trials, epochs=epochs, seed=seed)
    fixed = Hyperparameters(pretrained_weights=pretrained_weights)
    if start and start.dense:
        fixed = replace(fixed, dense=start.dense)
    with TemporaryDirectory(prefix="tuner-") as scratch:
        tuner = _Search(
            dataset,
            split,
            fixed,
            oracle,
            epochs=epochs,
            executions=executions,
            seed=seed,
            start=start,
            state=Path(state),
            scratch=scratch,
        )
        oracle.verbose = 0
        try:
            tuner.search()
        except keras_tuner.errors.FatalError as error:
            if isinstance(error.__cause__, UserError):
                raise error.__cause__ from None
            raise
    if all(trial.failure for trial in tuner.finished):
        raise UserError(
            f"tune: all {len(tuner.finished)} trials failed, the last with: "
            f"{tuner.finished[-1].failure}; give more trials or another algorithm"
        )
    return tuner.finished


def best_trial(trials: list[Trial]) -> Trial:
    """Returns the trial of greatest mean validation accuracy; equals are decided by the loss."""
    completed = [trial for trial in trials if not trial.failure]
    return max(completed, key=lambda t: (t.score, -statistics.fmean(t.losses)))


def _oracle(
    space: keras_tuner.HyperParameters,
    algorithm: Algorithm,
    *,
    trials: int,
    epochs: int,
    seed: int,
) -> keras_tuner.Oracle:
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": space,
        "seed": seed + 1,  # KerasTuner takes 0 for "draw one"
        # A learning rate that diverges says nothing of the next trial: never give up early.
        "max_consecutive_failed_trials": 10**9,
    }
    oracles = keras_tuner.oracles
    if algorithm == "hyperband":
        return oracles.HyperbandOracle(max_epochs=epochs, **common)
    kinds = {
        "random": oracles.RandomSearchOracle,
        "bayesian": oracles.BayesianOptimizationOracle,
        "grid": oracles.GridSearchOracle,
    }
    if algorithm not in kinds:
        raise UserError(
            f"tune: '{algorithm}' is no algorithm; give {', '.join(get_args(Algorithm))}"
        )
    return kinds[algorithm](max_trials=trials, **common)


class _Search(base_tuner.BaseTuner):
    """Runs what the oracle proposes with `fit`, and remembers it on disk."""

    def __init__(
        self,
        dataset: ImageDataset,
        split: Split,
        fixed: Hyperparameters,
        oracle: keras_tuner.Oracle,
        *,
        epochs: int,
        executions: int,
        seed: int,
        start: Start | None,
        state: Path,
        scratch: str,
    ) -> None:
        super().__init__(oracle=oracle, directory=scratch, project_name="search")
        self.dataset = dataset
        self.split = split
        self.fixed = fixed
        self.epochs = epochs
        self.executions = executions
        self.seed = seed
        self.start = start
        self.state = state
        self.finished: list[Trial] = []

    def run_trial(self, trial: keras_tuner.engine.trial.Trial) -> dict[str, float]:
        """Runs one proposal, or recalls it.

        Args:
            trial: The oracle's proposal.

        Returns:
            The objective.

        Raises:
            keras_tuner.errors.FailedTrialError: The training diverged.
            keras_tuner.errors.FatalError: Anything else went wrong.
        """
        proposed = trial.hyperparameters.values
        values = proposed_values(proposed, self.fixed)
        epochs = int(proposed.get("tuner/epochs", self.epochs))
        record = self.state / f"trial-{self._key(values, epochs)}.json"
        searched = {name: getattr(values, name) for name in _space(values.architecture, self.start)}
        settings = "  ".join(f"{name} {value:g}" for name, value in searched.items())
        print(f"trial {len(self.finished) + 1}: {values.architecture}  {settings}", flush=True)
        done = _recall(record)
        if done is None:
            try:
                done = self._run(values, epochs)
            except Exception as error:  # KerasTuner would take it for a failed trial
                raise keras_tuner.errors.FatalError(str(error)) from error
            write_atomically(record, json.dumps(asdict(done)))
        else:
            print(self._reuse_reason(done), flush=True)
        self.finished.append(done)
        if done.score is None:
            print(f"failed: {done.failure}", flush=True)
            raise keras_tuner.errors.FailedTrialError(done.failure)
        print(f"validation accuracy {done.score:.4f}", flush=True)
        return {OBJECTIVE: done.score}

    def _reuse_reason(self, recalled: Trial) -> str:
        """Returns why a trial was not trained, for people."""
        for number, trial in enumerate(self.finished, 1):
            if (trial.values, trial.epochs) == (recalled.values, recalled.epochs):
                return f"the same as trial {number}: its result counts again"
        return "finished before the run was resumed"

    def _run(self, values: Hyperparameters, epochs: int) -> Trial:
        started = time.perf_counter()
        bests: list[Epoch] = []
        failure = ""
        for execution in range(self.executions):
            training = Training(
                network=values, epochs=epochs, seed=self.seed + execution, start=self.start
            )
            try:
                fitted = fit(self.dataset, self.split, training)
            except DivergedError as error:
                failure, bests = str(error), []
                break
            finally:
                keras.backend.clear_session()
                gc.collect()  # models and optimizers hold each other; a trial is up to 1 GB
            bests.append(fitted.best)
        return Trial(
            values=values,
            epochs=epochs,
            accuracies=tuple(best.val_accuracy for best in bests),
            losses=tuple(best.val_loss for best in bests),
            seconds=time.perf_counter() - started,
            failure=failure,
        )

    def _key(self, values: Hyperparameters, epochs: int) -> str:
        """Names everything that a result depends on."""
        facts = [
            code_digest(__name__),
            self.dataset.digest,
            self.split.digest(),
            json.dumps(asdict(values)),
            str(epochs),
            str(self.executions),
            str(self.seed),
            *([self.start.digest] if self.start else []),
        ]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]


def _recall(record: Path) -> Trial | None:
    try:
        facts = json.loads(record.read_text())
    except OSError:
        return None
    values = Hyperparameters(**facts.pop("values"))
    return Trial(
        values=values,
        accuracies=tuple(facts.pop("accuracies")),
        losses=tuple(facts.pop("losses")),
        **facts,
    )
