"""What libraries say, fit for a line."""

from pathlib import Path

import pytest

from components.shared.errors import first_line, one_line, reason


def test_all_that_a_library_said_is_one_line() -> None:
    assert one_line(ValueError("no\n  such\x1b[31m key")) == "no such[31m key"
    assert one_line("x" * 400, limit=7) == "x" * 7


def test_an_error_without_a_word_is_named() -> None:
    assert one_line(TimeoutError()) == first_line(TimeoutError("\n")) == "TimeoutError"
    assert one_line("") == ""


def test_the_first_line_is_enough() -> None:
    assert first_line(OSError("\nno such file\nat <0x7f> in graph")) == "no such file"


def test_why_a_file_cannot_be_used_has_no_number() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Path("nowhere/file").read_text()
    assert reason(caught.value) == "No such file or directory"
    assert reason(OSError("is a link")) == "is a link"
