"""A round of a search, as the step that proposes it hands it to the workers."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from components.shared.errors import UserError
from components.shared.storage.files import write_atomically
from components.tune.walk import Proposal

ROUND = "round.json"


@dataclass(frozen=True)
class Numbered:
    """A proposal and its place in the search.

    Attributes:
        number: From 1.
        proposal: What to try.
    """

    number: int
    proposal: Proposal


def write_round(folder: str | Path, proposals: list[Numbered]) -> None:
    """Writes `round.json`."""
    content = json.dumps([asdict(proposal) for proposal in proposals], indent=1)
    write_atomically(Path(folder) / ROUND, content)


def read_round(folder: str | Path) -> list[Numbered]:
    """Reads `round.json`.

    Raises:
        UserError: It is missing or malformed.
    """
    path = Path(folder) / ROUND
    try:
        return TypeAdapter(list[Numbered]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path}: cannot read; run the step that proposes again") from error


def read_proposal(folder: str | Path, number: int) -> Proposal:
    """Reads one proposal of `round.json`.

    Args:
        folder: What the step that proposes wrote.
        number: Of the trial.

    Raises:
        UserError: It is not there.
    """
    for numbered in read_round(folder):
        if numbered.number == number:
            return numbered.proposal
    raise UserError(f"{folder}/{ROUND}: holds no trial {number}; run the step that proposes again")
