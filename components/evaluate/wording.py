"""How reports name the measures and write their values."""

from components.metrics import BINS, Interval

MEANINGS = {
    "accuracy": ("Accuracy", "right answers"),
    "sensitivity": ("Sensitivity", "tumours found"),
    "specificity": ("Specificity", "healthy images recognised"),
    "auroc": ("AUROC", "ranks tumours above healthy; 0.5 is chance"),
    "auprc": ("AUPRC", "average precision"),
    "mcc": ("MCC", "correlation of answer and truth; 0 is chance"),
    "brier": ("Brier score", "squared error of the probability; lower is better"),
    "ece": ("Calibration error", f"expected, over {BINS} bins; lower is better"),
}
_PERCENT = frozenset({"accuracy", "sensitivity", "specificity"})


def value(measure: str, number: float) -> str:
    """Returns a measure's value as people read it."""
    return f"{number:.1%}" if measure in _PERCENT else f"{number:.3f}"


def numbers(measure: str, interval: Interval) -> tuple[str, str]:
    """Returns a value and its interval as people read them."""
    low, high = value(measure, interval.low), value(measure, interval.high)
    return value(measure, interval.value), f"{low} to {high}"
