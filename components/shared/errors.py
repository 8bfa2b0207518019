"""The one error that is the user's to mend, and the words for what is wrong."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

_NOT_ONE_OF = re.compile("^.* is not one of ")  # as typer says of choices
# What pydantic's types of errors say, in our words.
_SHOULD_BE = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "ip_v4_address": "an address, such as 127.0.0.1",
    "ip_v4_network": "a network, such as 10.1.0.0/16",
    "list_type": "a list",
    "dict_type": "a mapping",
    "string_type": "a text",
    "string_too_short": "at least {min_length} character long",
    "string_too_long": "at most {max_length} characters long",
}


class UserError(Exception):
    """Bad input. Its message is one line: what is wrong, where, and what to do about it."""


def require_at_least(minimum: int, **numbers: int) -> None:
    """Checks numbers that a run sets.

    Args:
        minimum: That each may be.
        numbers: By name.

    Raises:
        UserError: Names the first that is less.
    """
    for name, number in numbers.items():
        if number < minimum:
            raise UserError(f"{name} is {number}: give at least {minimum}")


def first_fault(error: ValidationError) -> str:
    """Returns where in a document the first fault lies and what it is, in one line."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"]) or "content"
    return f"{where}: {fault['msg']}"


def fault_words(fault: Mapping[str, Any], example: str = "") -> str:
    """Returns what is wrong with a value, such as `0 is not allowed; it should be at least 1`.

    Args:
        fault: One of a pydantic error's `errors()`.
        example: A value that is allowed, for one that is of no pattern; empty where none is known.
    """
    given, kind, context = fault["input"], fault["type"], fault.get("ctx", {})
    if kind == "string_unicode":
        should_be = "it holds bytes that are not UTF-8"
    elif kind in _SHOULD_BE:
        should_be = f"it should be {_SHOULD_BE[kind].format(**context)}"
    elif kind == "string_pattern_mismatch" and example:
        should_be = f"it should be like {example!r}"
    else:
        told = fault["msg"].removeprefix("Value error, ")
        for subject in ("Input should ", "String should "):
            if told.startswith(subject):
                told = f"it should {told.removeprefix(subject)}"
        should_be = _NOT_ONE_OF.sub("it should be one of ", told).rstrip(".")
    return f"{given!r} is not allowed; {should_be}"


def did_you_mean(word: str, known: Iterable[str], are: str = "there are") -> str:
    """Returns the end of an error about a name that is not known.

    Args:
        word: What was given.
        known: All names that are known.
        are: How the list of them begins, where none of them is like the word.

    Returns:
        `did you mean 'epochs'?` or `there are compact, reference`.
    """
    names = list(map(str, known))
    plain = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), plain, n=1)
    if near:
        return f"did you mean '{plain[near[0]]}'?"
    return f"{are} {', '.join(names)}"


def one_line(message: object, limit: int = 300) -> str:
    """Returns what a server or a library said, fit for the middle of an error message.

    Args:
        message: What it said; the name of its type stands for an error without a word.
        limit: Characters to show at most.
    """
    text = " ".join(str(message).split())
    line = "".join(char for char in text if char.isprintable())[:limit]
    return line or (type(message).__name__ if isinstance(message, BaseException) else "")


def first_line(error: BaseException) -> str:
    """Returns the first line of what a library said, whose further lines are for programmers.

    Args:
        error: What it raised.
    """
    return one_line(str(error).strip().partition("\n")[0]) or type(error).__name__
