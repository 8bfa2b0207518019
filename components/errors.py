"""The one error that is the user's to mend."""


class UserError(Exception):
    """Bad input. Its message is one line: what is wrong, where, and what to do about it."""
