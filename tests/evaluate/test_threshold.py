import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluate import threshold
from components.evaluate.threshold import threshold_rule


def choose_threshold(labels, scores, target=0.0):
    """Chooses among images that stand alone."""
    return threshold.choose_threshold(labels, scores, np.arange(len(labels)), target)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), max_size=30))
def test_no_threshold_has_a_greater_youden_j(cases):
    labels = np.array([0, 1, *(label for label, _ in cases)])
    scores = np.array([0.6, 0.4, *(score for _, score in cases)])

    def youden(cut):
        called = scores >= cut
        return np.mean(called[labels == 0]) - np.mean(called[labels == 1])

    chosen = choose_threshold(labels, scores)
    assert 0 <= chosen <= 1
    every = [0.0, *scores, *np.nextafter(scores, 2)]
    assert youden(chosen) >= max(youden(cut) for cut in every) - 1e-12


def test_lies_halfway_between_neighbours():
    assert choose_threshold(np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.6, 0.9])) == (
        pytest.approx(0.4)
    )


def test_of_equals_takes_the_one_nearest_to_one_half():
    # Tumour 0.9; healthy 0.1; a tumour below a healthy one makes two equally good cuts.
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.9, 0.7, 0.3, 0.1])
    assert choose_threshold(labels, scores) in (pytest.approx(0.2), pytest.approx(0.8))
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.95, 0.9, 0.4, 0.3])
    assert choose_threshold(labels, scores) == pytest.approx(0.35)


def test_scores_of_a_floor_give_one_half():
    assert choose_threshold(np.array([0, 0, 1, 1]), np.array([1.0, 0, 0, 0])) == 0.5


def test_a_predictor_worse_than_chance_is_not_turned_round():
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    chosen = choose_threshold(labels, scores)
    called = scores >= chosen
    assert called.all() or not called.any()


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), max_size=30),
    st.floats(0.01, 1) | st.sampled_from([0.5, 0.9, 0.96, 1.0]),
)
def test_a_target_is_reached_by_the_greatest_threshold_that_does(cases, target):
    labels = np.array([0, 1, *(label for label, _ in cases)])
    scores = np.array([0.6, 0.4, *(score for _, score in cases)])
    tumor = scores[labels == 0]
    chosen = choose_threshold(labels, scores, target)
    assert 0 <= chosen <= 1
    assert np.mean(tumor >= chosen) >= target - 1e-9
    greater = scores[scores > chosen]
    if len(greater):  # one more score left out, and a tumour too many is missed
        assert np.mean(tumor > greater.min()) < target


def test_a_target_is_met_exactly_where_it_can_be():
    labels, scores = np.repeat([0, 1], 10), np.concatenate([np.linspace(0.05, 0.95, 10)] * 2)
    assert choose_threshold(labels, scores, 0.9) == pytest.approx(0.1)
    assert choose_threshold(labels, scores, 0.89) == pytest.approx(0.1)
    assert choose_threshold(labels, scores, 1.0) == pytest.approx(0.025)


def test_the_rule_says_what_was_asked_for():
    assert "Youden" in threshold_rule()
    assert "at least 97.5% of the tumours" in threshold_rule(0.975)
    assert all("1 / sqrt(near-duplicates)" in threshold_rule(target) for target in (0, 0.9))


def test_a_large_group_weighs_as_the_root_of_its_size():
    # One group of nine tumours at 0.4 against four lone healthy images at 0.45 and six at 0.1,
    # beside ten lone tumours at 0.9: alike, the nine would decide.
    labels = np.repeat([0, 1, 1, 0], [9, 4, 6, 10])
    scores = np.repeat([0.4, 0.45, 0.1, 0.9], [9, 4, 6, 10])
    alone = np.arange(len(labels))
    grouped = np.where(alone < 9, 0, alone)
    assert threshold.choose_threshold(labels, scores, alone) == pytest.approx(0.25)
    assert threshold.choose_threshold(labels, scores, grouped) == pytest.approx(0.675)
    # They are 9 of 19 tumours, but 3 of 13 by weight.
    assert threshold.choose_threshold(labels, scores, alone, 0.75) == pytest.approx(0.25)
    assert threshold.choose_threshold(labels, scores, grouped, 0.75) == pytest.approx(0.675)
