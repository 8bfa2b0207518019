"""The one error that is the user's to mend."""

from pydantic import ValidationError


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
