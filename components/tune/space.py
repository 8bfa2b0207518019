"""What is searched: for each architecture the values that suit it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras_tuner

from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.start import Start
from components.shared.networks.table import network


def search_space(
    architectures: Sequence[str], start: Start | None = None
) -> keras_tuner.HyperParameters:
    """Returns what is searched: for each architecture what suits it.

    A value's name begins with its architecture's, because KerasTuner keeps only one value a name.

    Args:
        architectures: Names of one or more.
        start: The version that every trial starts from, which decides the size of the network.
    """
    space = keras_tuner.HyperParameters()
    space.Choice("architecture", list(architectures))
    for architecture in architectures:
        with space.conditional_scope("architecture", [architecture]):
            for name, choices in searched_values(architecture, start).items():
                space.Choice(f"{architecture}/{name}", choices)
    return space


def proposed_values(proposal: dict[str, Any], fixed: Hyperparameters) -> Hyperparameters:
    """Returns the hyperparameters of a proposal.

    Args:
        proposal: Values by name, as `search_space` names them.
        fixed: What is not searched.
    """
    architecture = proposal["architecture"]
    searched = {  # KerasTuner makes 0 and 1 of False and True
        name: type(getattr(fixed, name))(proposal[f"{architecture}/{name}"])
        for name in network(architecture).recipe.space
        if f"{architecture}/{name}" in proposal
    }
    return replace(fixed, architecture=architecture, **searched)


def searched_values(architecture: str, start: Start | None) -> dict[str, Sequence[Any]]:
    """Returns the values to search among, but for what the weights to start from decide."""
    space = network(architecture).recipe.space
    return {name: values for name, values in space.items() if not (start and name == "dense")}
