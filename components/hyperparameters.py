"""What the search decides and a run can set."""

import math
from dataclasses import dataclass
from typing import Literal

from components.errors import UserError, require_at_least

Architecture = Literal["compact", "efficientnet", "reference", "xception"]


@dataclass(frozen=True)
class Hyperparameters:
    """A network and how it is trained.

    Attributes:
        architecture: Name of the network, see `components.model`.
        learning_rate: Of the optimizer; where its recipe has a schedule, the greatest.
        dropout: Share of units dropped, 0..1.
        dense: Units of the first dense layer, where a network has some.
        augmentation: Whether training images are varied.
        pretrained_weights: File of Xception's weights without top; empty to download them. Never
            searched.
    """

    architecture: str = "compact"
    learning_rate: float = 0.00025
    dropout: float = 0.3
    dense: int = 128
    augmentation: bool = True
    pretrained_weights: str = ""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: A number that no network can be built or trained with.
        """
        require_at_least(2, dense=self.dense)
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate is {self.learning_rate}: give one above 0")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}: give a share from 0 to less than 1")


# The values the reference implementation found for its own network.
REFERENCE = Hyperparameters("reference", 0.0001, 0.2, 128, augmentation=False)
