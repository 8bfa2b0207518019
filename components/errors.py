"""The one error that is the user's to mend."""

from pydantic import ValidationError


class UserError(Exception):
    """Bad input. Its message is one line: what is wrong, where, and what to do about it."""


def first_fault(error: ValidationError) -> str:
    """Returns where in a document the first fault lies and what it is, in one line."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"]) or "content"
    return f"{where}: {fault['msg']}"
