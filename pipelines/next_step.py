"""What a user does next, as a command to copy."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from components.shared.model_folder.contract import NAME
from components.shared.run.parameters import Data
from pipelines.output import console

PROGRAM = "brain-tumor"


def show_next(*words: str) -> None:
    """Prints the next command.

    Args:
        *words: Of it, behind `brain-tumor`. They are quoted where a shell needs it.
    """
    command = shlex.join([_program(), *words])
    console.print(f"{'next':<8}{escape(command)}", soft_wrap=True)


def show_next_run(given: Mapping[str, Any]) -> None:
    """Prints the command that trains on the images of a cross-validation.

    Args:
        given: Parameters of the cross-validation, by name.
    """
    words = []
    for name in (*Data.model_fields, "from_model"):
        values = given.get(name) or ()
        for value in values if isinstance(values, list | tuple) else (values,):
            words += [f"--{name.replace('_', '-')}", str(value)]
    show_next("run", *words)


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
