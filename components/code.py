"""Which code a result is of: what is kept to go on with must not outlive a change of it."""

import functools
import hashlib
import sys
from pathlib import Path

COMPONENTS = Path(__file__).parent


@functools.cache
def code_digest(folder: Path = COMPONENTS) -> str:
    """Returns a digest of the steps' code and of the Python that runs it.

    Args:
        folder: Where the code is.
    """
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".j2"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
