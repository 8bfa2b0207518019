"""The picture of a training: loss and accuracy by epoch, in its own report and the evaluation's."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.shared.reports import palette

_HIGHEST_LOSS = 3.0  # more would flatten all that matters
_FEW_EPOCHS = 15  # so few are shown as dots too


def draw_learning_curves(
    history: Mapping[str, np.ndarray | Sequence[float]],
    best_epoch: int,
    averaged_epochs: int,
    kept: Mapping[str, float] | None = None,
) -> Figure:
    """Draws loss and accuracy of both parts, and marks the epoch kept or those averaged.

    Args:
        history: By column of `history.csv`, one value an epoch.
        best_epoch: The epoch that was kept; the last of those averaged.
        averaged_epochs: How many epochs' weights were averaged; 0 where one was kept.
        kept: `loss` and `accuracy` of the kept weights on the validation part, where known.
    """
    figure = Figure(figsize=(9.4, 3.3), layout="tight")
    epochs = history["epoch"]
    marker = "o" if len(epochs) < _FEW_EPOCHS else None
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, color, label in (
            (name, palette.ACCENT_LIGHT, "training"),
            (f"val_{name}", palette.ACCENT, "validation"),
        ):
            axes.plot(epochs, history[column], color=color, marker=marker, ms=3, label=label)
        if averaged_epochs:
            first = best_epoch - averaged_epochs + 1
            axes.axvspan(
                first - 0.5, best_epoch + 0.5, color=palette.SOFT, alpha=0.12, label="averaged"
            )
        else:
            axes.axvline(best_epoch, color=palette.SOFT, lw=1, ls=":", label="best epoch")
        if kept:
            axes.plot(best_epoch, kept[name], "o", color=palette.ACCENT, label="weights kept")
        axes.set(xlabel="epoch", ylabel=name, xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=palette.GRID, lw=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    losses = np.concatenate([history["loss"], history["val_loss"]])
    highest = np.max(losses, where=np.isfinite(losses), initial=0.0)
    figure.axes[0].set_ylim(0, min(_HIGHEST_LOSS, 1.1 * float(highest)) or 1.0)
    return figure
