"""The pages of `--help`: whole at any width of the terminal."""

from collections.abc import Iterable
from typing import Any

import typer
from rich.columns import Columns
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand
from typing_extensions import override


def show_whole(*apps: typer.Typer) -> None:
    """Lets no help of these apps' commands cut the name of an option or an address."""
    for command in (command for app in apps for command in app.registered_commands):
        command.cls = _Command


class _Command(TyperCommand):
    @override
    def format_help(self, *arguments: Any, **options: Any) -> None:
        from typer import rich_utils  # 40 ms, which a command without --help need not take

        rich_utils.Table = _OptionsTable  # type: ignore[attr-defined]
        super().format_help(*arguments, **options)


class _OptionsTable(Table):
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
        # A switch takes no value.
        super().add_row(*("" if _plain(cell) == "<bool>" else cell for cell in row), **options)
        for column in self.columns:
            column.overflow = "fold"
        for at in names[:1]:
            self.columns[at].no_wrap = True


def _plain(cell: RenderableType | None) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell or "")


def _below(*cells: RenderableType | None) -> Text:
    texts: Iterable[Text] = (
        cell if isinstance(cell, Text) else Text(_plain(cell)) for cell in cells
    )
    return Text("\n").join(texts)
