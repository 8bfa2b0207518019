"""Self-contained HTML reports: one look, pictures inline, everything from outside escaped."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from components.shared.evaluation.metrics import INTERVALS, MEASURES
from components.shared.reports.numbers import FILTERS
from components.shared.storage.files import write_atomically

MAX_BYTES = 2_000_000  # the KFP UI shows no more

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[2]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals |= {"MEASURES": MEASURES, "INTERVALS": INTERVALS}
_ENVIRONMENT.filters |= FILTERS


def write_report(path: str | Path, template: str, **context: Any) -> None:
    """Renders a template that extends `report.html.j2`.

    Args:
        path: The HTML file to write.
        template: Path of the template below `components/`, such as `ingest/report.html.j2`.
        **context: What the template shows.
    """
    write_atomically(path, _ENVIRONMENT.get_template(template).render(**context))


def plot(figure: Figure) -> str:
    """Returns a figure as a data URI of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return _data_uri(buffer.getvalue(), "png")


def picture(pixels: np.ndarray, size: int = 96) -> str:
    """Returns an image, uint8 [h, w, 3], as a data URI of a small JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR).save(
        buffer, format="JPEG", quality=80
    )
    return _data_uri(buffer.getvalue(), "jpeg")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
