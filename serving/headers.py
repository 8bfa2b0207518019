"""What headers say, read with care."""

from serving.errors import PredictorError

_MAX_DIGITS = 20  # int() of thousands raises, and takes long before it does


def number(name: str, text: str) -> int:
    """Reads a header that is a number.

    Args:
        name: Of the header.
        text: Its value.

    Returns:
        The number.

    Raises:
        PredictorError: It is none, or has more than 20 digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise PredictorError(
            "malformed", f"{name} has to be a number of at most {_MAX_DIGITS} digits"
        )
    return int(text)
