"""One fold of the tiny dataset, trained with a network that takes a moment."""

from tests.shared.training.conftest import tiny  # noqa: F401
