"""What every runtime of a SavedModel gives."""

from typing import Protocol

import numpy as np

from components.shared.model_folder.served import Precision

Outputs = dict[str, np.ndarray]


class Runtime(Protocol):
    """A SavedModel, loaded. Several threads may ask it at the same time.

    Attributes:
        name: What people call it.
        precision: In which numbers it computes.
        outputs: Names of what `classify` gives.
        batches_at_once: How many batches should go through it at the same time.
        largest_batch: More images than these together take memory and no less time each.
    """

    name: str
    precision: Precision
    outputs: frozenset[str]
    batches_at_once: int
    largest_batch: int

    def classify(self, images: np.ndarray) -> Outputs:
        """Runs the signature that answers.

        Args:
            images: uint8 [n, 150, 150, 3].

        Returns:
            Its outputs by name; see `components.shared.model_folder.contract`.
        """
        ...

    def explain(self, images: np.ndarray) -> Outputs:
        """Runs the signature that explains; arguments and result as of `classify`."""
        ...
