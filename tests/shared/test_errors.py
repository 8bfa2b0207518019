"""What libraries say, fit for a line."""

from components.shared.errors import first_line, one_line


def test_all_that_a_library_said_is_one_line() -> None:
    assert one_line(ValueError("no\n  such\x1b[31m key")) == "no such[31m key"
    assert one_line("x" * 400, limit=7) == "x" * 7


def test_an_error_without_a_word_is_named() -> None:
    assert one_line(TimeoutError()) == first_line(TimeoutError("\n")) == "TimeoutError"
    assert one_line("") == ""


def test_the_first_line_is_enough() -> None:
    assert first_line(OSError("\nno such file\nat <0x7f> in graph")) == "no such file"
