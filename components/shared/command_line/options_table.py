"""The table of options on a page of `--help`."""

import re
from collections.abc import Iterable
from typing import Any

from rich.columns import Columns
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from typing_extensions import override

_LIST = re.compile(r"^<list\[(\w+)\]>$")
_BETWEEN = re.compile(r"^<\w+ range> ?\[(\S+)<=x<=(\S+)\]$")
_AT_LEAST = re.compile(r"^<\w+ range> ?\[x>=(\S+)\]$")


class OptionsTable(Table):
    """A table of options as typer fills it. Names stay whole, and long words fold."""

    @override
    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        row = list(cells)
        names = [at for at, cell in enumerate(row) if _plain(cell).startswith("--")]
        for off in names[1:]:  # --no-caching goes below --caching, which leaves room for the text
            row[names[0]] = _below(row[names[0]], row[off])
            row[off] = ""
        for text in (
            text for cell in row if isinstance(cell, Columns) for text in cell.renderables
        ):
            if isinstance(text, Text):
                text.overflow = "fold"
        super().add_row(*map(_value, row), **options)
        for column in self.columns:
            column.overflow = "fold"
        for at in names[:1]:
            self.columns[at].no_wrap = True


def _value(cell: RenderableType | None) -> RenderableType | None:
    """Returns what an option takes, for example `<0 to 65535>`. A switch takes nothing."""
    if not isinstance(cell, Text):
        return cell
    plain = _LIST.sub(lambda found: f"<{found[1].lower()}>", cell.plain)
    plain = _AT_LEAST.sub(r"<\1 or more>", _BETWEEN.sub(r"<\1 to \2>", plain))
    plain = "" if plain == "<bool>" else plain
    return cell if plain == cell.plain else Text(plain, cell.style, overflow="fold")


def _plain(cell: RenderableType | None) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell or "")


def _below(*cells: RenderableType | None) -> Text:
    texts: Iterable[Text] = (
        cell if isinstance(cell, Text) else Text(_plain(cell)) for cell in cells
    )
    return Text("\n").join(texts)
