"""How a command ends: what went wrong is one line on standard error, and each end has its status.

0 is done. 1 is done with a bad answer (a file that could not be classified, drift), or a fault of
the program. 2 is what the user can mend. 128 + n is stopped by the signal n, so Ctrl-C is 130.
"""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.markup import escape

from components.shared.command_line.missing import missing_package
from components.shared.command_line.start import INTERRUPTED
from components.shared.command_line.usage import UsageError, usage_fault
from components.shared.errors import UserError, one_line
from components.shared.reports.text import printable
from components.shared.storage.store import disk_error
from pipelines.output import errors

FAULT, MISTAKE = 1, 2


class FaultError(Exception):
    """A fault of the program. Its message is one line: what happened, and where to read more."""


class Stopped(SystemExit):
    """A signal ended a run, and so did its steps. The code is 128 + the signal's number."""


def ended(command: Callable[[], int | None]) -> int:
    """Runs a command and says in one line what went wrong.

    Args:
        command: What to run. It may return an exit status.

    Returns:
        The exit status.
    """
    try:
        status = command() or 0
        if sys.stdout:
            sys.stdout.flush()
        return _stopped() if status == INTERRUPTED else status
    except UserError as error:
        return _refused(str(error))
    except UsageError as error:
        return _misused(error)
    except typer.Abort as error:  # a question was not answered with yes
        asked = isinstance(error.__context__, KeyboardInterrupt)
        return _stopped() if asked else _told("nothing was done", FAULT)
    except KeyboardInterrupt:
        return _stopped()
    except ModuleNotFoundError as error:
        return _refused(missing_package(error))
    except OSError as error:
        return _disk_refused(error)
    except FaultError as error:
        return _told(str(error), FAULT)
    except Exception as error:
        odd = [one for one in sys.argv if any("\ud800" <= char <= "\udfff" for char in one)]
        # A byte that is not UTF-8 is a surrogate. File names may have some, most text may not.
        if odd and isinstance(error, ValueError):
            return _refused(f"the argument {odd[0]} holds bytes that are not UTF-8; give another")
        return _told(fault_line(error, _written_traceback()), FAULT)


def fault_line(what: object, log: object) -> str:
    """Returns the line for a fault of the program.

    Args:
        what: An exception, or what it said.
        log: File that has it whole.
    """
    kind = f"{type(what).__name__}: " if isinstance(what, Exception) else ""
    return f"{kind}{one_line(what)}; this is a fault of brain-tumor, please report it with {log}"


def _refused(reason: str) -> int:
    return _told(reason, MISTAKE)


def _told(line: str, status: int) -> int:
    errors.print(f"[red]error:[/] {escape(printable(line))}", soft_wrap=True)
    return status


def _stopped() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more ends what still winds down
    say_stopped("stopped; to go on, give the same command again")
    return INTERRUPTED


@contextmanager
def going_on() -> Iterator[None]:
    """Says on Ctrl-C that what was done meanwhile is kept.

    Raises:
        Stopped: Ctrl-C was pressed.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        say_stopped("stopped; give the same command again to resume; what it has read is kept")
        raise Stopped(INTERRUPTED) from error


def say_stopped(line: str) -> None:
    """Says that the user stopped a command, below the `^C` that a terminal shows."""
    if errors.is_terminal:
        errors.print()
    errors.print(escape(line), soft_wrap=True)


def _misused(error: Exception) -> int:
    fault = usage_fault(error)
    return _refused(fault) if fault else MISTAKE


def _disk_refused(error: OSError) -> int:
    """Says what the disk or a pipe refused; a reader that has gone wants to hear nothing."""
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return FAULT
    if sys.stdout and not error.filename:
        _drop_output()  # else Python says at its end once more that it cannot be written
    return _refused(str(disk_error(printable(str(error.filename or "standard output")), error)))


def _drop_output() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _written_traceback() -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="brain-tumor-", suffix=".log", delete=False, errors="backslashreplace"
    ) as file:
        traceback.print_exc(file=file)
    return file.name
