"""Who may be registered: bounds on the held-out part, and the champion to hold out against."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from components.shared.errors import UserError
from components.shared.evaluation.external import ExternalResult
from components.shared.evaluation.metrics import MEASURES, Interval, Scores
from components.shared.reports.numbers import percent

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


def joined(decisions: Sequence[Decision]) -> Decision:
    """Joins decisions: all have to accept, and every reason is told."""
    return Decision(
        all(decision.accepted for decision in decisions),
        tuple(reason for decision in decisions for reason in decision.reasons),
    )


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a model must pass, each 0..1.

    Attributes:
        min_accuracy: Least accuracy on the held-out part.
        min_sensitivity: Least sensitivity there; Brain Tumor is the positive class.
        min_specificity: Least specificity there.
        champion_margin: By how much it may be worse than the champion.
        min_external_sensitivity: Least sensitivity on each other source that has tumours.
        min_external_specificity: Least specificity on each that has healthy images.
        min_external_auroc: Least AUROC on each that has both.
    """

    min_accuracy: float
    min_sensitivity: float
    min_specificity: float
    champion_margin: float = 0.0
    min_external_sensitivity: float = 0.0
    min_external_specificity: float = 0.0
    min_external_auroc: float = 0.0

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

    @classmethod
    def of(cls, scores: Scores) -> "Measured":
        """Takes the point values of scores."""
        return cls(scores.accuracy.value, scores.sensitivity.value, scores.specificity.value)


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
        _failed_bound(f"min_{name}", name, score, "the held-out images", bound)
        for name, score, bound in pairs
        if _below(score.value, bound)
    )
    return Decision(not failed, failed)


def check_external(gate: Gate, results: Sequence[ExternalResult]) -> Decision:
    """Compares what the model reaches on other sources with the bounds that were asked for.

    A source counts for the measures that mean something there: one without healthy images has no
    specificity to reach.

    Args:
        gate: The bounds; 0 asks for nothing.
        results: Of each other source.

    Returns:
        The decision; a reason for every failed bound, and for one that no source can answer.
    """
    asked = {
        "sensitivity": gate.min_external_sensitivity,
        "specificity": gate.min_external_specificity,
        "auroc": gate.min_external_auroc,
    }
    failed = []
    for measure, bound in asked.items():
        if not bound:
            continue
        known = [(found.name, score) for found in results if (score := found.of(measure))]
        if not known:
            failed.append(
                f"min_external_{measure} is {bound}, but no other source can tell it; give one in "
                "validate_sources"
            )
        failed += [
            _failed_bound(f"min_external_{measure}", measure, score, f"the images of {name}", bound)
            for name, score in known
            if _below(score.value, bound)
        ]
    return Decision(not failed, tuple(failed))


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
        f"{name} on the held-out images is {percent(ours)}; version {version} reaches "
        f"{percent(theirs)} on the same images, and champion_margin allows {percent(margin)} less"
        for name, ours, theirs in pairs
        if _below(ours, theirs - margin)
    )
    return Decision(not failed, failed)


def _failed_bound(parameter: str, measure: str, score: Interval, where: str, bound: float) -> str:
    found = MEASURES[measure]
    value, ends = found.texts(score)
    return (
        f"{found.name} on {where} is {value} (95% interval {ends}), below {parameter}, "
        f"{found.text(bound)}"
    )


def _below(value: float, bound: float) -> bool:
    # Written so that a NaN counts as below.
    return not value >= bound - _ROUNDING
