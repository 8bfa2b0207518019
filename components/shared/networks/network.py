"""What a network is: how it is built, and how it is trained."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.recipe import Recipe


@dataclass(frozen=True)
class Network:
    """A network that can be trained.

    Attributes:
        build: Makes the model of some hyperparameters: from uint8 [n, 150, 150, 3] to P(Healthy),
            float32 [n, 1]. Its last layer is a dense one with a sigmoid, and its name the
            architecture's. Raises `UserError` where pretrained weights cannot be had.
        recipe: How it is trained, and what a search tries.
    """

    build: Callable[[Hyperparameters], keras.Model]
    recipe: Recipe
