"""Which code this is."""

import hashlib
import subprocess
from pathlib import Path

from components.errors import UserError
from pipelines.cluster import Cluster


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


def version_name(revision: str, package: str, cluster: Cluster) -> str:
    """Returns the name of a pipeline version: the same name never stands for two packages.

    Args:
        revision: Git revision, with `-dirty` if files changed.
        package: The compiled pipeline.
        cluster: What was compiled in.

    Returns:
        The revision alone for a clean checkout with default settings, else with the package's
        digest behind it.
    """
    if cluster == Cluster() and not revision.endswith("-dirty"):
        return revision
    return f"{revision}-{hashlib.sha256(package.encode()).hexdigest()[:8]}"
