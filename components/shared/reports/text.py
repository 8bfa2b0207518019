"""Text for people: what others wrote, made safe for terminals, logs and spreadsheets."""

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    r"""Returns text for one line of UTF-8, whatever it was made of.

    Args:
        text: A name of a file, for example. Bytes that are no UTF-8 are surrogates in it.

    Returns:
        The text, with `\x1b` for an escape character, `\n` for a line break and `\udcff` for the
        byte 255. Nothing is lost, and no terminal takes it for a command.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns rows as CSV that a spreadsheet shows and does not calculate.

    Args:
        header: Names of the columns.
        rows: Cells. Text that a spreadsheet would take for a formula, such as `=1+1`, gets an
            apostrophe before it; numbers stay.
    """
    return csv_lines([header]) + csv_lines(rows)


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Returns rows as lines of CSV; for rows that come one after the other.

    Args:
        rows: As `csv_text` takes them.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow([_as_text(cell) for cell in row])
    return file.getvalue()


def _as_text(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
