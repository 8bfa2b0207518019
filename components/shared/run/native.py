"""What libraries of C++ write to stderr, past Python's log."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

_NEWS = ("I0000", "WARNING: All log messages before absl", "To enable the following instructions")
_log = logging.getLogger("brain_tumor")


@contextmanager
def native_lines() -> Iterator[None]:
    """Within it, what a library of C++ writes to stderr becomes lines of the log, if not just news.

    It is for what is known to write. Later ones stay as they are: a process that is about to crash
    says why in them, and has no time for more.
    """
    sys.stderr.flush()
    own = os.dup(2)
    with TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            kept.seek(0)
            for line in kept.read().decode("utf-8", "replace").splitlines():
                if not line.startswith(_NEWS):
                    _log.warning("%s", line)
