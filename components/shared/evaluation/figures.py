"""The report's pictures of numbers, each as SVG."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import roc_curve

from components.shared.data.classes import TUMOR
from components.shared.evaluation.metrics import BINS, Predictor
from components.shared.evaluation.predictors import MODEL, PREDICTORS
from components.shared.evaluation.results import Answered, Change, Stability
from components.shared.evaluation.stability import BORDER_ALONE, STEADY, UNSTEADY
from components.shared.evaluation.unsure import RiskCoverage
from components.shared.reports import palette
from components.shared.reports.html import plot
from components.shared.reports.numbers import decimal, percent


def roc_plot(labels: np.ndarray, predictors: Mapping[str, Predictor]) -> Markup:
    """Draws the ROC curve of the model and of the floors, with each one's threshold as a dot.

    Args:
        labels: int [n], 0 Brain Tumor.
        predictors: By their names in `PREDICTORS`, all or some of them.
    """
    figure, (axis,) = _figure(1, width=4.6, height=4.3)
    axis.plot([0, 1], [0, 1], color=palette.GRID, lw=1)
    for name, kind in reversed(PREDICTORS.items()):
        if name not in predictors:
            continue
        predictor, color = predictors[name], kind.color
        fpr, tpr, _ = roc_curve(labels == TUMOR, predictor.scores)
        axis.plot(fpr, tpr, color=color, lw=2 if name == MODEL else 1.4, label=kind.title)
        called = predictor.scores >= predictor.threshold
        axis.plot(
            np.mean(called[labels != TUMOR]), np.mean(called[labels == TUMOR]), "o", color=color
        )
    axis.set(
        xlabel="healthy images called tumour (1 - specificity)",
        ylabel="tumours found (sensitivity)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    handles, texts = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], texts[::-1], frameon=False, loc="lower right")
    return plot(figure)


def calibration_plot(
    labels: np.ndarray, scores: np.ndarray, uncalibrated: np.ndarray | None = None
) -> Markup:
    """Draws how often images were tumours against how probable the model said it was.

    Args:
        labels: int [n], 0 Brain Tumor.
        scores: P(Brain Tumor), float [n].
        uncalibrated: The same before calibration; None leaves that out.
    """
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axis, counts_axis = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axis.plot([0, 1], [0, 1], color=palette.GREY, lw=1, ls="--", label="perfectly calibrated")
    after = "model" if uncalibrated is None else "after calibration"
    for given, style in (
        (uncalibrated, {"color": palette.SAND, "marker": ".", "label": "before calibration"}),
        (scores, {"color": palette.ACCENT, "marker": "o", "label": after}),
    ):
        if given is None:
            continue
        bins = np.minimum((given * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        used = counts > 0
        said = np.bincount(bins, given, minlength=BINS)[used] / counts[used]
        true = np.bincount(bins, labels == TUMOR, minlength=BINS)[used] / counts[used]
        axis.plot(said, true, ms=5, lw=1.2, **style)
    axis.set(ylabel="share that are tumours", ylim=(-0.03, 1.03), xlim=(-0.02, 1.02))
    figure.legend(frameon=False, loc="outside upper left", ncols=1)
    counts_axis.bar((np.arange(BINS) + 0.5) / BINS, counts, 0.92 / BINS, color=palette.ACCENT_LIGHT)
    counts_axis.set(xlabel="P(Brain Tumor) given by the model", ylabel="images")
    _plain(axis)
    _plain(counts_axis)
    return plot(figure)


def threshold_sweep(
    held_out: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    threshold: float,
) -> Markup:
    """Draws what other thresholds would have given.

    Args:
        held_out: Labels, int [n], and P(Brain Tumor), float [n].
        validation: The same of the part that the threshold was chosen on.
        threshold: The one chosen.
    """
    figure, (axis,) = _figure(1, width=9.4, height=3.4)
    grid = np.linspace(0, 1, 401)
    for (labels, scores), style in ((held_out, "-"), (validation, ":")):
        tumor, healthy = np.sort(scores[labels == TUMOR]), np.sort(scores[labels != TUMOR])
        found = len(tumor) - np.searchsorted(tumor, grid)
        spared = np.searchsorted(healthy, grid)
        for share, name, color in (
            (found / len(tumor), "sensitivity", palette.TUMOR),
            (spared / len(healthy), "specificity", palette.HEALTHY),
            ((found + spared) / len(labels), "accuracy", palette.ACCENT),
        ):
            label = name if style == "-" else None
            axis.plot(grid, share, style, color=color, lw=1.8 if label else 1.1, label=label)
    axis.plot([], [], ":", color=palette.SOFT, lw=1.1, label="the same on validation")
    axis.axvline(
        threshold, color=palette.INK, lw=1, ls="--", label=f"threshold {decimal(threshold)}"
    )
    axis.set(xlabel="threshold on P(Brain Tumor)", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return plot(figure)


def risk_coverage_plot(
    parts: Sequence[tuple[str, RiskCoverage, Answered | None]], target_error: float | None
) -> Markup:
    """Draws how many answers are wrong if only the surest images are answered.

    Args:
        parts: Name, curve and, where it is known, what was chosen, drawn as a dot.
        target_error: Share of the answers that may be wrong; None where it is not known.
    """
    figure, (axis,) = _figure(1, width=9.4, height=3.4)
    for (name, curve, chosen), style in zip(parts, ("-", ":"), strict=False):
        axis.plot(curve.coverage, curve.error, style, color=palette.ACCENT, lw=1.8, label=name)
        if chosen and chosen.error:
            axis.plot(chosen.coverage.value, chosen.error.value, "o", color=palette.ACCENT)
    if target_error is not None:
        label = f"wanted: {percent(target_error)}"
        axis.axhline(target_error, color=palette.INK, lw=1, ls="--", label=label)
    axis.set(
        xlabel="share of the images that are answered, the surest first",
        ylabel="share of these answers that are wrong",
        xlim=(0, 1.01),
        ylim=(0, None),
    )
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return plot(figure)


def _figure(columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="tight")
    axes = list(np.atleast_1d(figure.subplots(1, columns)))
    for axis in axes:
        _plain(axis)
    return figure, axes


def _plain(axis: Axes) -> None:
    axis.grid(color=palette.GRID, lw=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def stability_plot(found: Stability) -> Markup:
    """Draws, change by change, how many answers flip and what accuracy is left."""
    figure = Figure(figsize=(9.4, 7.4), layout="tight")
    flips, accuracy = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    places = np.arange(len(found.changes))
    for axis, intervals, colors in (
        (flips, [c.flips for c in found.changes], [_alarm(c) for c in found.changes]),
        (accuracy, [c.accuracy for c in found.changes], [palette.ACCENT] * len(places)),
    ):
        values = np.array([(i.value, i.low, i.high) for i in intervals]) * 100
        if axis is flips:
            axis.barh(places, values[:, 0], 0.7, color=colors)
        else:
            axis.scatter(values[:, 0], places, color=colors, s=18, zorder=3)
        axis.hlines(places, values[:, 1], values[:, 2], color=palette.GREY_DARK, lw=1)
        _plain(axis)
        axis.grid(visible=False, axis="y")
    for limit in (STEADY, UNSTEADY):
        flips.axvline(limit * 100, color=palette.SOFT, lw=1, ls=":")
    accuracy.axvline(found.accuracy.value * 100, color=palette.SOFT, lw=1, ls="--")
    families = [change.family for change in found.changes]
    for place in places[1:]:
        if families[place] != families[place - 1]:
            for axis in (flips, accuracy):
                axis.axhline(place - 0.5, color=palette.GRID, lw=0.7)
    flips.set(xlabel="answers that flip, %", xlim=(0, None), ylim=(len(places) - 0.4, -0.6))
    flips.set_yticks(places, [change.name for change in found.changes])
    accuracy.set(xlabel="accuracy, % (dashed: unchanged)", xlim=(None, 101))
    return plot(figure)


def _alarm(change: Change) -> str:
    if change.family == BORDER_ALONE:
        return palette.SAND  # where it is right to flip
    if change.flips.value >= UNSTEADY:
        return palette.BAD
    return palette.ACCENT if change.flips.value < STEADY else palette.GREY
