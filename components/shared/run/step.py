"""What every step does around its work: report failure in one line, and say what it cost."""

import errno
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.shared.errors import UserError
from components.shared.reports.text import printable
from components.shared.storage.files import write_atomically
from components.shared.storage.store import disk_error

# A container's last words: Kubernetes makes this file, and Argo shows what it holds. A run on one
# machine names another, as a pod's terminationMessagePath does.
TERMINATION_VARIABLE = "BRAIN_TUMOR_TERMINATION_LOG"
TERMINATION_LOG = Path(os.environ.get(TERMINATION_VARIABLE, "/dev/termination-log"))
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_MAX_TERMINATION_BYTES = 4096  # bytes that Kubernetes keeps


@contextmanager
def step(name: str, product: Any, *metrics: Any) -> Iterator[None]:
    """Runs the body of a pipeline step.

    A `UserError`, or a disk that is full or refuses, ends the process with exit status 1 and one
    line on standard error, so that whoever submitted the run reads what to do and not a
    traceback. In a pod the line also becomes
    the container's termination message. Success prints wall time and peak resident memory, and
    writes them into the metadata of the step's product: KFP's UI shows them there, and its caches
    keep them.

    Args:
        name: The step's name, as in the pipeline.
        product: KFP artifact that the step makes, whatever its parameters are. Its metadata gets
            `step`, `seconds` and `peak_memory_bytes`.
        *metrics: KFP artifacts that consist of metadata only. It is written to their path as
            JSON, because kfp.local's cache forgets a step of which an artifact has no file.

    Yields:
        Nothing.
    """
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        message = _user_message(error)
        last_words = message or f"{type(error).__name__}: {error}"
        if not last_words.startswith(f"{name}: "):
            last_words = f"{name}: {last_words}"
        _write_termination_message(last_words)
        if message is None:
            raise
        sys.exit(last_words)
    for artifact in metrics:
        write_atomically(artifact.path, json.dumps(artifact.metadata, indent=1))
    seconds, memory = time.perf_counter() - started, peak_memory()
    product.metadata.update(step=name, seconds=seconds, peak_memory_bytes=memory)
    print(f"{name} finished in {seconds:.1f} s, peak memory {memory / 1e9:.2f} GB", flush=True)


def _user_message(error: Exception) -> str | None:
    """Returns the line for what the user can mend, or None."""
    if isinstance(error, OSError) and error.errno in _DISK:
        error = disk_error(printable(str(error.filename or "this machine's disk")), error)
    return str(error) if isinstance(error, UserError) else None


def _write_termination_message(text: str) -> None:
    if TERMINATION_LOG.exists():  # in a pod
        TERMINATION_LOG.write_bytes(text.encode(errors="replace")[:_MAX_TERMINATION_BYTES])


def peak_memory() -> int:
    """Returns the peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def state_folder(state_root: str, name: str) -> Path:
    """Returns where a step keeps what it needs to resume.

    Args:
        state_root: Folder that outlives a killed step, such as a mounted volume; empty where
            there is none, and then a retried step starts again.
        name: The step's name.
    """
    root = (
        Path(state_root).expanduser() if state_root else Path(tempfile.gettempdir(), "brain-tumor")
    )
    return root / name
