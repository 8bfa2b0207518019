"""What a search is told."""

import json
from pathlib import Path
from typing import Literal, get_args

from components.shared.errors import UserError, require_at_least
from components.shared.networks.hyperparameters import BATCH_SIZE
from components.shared.networks.start import Start
from components.shared.networks.table import ARCHITECTURES
from components.shared.storage.files import read_json, write_atomically
from components.shared.strict import Strict

Algorithm = Literal["random", "bayesian", "hyperband", "grid"]
SETTINGS = "search.json"


class Settings(Strict):
    """All that a search is told, but for the images.

    Attributes:
        architectures: Which to choose among, one or more.
        algorithm: One of `Algorithm`.
        trials: How many to run; `hyperband` decides that itself from `epochs`.
        epochs: Of each trial; for `hyperband`, of the longest.
        executions: Trainings a trial, of different seeds; their mean counts.
        batch_size: Images of a batch, which scales the learning rates that are searched.
        seed: Of oracle and trainings.
        workers: How many trials run at a time.
        pretrained_weights: File of Xception's weights without top; empty to download them.
        from_model: The registered version whose weights every trial starts from; empty for none.
    """

    architectures: tuple[str, ...]
    algorithm: str
    trials: int
    epochs: int
    executions: int = 1
    batch_size: int = BATCH_SIZE
    seed: int
    workers: int = 1
    pretrained_weights: str = ""
    from_model: str = ""

    def check(self, start: Start | None = None) -> None:
        """Checks that there is something to search.

        Args:
            start: The version that `from_model` names; None for none.

        Raises:
            UserError: An architecture or the algorithm is unknown, a number is out of range, or
                the version is another network.
        """
        require_at_least(
            1,
            max_trials=self.trials,
            tune_epochs=self.epochs,
            executions_per_trial=self.executions,
            batch_size=self.batch_size,
            tune_workers=self.workers,
        )
        for architecture in self.architectures:
            if architecture not in ARCHITECTURES:
                raise UserError(
                    f"tune: '{architecture}' is not an architecture; "
                    f"give {', '.join(ARCHITECTURES)}, "
                    "or several with commas between"
                )
            if start:
                start.check(architecture)
        if self.algorithm not in get_args(Algorithm):
            raise UserError(
                f"tune: '{self.algorithm}' is not an algorithm; "
                f"give {', '.join(get_args(Algorithm))}"
            )

    def write(self, folder: str | Path) -> None:
        """Writes `search.json`."""
        write_atomically(
            Path(folder) / SETTINGS, json.dumps(self.model_dump(mode="json"), indent=1)
        )

    @classmethod
    def open(cls, folder: str | Path) -> "Settings":
        """Reads `search.json`.

        Raises:
            UserError: It is missing or malformed.
        """
        return read_json(Path(folder) / SETTINGS, cls, "run the step that plans the search again")
