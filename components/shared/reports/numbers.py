"""Numbers for people. What shows one rounds it here, so that it reads the same everywhere."""


def percent(value: float, digits: int = 1, signed: bool = False) -> str:
    """Returns a share as a percentage.

    Args:
        value: Such as 0.98765.
        digits: After the point.
        signed: Whether a positive number gets a plus.

    Returns:
        Such as `98.8%`. Only all is `100.0%`: 0.9996 is `99.96%`, and 0.0004 is `0.04%`.
    """
    return f"{value:{'+' if signed else ''}.{_digits(value, digits + 2, 3) - 2}%}"


def decimal(value: float, digits: int = 3, signed: bool = False) -> str:
    """Returns a number with digits after the point, such as a probability, an AUROC or a loss.

    Args:
        value: Such as 0.98765.
        digits: After the point.
        signed: Whether a positive number gets a plus.

    Returns:
        Such as `0.988`. As in `percent`, 0.9996 is no `1.000`, and 0.0004 no `0.000`.
    """
    return f"{value:{'+' if signed else ''}.{_digits(value, digits, 1)}f}"


def count(value: float) -> str:
    """Returns a whole number with a comma before each three digits, such as `407,889`."""
    return f"{value:,.0f}"


def counted(value: int, noun: str) -> str:
    """Returns a number with its noun, such as `1 file` and `3,907 files`."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def setting(value: str | int | float | bool | None) -> str:
    """Returns a setting.

    Args:
        value: Such as True, 407889, 2.5209567190004236, an empty text or None.

    Returns:
        Such as `on`, `407,889`, `2.521` and, for the last two, `none`.
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return value or "none"


def _digits(value: float, digits: int, more: int) -> int:
    """Returns how many digits, or so many more, keep a number between 0 and 1 apart from both."""
    if 0 < abs(value) < 1:
        for enough in range(digits, digits + more + 1):
            if 0 < round(abs(value), enough) < 1:
                return enough
    return digits


FILTERS = {
    "percent": percent,
    "decimal": decimal,
    "count": count,
    "setting": setting,
}  # of templates
