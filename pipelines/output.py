"""Where the commands print, and how: whatever the terminal's encoding, and no command to it."""

import json
import os
import sys
import webbrowser
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from components.shared.reports.text import printable

_ENDLESS = 100_000  # columns


class SafeConsole(Console):
    """A console that shows escape sequences in names and messages and does not send them.

    A file or a pipe gets whole lines, for grep: only a terminal, or COLUMNS, has an end to them.
    """

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and rows."""
        if self.is_terminal or self._width or "COLUMNS" in os.environ:
            return super().size
        return ConsoleDimensions(_ENDLESS, 1)

    @size.setter
    def size(self, new: tuple[int, int]) -> None:
        self._width, self._height = new

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_lines(text), **options)  # before a table measures its cells

    @override
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=_lines(segment.text))


console = SafeConsole(highlight=False)
errors = SafeConsole(stderr=True, highlight=False)


class PlainTable(Table):
    """A table without lines. Where a terminal is narrow, words fold, and no letter is lost."""

    def __init__(self, **options: Any) -> None:
        """Takes the options of rich's table."""
        super().__init__(box=None, pad_edge=False, header_style="dim", **options)

    @override
    def add_column(self, header: RenderableType = "", *args: Any, **options: Any) -> None:
        super().add_column(header, *args, **{"overflow": "fold"} | options)


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"


def print_json(content: Any) -> None:
    r"""Prints JSON: letters as they are where the terminal shows them, else as `\u00f6`."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if not text.replace("\n", "").isprintable() or not _encodes(text, encoding):
        text = json.dumps(content, indent=1)
    print(text)


def open_to_every_terminal() -> None:
    r"""Lets standard output and error show `\u2013` for what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def show_in_browser(page: Path) -> None:
    """Opens a page in the browser of this machine, or says that it has none."""
    address = page.absolute().as_uri()
    if not webbrowser.open(address):
        errors.print(escape(f"no browser was found to open {address}"), soft_wrap=True)
