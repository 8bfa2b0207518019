"""A trial: one set of values, trained, and remembered in a record."""

import gc
import hashlib
import json
import math
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
from pydantic import TypeAdapter, ValidationError

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.start import Start
from components.shared.run.code import code_digest
from components.shared.storage.files import write_atomically
from components.shared.training.fit import DivergedError, Epoch, fit
from components.tune.settings import Settings
from components.tune.walk import Proposal

TRIAL = "trial.json"


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

    def write(self, path: Path) -> None:
        """Writes a record."""
        write_atomically(path, json.dumps(asdict(self), indent=1))


class Trials:
    """Trains proposals, and recalls what was trained.

    A record is named by all that its result depends on, and is there whole or not at all. So any
    number of processes, in any order and as often as they like, can train for one search.

    Attributes:
        dataset: The images.
        settings: Of the search.
        start: The version that every trial starts from; None for none.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        split: Split,
        settings: Settings,
        state: str | Path,
        start: Start | None = None,
    ) -> None:
        """Opens the folder of records.

        Args:
            dataset: The images.
            split: Its train part is learned, its validation part scores.
            settings: Of the search.
            state: Folder of all records; the workers of a search share it.
            start: The version that every trial starts from; None for none.
        """
        self.dataset = dataset
        self._split = split
        self.settings = settings
        self.start = start
        self._folder = Path(state) / f"{dataset.digest[:12]}-{split.digest()[:12]}"
        self._facts = [  # what every result depends on
            code_digest(__name__),
            dataset.digest,
            split.digest(),
            str(settings.executions),
            str(settings.batch_size),
            str(settings.seed),
            *([start.digest] if start else []),
        ]

    def recall(self, proposal: Proposal) -> Trial | None:
        """Returns what came of a proposal, or None where no whole record says so."""
        path = self._record(proposal)
        try:
            trial = TypeAdapter(Trial).validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, UserError):
            trial = None
        if trial and self._is_of(trial, proposal):
            return trial
        print(f"{path.name} is damaged: the trial is trained again", flush=True)
        return None

    def train(self, proposal: Proposal) -> Trial:
        """Trains a proposal and writes its record.

        Raises:
            UserError: The network cannot be built.
        """
        trial = self._train(proposal)
        trial.write(self._record(proposal))
        return trial

    def forget(self, proposals: list[Proposal]) -> None:
        """Removes the records of proposals, which nobody needs once the search has ended."""
        for proposal in proposals:
            self._record(proposal).unlink(missing_ok=True)
        if self._folder.exists() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _train(self, proposal: Proposal) -> Trial:
        started = time.perf_counter()
        bests: list[Epoch] = []
        failure = ""
        for execution in range(self.settings.executions):
            training = Training(
                network=proposal.values,
                epochs=proposal.epochs,
                batch_size=self.settings.batch_size,
                seed=self.settings.seed + execution,
                start=self.start,
            )
            try:
                fitted = fit(self.dataset, self._split, training)
            except DivergedError as error:
                failure, bests = str(error), []
                break
            finally:
                keras.backend.clear_session()
                gc.collect()  # models and optimizers hold each other; a trial is up to 1 GB
            bests.append(fitted.best)
        return Trial(
            values=proposal.values,
            epochs=proposal.epochs,
            accuracies=tuple(best.val_accuracy for best in bests),
            losses=tuple(best.val_loss for best in bests),
            seconds=time.perf_counter() - started,
            failure=failure,
        )

    def _is_of(self, trial: Trial, proposal: Proposal) -> bool:
        """Returns whether a record says what a finished trial of a proposal can say."""
        results = 0 if trial.failure else self.settings.executions
        return (
            Proposal(trial.values, trial.epochs) == proposal
            and len(trial.accuracies) == len(trial.losses) == results
            and all(0 <= accuracy <= 1 for accuracy in trial.accuracies)
            and all(math.isfinite(number) for number in (*trial.losses, trial.seconds))
        )

    def _record(self, proposal: Proposal) -> Path:
        """Names everything that a result depends on."""
        facts = [*self._facts, json.dumps(asdict(proposal.values)), str(proposal.epochs)]
        digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]
        return self._folder / f"trial-{digest}.json"
