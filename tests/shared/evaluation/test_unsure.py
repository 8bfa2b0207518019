import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binomtest

from components.shared.evaluation.unsure import (
    choose_range,
    error_at_coverage,
    fewest_groups,
    measure_answers,
    no_range_sentence,
    risk_coverage,
)

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(rng: np.random.Generator, groups: int) -> Drawn:
    """Draws labels, scores and groups: whole groups are right or wrong, some of them large."""
    sizes = rng.choice([1, 1, 1, 2, 5, 40], groups)
    group = np.repeat(np.arange(groups), sizes)
    tumor = rng.random(groups) < 0.55
    logits = np.where(tumor, 3.0, -3.0) + rng.normal(0, 2, groups)
    scores = expit(1.5 * logits[group] + rng.normal(0, 0.1, len(group)))
    return np.where(tumor[group], 0, 1), scores, group


@pytest.mark.parametrize(("groups", "target"), [(120, 0.05), (400, 0.02), (400, 0.04)])
def test_on_average_no_more_answers_are_wrong_than_wanted(groups: int, target: float) -> None:
    # Each group counts once, so one image is drawn of each of many new groups.
    rng = np.random.default_rng(5)
    labels, scores, group = draw(rng, 40_000)
    first = np.unique(group, return_index=True)[1]
    labels, scores = labels[first], scores[first]
    wrong = (scores >= 0.5) != (labels == 0)
    assert np.mean(wrong) > 1.2 * target, "else nothing has to be left open"
    answered = mistaken = 0
    for _ in range(300):
        drawn = draw(rng, groups)
        found = choose_range(*drawn, 0.5, target)
        if found:
            answers = found.answers(scores)
            answered += answers.sum()
            mistaken += (answers & wrong).sum()
    assert 0.75 * target < mistaken / answered <= target
    assert answered / 300 > 0.6 * len(labels)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 1), st.integers(0, 30)), min_size=1, max_size=60
    ),
    st.floats(0, 1),
    st.floats(0.05, 0.9),
)
def test_it_is_the_narrowest_range_that_counts_one_error_more(
    cases: list[tuple[int, float, int]], threshold: float, target: float
) -> None:
    labels, scores, groups = map(np.array, zip(*cases, strict=True))
    wrong = (scores >= threshold) != (labels == 0)
    share = 1 / np.bincount(groups)[groups]

    def keeps(answered: np.ndarray) -> bool:
        errors = share[answered & wrong].sum() + 1
        return bool(errors <= target * (share[answered].sum() + 1) + 1e-9)

    doubts = np.where(scores >= threshold, 1 - scores, scores)
    allowed = [doubts <= most for most in np.unique(doubts) if keeps(doubts <= most)]
    found = choose_range(labels, scores, groups, threshold, target)
    if not allowed:
        assert found is None
        return
    assert found is not None
    assert 0 <= found.low <= threshold <= found.high <= 1
    gap = np.abs(np.subtract.outer(scores, [found.low, found.high])).min()
    if gap > 1e-12:  # else the halves of neighbouring floats
        np.testing.assert_array_equal(found.answers(scores), allowed[-1])


def test_many_copies_of_a_right_answer_are_no_evidence() -> None:
    labels, scores = np.zeros(500, int), np.full(500, 0.99)
    assert choose_range(labels, scores, np.zeros(500, int), 0.5, 0.02) is None
    assert choose_range(labels, scores, np.arange(500), 0.5, 0.02) == (0.5, 0.5)


@pytest.mark.parametrize(("target", "needed"), [(0.02, 49), (0.05, 19), (0.5, 1)])
def test_so_many_right_groups_are_needed_and_no_fewer(target: float, needed: int) -> None:
    assert fewest_groups(target) == needed
    for groups in (needed - 1, needed):
        labels, scores = np.zeros(2 * groups, int), np.full(2 * groups, 0.9)
        found = choose_range(labels, scores, np.arange(2 * groups) // 2, 0.5, target)
        assert (found is not None) == (groups >= needed), groups
    assert f"needs at least {needed} groups" in no_range_sentence(target, needed - 1)
    assert "no range of scores" in no_range_sentence(target, needed)


def test_outcomes_add_up() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    scores = np.array([0.9, 0.8, 0.6, 0.1, 0.1, 0.2, 0.6, 0.9])
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 6])
    answered = (scores < 0.3) | (scores >= 0.7)
    found = measure_answers(labels, scores, groups, 0.5, answered, samples=100, seed=0)
    assert found.outcomes == ((2, 1, 1), (1, 1, 2))
    assert found.coverage.value == 6 / 8
    assert found.error is not None
    assert found.error.value == 2 / 6
    assert found.error.low < 2 / 6 < found.error.high
    assert found.group_error == pytest.approx(2 / 5)  # 0.9 and 0.8 are one group
    nothing = measure_answers(labels, scores, groups, 0.5, answered < 0, samples=100, seed=0)
    assert (nothing.coverage.value, nothing.error, nothing.group_error) == (0, None, None)


def test_no_wrong_answer_is_no_proof_that_there_are_none() -> None:
    labels, scores, groups = np.zeros(400, int), np.full(400, 0.9), np.arange(400) // 4
    sure = np.ones(400, bool)
    found = measure_answers(labels, scores, groups, 0.5, sure, samples=100, seed=0).error
    at_90 = error_at_coverage(labels, scores, groups, 0.5, samples=100, seed=0)
    assert found is not None
    # Wilson's interval of 0 of 100, and of 90.
    for interval, count in ((found, 100), (at_90, 90)):
        assert (interval.value, interval.low) == (0, 0)
        known = binomtest(0, count).proportion_ci(method="wilson")
        assert interval.high == pytest.approx(known.high)


def test_the_surest_are_answered_first() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    scores = np.array([0.95, 0.55, 0.2, 0.6, 0.03])  # only the most doubtful one is wrong
    curve = risk_coverage(labels, scores, 0.5)
    np.testing.assert_allclose(curve.coverage, [0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(curve.error, [0, 0, 0, 1 / 4, 1 / 5])
    for coverage, error in ((0.6, 0), (0.61, 1 / 4), (1.0, 1 / 5)):
        found = error_at_coverage(
            labels, scores, np.arange(5), 0.5, samples=100, seed=0, coverage=coverage
        )
        assert found.value == pytest.approx(error)
