"""The pages of `--help`, whole at any width of the terminal."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override


def show_whole(*apps: typer.Typer) -> None:
    """Lets no help of these apps and their commands cut the name of an option or an address."""
    for app in apps:
        app.info.cls = _Group
        for command in app.registered_commands:
            command.cls = _Command


def _use_our_table() -> None:
    from typer import rich_utils  # 40 ms and 5 MB, which a command without --help need not take

    from components.shared.command_line.options_table import OptionsTable

    rich_utils.Table = OptionsTable  # type: ignore[attr-defined]


class _Command(TyperCommand):
    @override
    def format_help(self, *arguments: Any, **options: Any) -> None:
        _use_our_table()
        super().format_help(*arguments, **options)


class _Group(TyperGroup):
    @override
    def format_help(self, *arguments: Any, **options: Any) -> None:
        _use_our_table()
        super().format_help(*arguments, **options)
