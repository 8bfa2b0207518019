"""Who may be registered: bounds on the held-out part, and the champion to hold out against."""

from dataclasses import dataclass, fields

from components.shared.errors import UserError
from components.shared.evaluation.metrics import Interval, Scores

# 0.8 - 0.1 is a little more than 0.7 in binary; a tie must not be lost to that.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Decision:
    """What the gate says.

    Attributes:
        accepted: Whether the model may be registered.
        reasons: One sentence for each bound that failed; what else a reader should know.
    """

    accepted: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a model must pass, each 0..1.

    Attributes:
        min_accuracy: Least accuracy on the held-out part.
        min_sensitivity: Least sensitivity there; Brain Tumor is the positive class.
        min_specificity: Least specificity there.
        champion_margin: By how much it may be worse than the champion.
    """

    min_accuracy: float
    min_sensitivity: float
    min_specificity: float
    champion_margin: float = 0.0

    def __post_init__(self) -> None:
        """Raises `UserError` for a bound outside 0..1."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise UserError(f"{field.name} is {value}; give a number from 0 to 1")


@dataclass(frozen=True)
class Measured:
    """Point values on the held-out images at a model's own threshold, each 0..1."""

    accuracy: float
    sensitivity: float
    specificity: float


def check_bounds(gate: Gate, held_out: Scores) -> Decision:
    """Compares the model's point values with the bounds.

    The point values decide and not the ends of their intervals: on a few hundred images an
    interval is wider than the difference that a bound is meant to catch. The interval is told.

    Args:
        gate: The bounds.
        held_out: The model's scores on the held-out part.

    Returns:
        The decision; a reason for every failed bound names value, interval and bound.
    """
    pairs = (
        ("accuracy", held_out.accuracy, gate.min_accuracy),
        ("sensitivity", held_out.sensitivity, gate.min_sensitivity),
        ("specificity", held_out.specificity, gate.min_specificity),
    )
    failed = tuple(
        _failed_bound(name, score, bound)
        for name, score, bound in pairs
        if _below(score.value, bound)
    )
    return Decision(not failed, failed)


def compare(challenger: Measured, champion: Measured, version: int, margin: float) -> Decision:
    """Compares a model with the champion, on the same images.

    The rule: neither accuracy nor sensitivity may lie below the champion's by more than the
    margin. Sensitivity counts by itself, so that no model gains accuracy by missing tumours.

    Args:
        challenger: The model to register.
        champion: The version that it would follow.
        version: The champion's version, for the reasons.
        margin: By how much the challenger may be worse, 0..1.

    Returns:
        The decision; a reason for every score that is worse by more than the margin.
    """
    pairs = (
        ("accuracy", challenger.accuracy, champion.accuracy),
        ("sensitivity", challenger.sensitivity, champion.sensitivity),
    )
    failed = tuple(
        f"{name} on the held-out images is {ours:.1%}, worse by more than {margin:.1%} than "
        f"the {theirs:.1%} of version {version} on the same images"
        for name, ours, theirs in pairs
        if _below(ours, theirs - margin)
    )
    return Decision(not failed, failed)


def _failed_bound(name: str, score: Interval, bound: float) -> str:
    return (
        f"{name} on the held-out images is {score.value:.1%} "
        f"(95% interval {score.low:.1%} to {score.high:.1%}), below the bound of {bound:.1%}"
    )


def _below(value: float, bound: float) -> bool:
    # Written so that a NaN counts as below.
    return not value >= bound - _ROUNDING
