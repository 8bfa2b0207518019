"""Markdown from templates, with everything from outside escaped."""

import re
from html import escape
from pathlib import Path
from typing import Any

import jinja2

from components.shared.evaluation.metrics import INTERVALS, MEASURES, Interval
from components.shared.evaluation.predictors import FLOORS, PREDICTORS
from components.shared.reports.numbers import FILTERS


def render(template: str, **context: Any) -> str:
    """Renders a Markdown template; every value in it is escaped.

    Args:
        template: Path of the template below `components/`, such as `register/summary.md.j2`.
        **context: What the template shows.

    Returns:
        Markdown.
    """
    return _ENVIRONMENT.get_template(template).render(**context)


def escape_markdown(value: Any) -> str:
    """Returns a value as text that Markdown shows as it is: one line, no markup, no HTML.

    Args:
        value: Anything with a text form.

    Returns:
        The text, with HTML and Markdown characters escaped.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return _MARKUP.sub(r"\\\g<0>", escape(line, quote=False))


def _interval(score: Interval, measure: str) -> str:
    """Returns a score with its interval, as people read the measure."""
    value, interval = MEASURES[measure].texts(score)
    return f"{value} ({interval})"


# Also what GitHub makes links of by itself: the colon of http://, the dot of www., the @ of mail.
_MARKUP = re.compile(r"[\\`*_\[\]#|~!{}@]|:(?=//)|(?<=www)\.", re.IGNORECASE)

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[2]),
    finalize=escape_markdown,  # for every {{ }}, so that none can be forgotten
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= FILTERS | {"interval": _interval}
_ENVIRONMENT.globals |= {
    "measures": MEASURES,
    "predictors": PREDICTORS,
    "floors": FLOORS,
    "intervals": INTERVALS,
}
