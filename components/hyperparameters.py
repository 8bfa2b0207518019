"""What the search decides and a run can set."""

from dataclasses import dataclass
from typing import Literal

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
        pretrained_weights: File of a pretrained backbone's weights; empty to download them. Never
            searched.
    """

    architecture: str = "compact"
    learning_rate: float = 0.0005
    dropout: float = 0.3
    dense: int = 128
    augmentation: bool = True
    pretrained_weights: str = ""


# The values the reference implementation found for its own network.
REFERENCE = Hyperparameters("reference", 0.0001, 0.2, 128, augmentation=False)
