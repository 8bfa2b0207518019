"""Writing files so that nobody ever sees half of one, and reading what steps write as JSON."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from components.errors import UserError, first_fault

Content = TypeVar("Content", bound=BaseModel)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Writes a file beside its place, then renames it there.

    Args:
        path: The file; its folder is made where missing.
        content: Text (UTF-8) or bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    beside.replace(path)


def read_json(path: Path, kind: type[Content], remedy: str) -> Content:
    """Reads what a step wrote as JSON.

    Args:
        path: The file.
        kind: What it holds.
        remedy: What to do where it does not, for the message.

    Raises:
        UserError: Missing or malformed.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read: {error}; {remedy}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}; {remedy}") from error
