"""The report: which quantities drifted, how far, and what their distributions look like."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from components.drift.results import Compared, Drift
from components.drift.stability import CONFIDENCE
from components.shared.model_folder.drift_reference import (
    FEATURE,
    IN_DISTRIBUTION_SCORE,
    TUMOR_PROBABILITY,
)
from components.shared.reports import palette
from components.shared.reports.html import plot, write_report

_TITLES = {
    TUMOR_PROBABILITY: "P(Brain Tumor)",
    IN_DISTRIBUTION_SCORE: "in-distribution score",
    "outcome": "answer",
    "flagged": "flagged as no brain MRI",
}
_COLUMNS = 3


def write_drift_report(path: str | Path, drift: Drift) -> None:
    """Writes the report as self-contained HTML.

    Args:
        path: The HTML file.
        drift: What was found.
    """
    ordered = sorted(drift.quantities, key=lambda quantity: -quantity.psi)
    write_report(
        path,
        "drift/report.html.j2",
        {"model": f"version {drift.version}"},
        drift=drift,
        rows=[(title(quantity.name), quantity) for quantity in ordered],
        confidence=CONFIDENCE,
        indices=plot(_indices(ordered, drift.psi_limit)) if ordered else "",
        distributions=plot(_distributions(ordered)) if ordered else "",
    )


def title(name: str) -> str:
    """Returns what people call a quantity."""
    return _TITLES.get(name, name.replace(FEATURE, "feature "))


def _indices(quantities: list[Compared], limit: float) -> Figure:
    """Draws each index with its interval, and the limit."""
    figure = Figure(figsize=(9.4, 0.6 + 0.3 * len(quantities)), layout="tight")
    axis = figure.subplots()
    for row, quantity in enumerate(reversed(quantities)):
        color = _color(quantity)
        axis.plot([quantity.low, quantity.high], [row, row], color=color, lw=2)
        axis.plot(quantity.psi, row, "o", color=color)
    axis.axvline(limit, color=palette.SOFT, lw=1, ls=":")
    axis.set(
        yticks=range(len(quantities)),
        yticklabels=[title(quantity.name) for quantity in reversed(quantities)],
        xlabel="population stability index",
        xlim=(0, None),
    )
    axis.grid(color=palette.GRID, lw=0.7, axis="x")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _distributions(quantities: list[Compared]) -> Figure:
    """Draws the share of each bin, there and here."""
    rows = math.ceil(len(quantities) / _COLUMNS)
    figure = Figure(figsize=(9.4, 2.1 * rows), layout="tight")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis in axes[len(quantities) :]:
        axis.set_visible(False)
    for axis, quantity in zip(axes, quantities, strict=False):
        places = np.arange(len(quantity.bins))
        for offset, counts, color, label in (
            (-0.2, quantity.reference, palette.GREY, "held-out images"),
            (0.2, quantity.served, _color(quantity), "served images"),
        ):
            shares = np.asarray(counts, float) / (sum(counts) or 1)
            axis.bar(places + offset, shares, 0.4, color=color, label=label)
        axis.set_title(title(quantity.name), fontsize=10)
        axis.set_xticks(places, quantity.bins, fontsize=8)
        axis.tick_params(axis="y", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _color(quantity: Compared) -> str:
    return palette.BAD if quantity.drifted else palette.ACCENT
