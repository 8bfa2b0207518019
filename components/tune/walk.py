"""KerasTuner's oracles, asked for as many trials at a time as there are workers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras_tuner
from keras_tuner.engine.trial import Trial as Asked
from keras_tuner.engine.trial import TrialStatus

from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.start import Start
from components.tune.settings import Settings
from components.tune.space import proposed_values, search_space

OBJECTIVE = "val_accuracy"
_BLIND = ("random", "grid")  # what they propose depends on no result


@dataclass(frozen=True)
class Proposal:
    """What to try.

    Attributes:
        values: The hyperparameters.
        epochs: How many epochs to train.
    """

    values: Hyperparameters
    epochs: int


class Walk:
    """The way of a search through its space, round by round.

    An oracle decides what to try from the seed and the results so far. So a fresh walk that is
    told the recorded results comes to where an earlier one was. KerasTuner's own files, which a
    kill can leave half-written, are not even written.
    """

    def __init__(self, settings: Settings, start: Start | None = None) -> None:
        """Begins.

        Args:
            settings: Of the search, checked.
            start: The version that every trial starts from; None for none.
        """
        self._settings = settings
        self._oracle = _oracle(settings, start)
        self._oracle.verbose = 0
        self._oracle.save = self._oracle._save_trial = lambda *_: None
        self._fixed = Hyperparameters(pretrained_weights=settings.pretrained_weights)
        if start and start.dense:
            self._fixed = replace(self._fixed, dense=start.dense)
        self._asked: list[Asked] = []

    def ask(self) -> list[Proposal]:
        """Returns a round: what to try next, at most one proposal a worker, none at the end.

        Random and grid are answered at once: KerasTuner's grid proposes one trial for each that
        ended, so that all workers but one would wait.
        """
        self._asked = []
        for worker in range(self._settings.workers):
            asked = self._oracle.create_trial(f"worker-{worker}")
            if asked.status != TrialStatus.RUNNING:  # it ends, or waits for results
                break
            self._asked.append(asked)
            if self._settings.algorithm in _BLIND:
                self._end(asked, None)
        return [self._proposal(asked) for asked in self._asked]

    def tell(self, scores: Sequence[float | None]) -> None:
        """Tells the results of what was asked, in its order; None for a trial that failed."""
        if self._settings.algorithm not in _BLIND:
            for asked, score in zip(self._asked, scores, strict=True):
                self._end(asked, score)

    def _end(self, asked: Asked, score: float | None) -> None:
        asked.status = TrialStatus.FAILED
        if score is not None:
            self._oracle.update_trial(asked.trial_id, {OBJECTIVE: score})
            asked.status = TrialStatus.COMPLETED
        self._oracle.end_trial(asked)

    def _proposal(self, asked: Asked) -> Proposal:
        values = asked.hyperparameters.values
        epochs = int(values.get("tuner/epochs", self._settings.epochs))
        return Proposal(proposed_values(values, self._fixed), epochs)


def _oracle(settings: Settings, start: Start | None) -> keras_tuner.Oracle:
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": search_space(settings.architectures, start),
        "seed": settings.seed + 1,  # KerasTuner takes 0 for "draw one"
        # A learning rate that diverges says nothing of the next trial: never give up early.
        "max_consecutive_failed_trials": 10**9,
    }
    oracles = keras_tuner.oracles
    if settings.algorithm == "hyperband":
        return oracles.HyperbandOracle(max_epochs=settings.epochs, **common)
    kinds = {
        "random": oracles.RandomSearchOracle,
        "bayesian": oracles.BayesianOptimizationOracle,
        "grid": oracles.GridSearchOracle,
    }
    return kinds[settings.algorithm](max_trials=settings.trials, **common)
