"""The start of a command: Ctrl-C while its packages are imported is one line too."""

import importlib
import os
import signal
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT  # exit status


def start(module: str) -> None:
    """Imports the module of a command and calls its `main`.

    Args:
        module: The module's name.
    """
    before = signal.signal(signal.SIGINT, _stop)
    main = importlib.import_module(module).main
    signal.signal(signal.SIGINT, before)
    main()


def _stop(number: int, _: FrameType | None) -> None:
    """Ends at once: nothing was begun, and packages catch a KeyboardInterrupt at their import."""
    os.write(2, b"\nstopped before it began\n" if os.isatty(2) else b"stopped before it began\n")
    os._exit(INTERRUPTED)
