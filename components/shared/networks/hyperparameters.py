"""What the search decides and a run can set."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from components.shared.errors import UserError, require_at_least
from components.shared.networks.start import Start

BATCH_SIZE = 32  # that learning rates are given for


@dataclass(frozen=True)
class Hyperparameters:
    """A network and how it is trained.

    Attributes:
        architecture: Name of the network, see `components.shared.networks.table`.
        learning_rate: Of the optimizer, for batches of 32; where its recipe has a schedule, the
            greatest.
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


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that a training is told: what is done, what is recorded, and which work goes on.

    Attributes:
        network: The network and its values.
        ensemble: How many networks to train, from different seeds; their logits are averaged.
        mirror: Whether the model averages its answers to an image and to its mirror image.
        epochs: Most epochs to train.
        patience: Stop after so many epochs without a better one; 0 never stops early.
        batch_size: Images of a batch, of all devices together.
        seed: Of everything random.
        start: The registered version whose weights each network starts from; None for none.
    """

    network: Hyperparameters
    ensemble: int = 1
    mirror: bool = False
    epochs: int
    patience: int = 0
    batch_size: int = BATCH_SIZE
    seed: int = 0
    start: Start | None = None

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: A number that nothing can be trained with, or a start from another network.
        """
        if self.start:
            self.start.check(self.network.architecture)
        require_at_least(1, epochs=self.epochs, ensemble=self.ensemble, batch_size=self.batch_size)
        require_at_least(0, patience=self.patience)

    @classmethod
    def told(cls, given: Mapping[str, Any], start: Start | None) -> "Training":
        """Returns the training that a step's inputs describe.

        Args:
            given: The inputs by name, others among them.
            start: The registered version whose weights each network starts from; None for none.
        """
        network = Hyperparameters(**{one.name: given[one.name] for one in fields(Hyperparameters)})
        own = {one.name: given[one.name] for one in fields(cls) if one.name in given}
        mirror = given["average_mirror_image"]
        return cls(**own, network=network, mirror=mirror, start=start)

    @property
    def learning_rate(self) -> float:
        """The rate for these batches: it grows as the square root of their size."""
        return self.network.learning_rate * math.sqrt(self.batch_size / BATCH_SIZE)

    @property
    def settings(self) -> dict[str, Any]:
        """All values by name, the network's among them."""
        own = asdict(replace(self, start=None))
        del own["start"]
        return own.pop("network") | own | (self.start.settings if self.start else {})

    def of_one(self, number: int) -> "Training":
        """Returns the training of one network of the ensemble.

        Args:
            number: Which, from 0.
        """
        return replace(self, ensemble=1, mirror=False, seed=self.seed + number)
