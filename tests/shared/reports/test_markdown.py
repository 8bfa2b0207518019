"""Text in Markdown cannot be abused."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.reports.markdown import escape_markdown


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_escaped_text_is_one_line_without_markup(value: str) -> None:
    escaped = escape_markdown(value)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"[<>\x00-\x1f]", escaped)
    assert not re.search(r"(?<!\\)(\\\\)*[`*\[\]|~#]", escaped)
