"""The one error that is the user's to mend, and the words for what is wrong."""

import difflib
import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_NOT_ONE_OF = re.compile("^.* is not one of ")  # as typer says of choices
# What the system says of a path with something of the other kind, in our words.
_KINDS = dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file is where a folder is needed") | {
    errno.EISDIR: "a folder is where a file is needed"
}
_NUMBER = re.compile(r"\[Errno -?\d+\] ")
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


def fault_words(fault: Mapping[str, Any], examples: Sequence[str] = ()) -> str:
    """Returns what is wrong with a value, such as `0 is not allowed; it should be at least 1`.

    Args:
        fault: One of a pydantic error's `errors()`.
        examples: Values that are allowed, for one that does not match a pattern.
    """
    given, kind, context = fault["input"], fault["type"], fault.get("ctx", {})
    if kind == "string_unicode":
        should_be = "it holds bytes that are not UTF-8"
    elif kind == "string_type":
        should_be = f"it should be a text{_as_text(given)}"
    elif kind in _SHOULD_BE:
        should_be = f"it should be {_SHOULD_BE[kind].format(**context)}"
    elif kind == "string_pattern_mismatch" and examples:
        should_be = f"it should be like {' or '.join(map(repr, examples))}"
    else:
        told = fault["msg"].removeprefix("Value error, ")
        for subject in ("Input should ", "String should "):
            if told.startswith(subject):
                told = f"it should {told.removeprefix(subject)}"
        should_be = _NOT_ONE_OF.sub("it should be one of ", told).rstrip(".")
        if should_be.startswith(f"{given!r} "):  # it says already of what it speaks
            return should_be
    return f"{given!r} is not allowed; {should_be}"


def _as_text(given: object) -> str:
    """Returns how to write what was given in YAML or JSON as a text; empty where it is none."""
    if given is None:
        return "; write '' for an empty one"
    if isinstance(given, list) and all(isinstance(word, str) for word in given):
        return f"; write {','.join(given)!r}"
    if isinstance(given, bool):
        given = str(given).lower()
    return f"; write '{given}' in quotes" if isinstance(given, str | int | float) else ""


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
    text = _NUMBER.sub("", " ".join(str(message).split()))
    line = "".join(char for char in text if char.isprintable())[:limit]
    return line or (type(message).__name__ if isinstance(message, BaseException) else "")


def network_reason(error: BaseException) -> str:
    """Returns why a server cannot be reached, without the names of a library's classes.

    Args:
        error: What a client of HTTP raised; its causes say more.
    """
    reason, cause = "", error
    for _ in range(10):  # causes of causes; a circle has an end too
        if isinstance(cause, ConnectionRefusedError):
            return "nothing answers there (connection refused)"
        if isinstance(cause, OSError) and cause.strerror:
            reason = str(cause.strerror)
        inner = [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]
        found = [one for one in inner if isinstance(one, BaseException)]
        if not found:
            break
        cause = found[0]
    return one_line(reason or getattr(cause, "reason", None) or cause)


def reason(error: BaseException) -> str:
    """Returns why a file or folder could not be used, without an error's number and path.

    Args:
        error: What was raised, such as `[Errno 2] No such file or directory: 'a'`.

    Returns:
        What the system said, such as `No such file or directory`, or the error's own words.
    """
    said = _KINDS.get(getattr(error, "errno", None) or 0) or getattr(error, "strerror", None)
    return one_line(said or error)


def first_line(error: BaseException) -> str:
    """Returns the first line of what a library said, whose further lines are for programmers.

    Args:
        error: What it raised.
    """
    return one_line(str(error).strip().partition("\n")[0]) or type(error).__name__
