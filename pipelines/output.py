"""Where the commands print, and how."""

from enum import StrEnum

from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
