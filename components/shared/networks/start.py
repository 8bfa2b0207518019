"""The registered version that a training starts from."""

from dataclasses import dataclass, field
from pathlib import Path

from components.shared.errors import UserError


@dataclass(frozen=True)
class Start:
    """A version whose weights a network starts from.

    Attributes:
        version: Which it is, such as `brain-tumor 3`.
        digest: SHA-256 of its list of digests; names these very weights.
        split_digest: Of the split that it was trained on.
        architecture: Its network.
        dense: Units of its first dense layer, where the network has some.
        folder: Where it lies while the training runs; the digest tells what is in it.
    """

    version: str
    digest: str
    split_digest: str
    architecture: str
    dense: int
    folder: Path = field(repr=False, compare=False)

    def check(self, architecture: str) -> None:
        """Checks that a network can start from it.

        Raises:
            UserError: It is another network.
        """
        if architecture != self.architecture:
            raise UserError(
                f"from_model {self.version}: is the network {self.architecture}, and "
                f"{architecture} is to be trained; let the run train {self.architecture}"
            )

    @property
    def settings(self) -> dict[str, str]:
        """What the records of a training say of it, by name."""
        return {
            "from_model": self.version,
            "from_model_digest": self.digest,
        }
