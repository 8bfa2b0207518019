"""Which code this is."""

import hashlib
import os
import subprocess
from pathlib import Path

from components.shared.errors import UserError
from pipelines.cluster import Cluster


def git_revision() -> str:
    """Returns the revision of the project's code: the short SHA, with `-dirty` if files changed.

    The training image holds no checkout; it says its revision itself.

    Raises:
        UserError: This is neither a git checkout nor an image that knows its revision.
    """
    here = Path(__file__).parent
    if of_image := os.environ.get("BRAIN_TUMOR_REVISION"):
        return of_image[:12]
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
