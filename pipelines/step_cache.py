"""What kfp.local's cache knows a step's result by."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kfp.local.cache import LocalCache

from components.shared.run.code import code_digest, imported


@contextmanager
def cached_by_code() -> Iterator[None]:
    """Lets a step run again when the code that it imports changed, and no other step.

    KFP knows a step by its own lines, inputs and environment, and on a cluster by its image.
    """
    of_kfp = LocalCache.compute_key

    def compute_key(self: LocalCache, *, full_command: list[str], **others: Any) -> str:
        _shell, _option, _line, source, *_arguments = full_command
        digest = code_digest(*imported(source))
        return of_kfp(self, full_command=[*full_command, digest], **others)

    LocalCache.compute_key = compute_key
    try:
        yield
    finally:
        LocalCache.compute_key = of_kfp
