"""What a fold says: plain data, written as JSON and read by the collect step."""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from components.shared.data.classes import TUMOR
from components.shared.evaluation.predictors import PREDICTORS, Compared
from components.shared.storage.files import read_json
from components.shared.strict import Strict

FOLD = "fold.json"
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Answers(Strict):
    """What a predictor says of a fold's held-out images."""

    threshold: Probability = Field(description="chosen on the fold's validation part")
    scores: tuple[Probability, ...] = Field(description="P(Brain Tumor), as `held_out` has them")


class FoldResult(Compared[Answers]):
    """One fold: the network and the two floors on images that none of them has seen."""

    schema_version: Literal[1] = 1
    fold: int = Field(gt=0)
    dataset_digest: str
    split_digest: str
    source: str | None = Field(default=None, description="held out whole, if it is one")
    settings: dict[str, bool | int | float | str] = Field(
        description="of the training, the same in all folds"
    )
    from_model_seen: int | None = Field(
        default=None,
        ge=0,
        description="held-out images that the version to start from may have learned; null where "
        "there is none, or it cannot be told",
    )
    threshold_rule: str
    target_error: float | None = Field(
        default=None, gt=0, lt=1, description="of the network's answers; null in older folds"
    )
    unsure: tuple[Probability, Probability] | None = Field(
        default=None,
        description="the network's answer is unsure from the first P(Brain Tumor) on and below "
        "the second; null in older folds and where validation allows none",
    )
    temperature: float = Field(gt=0, allow_inf_nan=False)
    best_epoch: int = Field(gt=0)
    held_out: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, description="positions in the dataset"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in PREDICTORS:
            if len(self.of(name).scores) != len(self.held_out):
                raise ValueError("there is not one score for each held-out image")
        return self

    def accuracy(self, labels: np.ndarray) -> float:
        """Returns the network's share of right answers; labels are those of the whole dataset."""
        called = np.asarray(self.model.scores) >= self.model.threshold
        return float(np.mean(called == (labels[list(self.held_out)] == TUMOR)))

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Reads what the cross-validate step wrote.

        Args:
            folder: The fold's folder.

        Returns:
            The fold.

        Raises:
            UserError: Missing or malformed.
        """
        return read_json(Path(folder) / FOLD, cls, "run this fold again")
