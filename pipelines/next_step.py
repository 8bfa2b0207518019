"""What a user does next, as a command to copy."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.markup import escape

from components.shared.model_folder.contract import NAME
from pipelines.output import console

PROGRAM = "brain-tumor"


def show_next(*words: str) -> None:
    """Prints the next command.

    Args:
        *words: Of it, behind `brain-tumor`. They are quoted where a shell needs it.
    """
    command = shlex.join([_program(), *words])
    console.print(f"{'next':<8}{escape(command)}", soft_wrap=True)


def reference(address: str) -> str:
    """Returns a version as people write it, such as `runs/registry#3`.

    Args:
        address: Where it lies, such as `/home/me/runs/registry/brain-tumor/3`.
    """
    registry, name, version = address.rpartition(f"/{NAME}/")
    return f"{_near(registry)}#{version}" if name else _near(address)


def _program() -> str:
    """Returns how this program is called: by its name, or by its path where no shell finds it."""
    called = Path(sys.argv[0])
    if called.name != PROGRAM or shutil.which(PROGRAM) == str(called.absolute()):
        return PROGRAM
    return _near(str(called.absolute()))


def _near(place: str) -> str:
    """Returns a path below the working directory without it."""
    place = place.removeprefix("file://")
    if os.path.isabs(place) and Path(place).is_relative_to(Path.cwd()):
        return os.path.relpath(place)
    return place
