"""A real terminal for tests: what a program wrote to it, and what a person then sees."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

_PARTS = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")


def seen(written: str) -> list[str]:
    """Returns the lines that a terminal shows in the end, without colours and empty ends."""
    lines, row, column = [""], 0, 0
    for part in _PARTS.findall(written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d+)A", part):
            row = max(0, row - int(up[1]))
        elif not part.startswith("\x1b"):
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n")


@contextmanager
def terminal(columns: int = 80, encoding: str = "utf-8") -> Iterator[tuple[TextIO, Callable]]:
    """Lends a terminal's end for a program, and what reads all that was written to it.

    Args:
        columns: Its width.
        encoding: Of the program's stream.
    """
    ours, theirs = pty.openpty()
    _size(theirs, columns)
    with open(theirs, "w", encoding=encoding, errors="backslashreplace") as stream:

        def written() -> str:
            stream.write("\0")
            stream.flush()
            said = b""
            while not said.endswith(b"\0"):
                said += os.read(ours, 65536)
            return said.decode(encoding).replace("\0", "")

        yield stream, written
    os.close(ours)


def run_on_terminal(
    command: Sequence[str],
    environment: dict[str, str],
    columns: int = 80,
    answer: Callable[[str], str] | None = None,
) -> tuple[int, str]:
    """Runs a program that has a terminal of its own.

    Args:
        command: The program and its arguments.
        environment: All of its variables.
        columns: The terminal's width.
        answer: Called with all that was written so far, whenever there is more. Returns what a
            person types then. Ctrl-C is "\\x03".

    Returns:
        The exit status, negative for a signal, and what the terminal got: what the program wrote
        and the echo of what was typed.
    """
    ours, theirs = pty.openpty()
    _size(theirs, columns)

    def begin() -> None:
        os.login_tty(theirs)  # so that Ctrl-C is a signal to the program
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a test run in the background ignores

    process = subprocess.Popen(command, env=environment, preexec_fn=begin)
    os.close(theirs)
    said = b""
    with process, suppress(OSError):  # that nobody has the other end any more
        while piece := os.read(ours, 65536):
            said += piece
            if answer:
                os.write(ours, answer(said.decode(errors="replace")).encode())
    os.close(ours)
    return process.returncode, said.decode(errors="replace")


def _size(descriptor: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
