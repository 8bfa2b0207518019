"""What a fold says: plain data, written as JSON and read by the collect step."""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.dataset import TUMOR
from components.files import read_json

FOLD = "fold.json"
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Answers(_Strict):
    """What a predictor says of a fold's held-out images."""

    threshold: Probability = Field(description="chosen on the fold's validation part")
    scores: tuple[Probability, ...] = Field(description="P(Brain Tumor), as `held_out` has them")


class FoldResult(_Strict):
    """One fold: the network and the two floors on images that none of them has seen."""

    schema_version: Literal[1] = 1
    fold: int = Field(gt=0)
    dataset_digest: str
    split_digest: str
    settings: dict[str, bool | int | float | str] = Field(
        description="of the training, the same in all folds"
    )
    threshold_rule: str
    temperature: float = Field(gt=0, allow_inf_nan=False)
    best_epoch: int = Field(gt=0)
    held_out: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, description="positions in the dataset"
    )
    model: Answers
    metadata_floor: Answers
    nearest_neighbour_floor: Answers

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for answers in (self.model, self.metadata_floor, self.nearest_neighbour_floor):
            if len(answers.scores) != len(self.held_out):
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
