"""Where the commands print, and how: whatever the terminal's encoding, and no command to it."""

import json
import sys
import webbrowser
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typing_extensions import override

from components.shared.reports.text import printable


class SafeConsole(Console):
    """A console that shows escape sequences in names and messages and does not send them."""

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
    """Opens a page in the browser of this machine, if it has one."""
    webbrowser.open(page.absolute().as_uri())
