"""Text of others, made safe for terminals and spreadsheets."""

import csv
import io
import os

import pytest

from components.shared.reports.text import csv_text, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("größe 脳.png".encode(), "größe 脳.png"),
        (b"\xff.png", "\\udcff.png"),
        (b"\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x9b2J\u202egnp".encode(), "\\x9b2J\\u202egnp"),
        (b"two\nlines\r", "two\\nlines\\r"),
    ],
)
def test_a_name_on_a_line(name: bytes, shown: str) -> None:
    assert printable(os.fsdecode(name)) == shown


def test_no_cell_is_a_formula() -> None:
    rows = [["=1+1", -0.5], ["+x", 1], ["-x", 2], ["@x", 3], ["\tx", 4], ["a=1", 5], ['"', ""]]
    read = list(csv.reader(io.StringIO(csv_text(["path", "score"], rows))))
    assert read[0] == ["path", "score"]
    assert [row[0] for row in read[1:]] == ["'=1+1", "'+x", "'-x", "'@x", "'\tx", "a=1", '"']
    assert [row[1] for row in read[1:]] == ["-0.5", "1", "2", "3", "4", "5", ""]
