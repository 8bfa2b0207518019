"""Which code this is."""

import subprocess
from pathlib import Path

from components.errors import UserError


def git_revision() -> str:
    """Returns the revision of the project's code: the short SHA, with `-dirty` if files changed.

    Raises:
        UserError: This is no git checkout.
    """
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"{here}: no git revision to name the version by; submit from a git checkout"
        ) from error
    return described.stdout.strip()
