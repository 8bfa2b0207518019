"""Self-contained HTML reports: one look, pictures inline, everything from outside escaped."""

import base64
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from components.shared.evaluation.metrics import INTERVALS, MEASURES
from components.shared.reports import palette
from components.shared.reports.numbers import FILTERS
from components.shared.storage.files import write_atomically

MAX_BYTES = 2_000_000  # the KFP UI shows no more
REVISION = "BRAIN_TUMOR_REVISION"  # of the code in an image, see Dockerfile.train

_QUALITIES = (80, 65, 50, 35, 20)
_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
# What matplotlib writes that a page does not need: data about itself, fonts, names of groups, and
# more digits than a screen has points.
_NEEDLESS = re.compile(
    r'<metadata>.*?</metadata>|<style.*?</style>|font-family: [^;"]*;? ?| id="[a-z][\w.]*_\d+"',
    re.DOTALL | re.IGNORECASE,
)
_DIGITS = re.compile(r"(\d\.\d\d)\d+")


def write_report(
    path: str | Path, template: str, facts: Mapping[str, str] | None = None, **context: Any
) -> None:
    """Renders a template that extends `report.html.j2`.

    Args:
        path: The HTML file to write.
        template: Path of the template below `components/`, such as `ingest/report.html.j2`.
        facts: What it is a report of, by name, for its header.
        **context: What the template shows.
    """
    known = dict(facts or {})
    if revision := os.environ.get(REVISION):
        known["code"] = revision[:12]
    write_atomically(path, render(template, facts=known, **context))


def render(template: str, **context: Any) -> str:
    """Returns what a template below `components/` makes of some values."""
    return _ENVIRONMENT.get_template(template).render(**context)


def plot(figure: Figure) -> Markup:
    """Returns a figure as SVG for a template, which gives it a text by the filter `described`.

    Its colours are the style sheet's, so that it suits light and dark screens, and its font the
    page's.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(
            buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None}
        )
    svg = buffer.getvalue()
    svg = _NEEDLESS.sub("", svg[svg.index("<svg") :]).replace("#000000", "var(--soft)")
    for name, (light, _) in palette.SCHEMES.items():
        svg = svg.replace(light, f"var(--{name})")
    svg = _TAG.sub(lambda tag: _DIGITS.sub(r"\1", tag[0]), svg)
    return Markup(" ".join(svg.split()))


def picture(pixels: np.ndarray, size: int = 96, most_bytes: int | None = None) -> str:
    """Returns an image as a data URI of a small JPEG.

    Args:
        pixels: uint8 [h, w, 3].
        size: Width and height, pixels.
        most_bytes: How long the URI may be; of a noisy image it is blurred for that. None for any.
    """
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality)
        uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if most_bytes is None or len(uri) <= most_bytes:
            break
    return uri


def _described(svg: Markup, text: str) -> Markup:
    """Returns a plot with a text for those who do not see it, in a box that scrolls if need be."""
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    opening = Markup(
        '<div class="plot" tabindex="0"><svg role="img" aria-label="{}" viewBox="0 0 {} {}" '
        'style="--width: {}px">'
    ).format(text, width, height, round(float(width) * _SCALE))
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)) + Markup("</div>")


def _outlined(body: Markup) -> tuple[Markup, list[tuple[str, str]]]:
    """Returns a report's body with an id for each heading, and the headings."""
    found: list[tuple[str, str]] = []

    def with_id(match: re.Match[str]) -> str:
        title = " ".join(_TAG.sub("", match[1]).split())
        found.append((f"part-{len(found) + 1}", title))
        return f'<h2 id="{found[-1][0]}">{match[1]}</h2>'

    outlined = Markup(_HEADING.sub(with_id, body))
    return outlined, [(name, Markup(title)) for name, title in found]


_SCALE = 4 / 3  # CSS pixels in a point
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[2]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals |= {
    "MEASURES": MEASURES,
    "INTERVALS": INTERVALS,
    "SCHEMES": palette.SCHEMES,
    "outlined": _outlined,
}
_ENVIRONMENT.filters |= FILTERS | {"described": _described}
