"""The gate: bounds and champion, both ways."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.register.gate import Gate, Measured, check_bounds, check_external, compare
from components.shared.errors import UserError
from components.shared.evaluation.metrics import Interval, Scores
from tests.external import external_result, interval

_shares = st.floats(0, 1)


def _scores(accuracy: float, sensitivity: float, specificity: float) -> Scores:
    def around(value: float) -> Interval:
        return Interval(value=value, low=max(0, value - 0.05), high=min(1, value + 0.05))

    other = {name: around(0.5) for name in ("auroc", "auprc", "mcc", "brier", "ece")}
    return Scores(
        accuracy=around(accuracy),
        sensitivity=around(sensitivity),
        specificity=around(specificity),
        **other,
    )


def test_a_model_on_the_bounds_passes() -> None:
    decision = check_bounds(
        Gate(min_accuracy=0.8, min_sensitivity=0.85, min_specificity=0.7), _scores(0.8, 0.85, 0.7)
    )
    assert decision.accepted
    assert decision.reasons == ()


def test_each_failed_bound_is_named_with_value_interval_and_bound() -> None:
    decision = check_bounds(
        Gate(min_accuracy=0.8, min_sensitivity=0.85, min_specificity=0.7), _scores(0.79, 0.9, 0.5)
    )
    assert not decision.accepted
    accuracy, specificity = decision.reasons
    for part in ("accuracy", "79.0%", "74.0% to 84.0%", "min_accuracy, 80.0%"):
        assert part in accuracy
    for part in ("specificity", "50.0%", "45.0% to 55.0%", "min_specificity, 70.0%"):
        assert part in specificity


@settings(deadline=None, derandomize=True)
@given(_shares, _shares, _shares, _shares, _shares, _shares)
def test_accepted_means_that_nothing_failed(
    a: float, b: float, c: float, x: float, y: float, z: float
) -> None:
    decision = check_bounds(
        Gate(min_accuracy=a, min_sensitivity=b, min_specificity=c), _scores(x, y, z)
    )
    failed = sum(value < bound - 1e-9 for value, bound in ((x, a), (y, b), (z, c)))
    assert len(decision.reasons) == failed
    assert decision.accepted == (failed == 0)


def test_better_and_equal_challengers_pass() -> None:
    champion = Measured(0.8, 0.8, 0.8)
    assert compare(champion, champion, 3, 0.0).accepted
    assert compare(Measured(0.9, 0.9, 0.9), champion, 3, 0.0).accepted


def test_a_challenger_that_misses_more_tumours_fails_despite_its_accuracy() -> None:
    decision = compare(Measured(0.9, 0.7, 0.99), Measured(0.8, 0.8, 0.8), 3, 0.05)
    assert not decision.accepted
    (reason,) = decision.reasons
    for part in ("sensitivity", "70.0%", "80.0%", "5.0%", "version 3"):
        assert part in reason


def test_a_challenger_that_is_less_accurate_fails() -> None:
    decision = compare(Measured(0.74, 0.9, 0.5), Measured(0.8, 0.8, 0.8), 3, 0.05)
    assert not decision.accepted
    assert decision.reasons[0].startswith("accuracy")


def test_specificity_alone_may_fall() -> None:
    assert compare(Measured(0.8, 0.9, 0.6), Measured(0.8, 0.8, 0.8), 3, 0.0).accepted


def test_a_tie_at_the_margin_passes_whatever_binary_makes_of_it() -> None:
    assert compare(Measured(0.7, 0.7, 0.7), Measured(0.8, 0.8, 0.8), 1, 0.1).accepted


@settings(deadline=None, derandomize=True)
@given(_shares, _shares, _shares)
def test_a_wider_margin_never_refuses_what_a_narrower_one_passes(
    ours: float, theirs: float, margin: float
) -> None:
    challenger, champion = Measured(ours, ours, ours), Measured(theirs, theirs, theirs)
    if compare(challenger, champion, 1, margin / 2).accepted:
        assert compare(challenger, champion, 1, margin).accepted


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_impossible_bounds_are_refused_by_name(value: float) -> None:
    with pytest.raises(UserError, match="min_sensitivity"):
        Gate(min_accuracy=0.5, min_sensitivity=value, min_specificity=0.5)
    with pytest.raises(UserError, match="champion_margin"):
        Gate(min_accuracy=0.5, min_sensitivity=0.5, min_specificity=0.5, champion_margin=value)


def test_bounds_on_other_sources_hold_for_each_that_can_tell() -> None:
    bounds = {"min_accuracy": 0, "min_sensitivity": 0, "min_specificity": 0}
    gate = Gate(**bounds, min_external_sensitivity=0.8, min_external_specificity=0.7)
    tumors = external_result(name="tumours", scores={"sensitivity": interval(0.79)})
    both = external_result(name="both")
    assert check_external(gate, [both]).accepted
    decision = check_external(gate, [both, tumors])
    assert decision.reasons == (
        "sensitivity on the images of tumours is 79.0% (95% interval 74.0% to 84.0%), below "
        "min_external_sensitivity, 80.0%",
    )
    (none,) = check_external(Gate(**bounds, min_external_auroc=0.5), [tumors]).reasons
    assert "no other source can tell it" in none
    assert check_external(Gate(**bounds), []).accepted
