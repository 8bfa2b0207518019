"""The table of networks; it imports no TensorFlow, but the files of the networks do."""

from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

from components.shared.errors import UserError

if TYPE_CHECKING:
    from components.shared.networks.network import Network

# Each names the file beside this one that has the `NETWORK`.
Architecture = Literal["compact", "efficientnet", "reference", "xception"]
ARCHITECTURES: tuple[str, ...] = get_args(Architecture)


def network(architecture: str) -> "Network":
    """Returns the network of a name.

    Args:
        architecture: One of `ARCHITECTURES`.

    Returns:
        How it is built and trained.

    Raises:
        UserError: There is no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"'{architecture}' is not an architecture; give one of {', '.join(ARCHITECTURES)}"
        )
    found: Network = import_module(f"components.shared.networks.{architecture}").NETWORK
    return found
