import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.evaluation import threshold
from components.shared.evaluation.threshold import threshold_rule


def choose_threshold(labels, scores, target=0.0):
    """Chooses among images that stand alone."""
    return threshold.choose_threshold(labels, scores, np.arange(len(labels)), target)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), max_size=30))
def test_none_is_better_by_more_than_two_standard_errors(cases):
    labels = np.array([0, 1, *(label for label, _ in cases)])
    scores = np.array([0.6, 0.4, *(score for _, score in cases)])

    def shares(cut):
        called = scores >= cut
        return np.array([np.mean(called[labels == 0]), np.mean(~called[labels == 1])])

    def error(cut):
        count = np.bincount(labels)
        smoothed = (shares(cut) * count + 1) / (count + 2)
        return np.sqrt(np.sum(smoothed * (1 - smoothed) / count))

    chosen = choose_threshold(labels, scores)
    assert 0 <= chosen <= 1
    cuts = [0.0, 0.5, *scores, *np.nextafter(scores, 2)]
    greatest = max(shares(cut).sum() for cut in cuts)
    best = [cut for cut in cuts if shares(cut).sum() >= greatest - 1e-12]
    assert shares(chosen).sum() >= greatest - 2 * max(map(error, best)) - 1e-9


def test_moves_from_one_half_only_where_chance_does_not_explain_it():
    # Between 0.6 and 0.9 nothing is missed and nothing called wrongly; below 0.6 a tenth is.
    labels = np.repeat([0, 0, 1, 1], [18, 2, 18, 2])
    scores = np.repeat([0.9, 0.2, 0.1, 0.6], [18, 2, 18, 2])
    assert choose_threshold(labels, scores) == pytest.approx(0.4)
    assert choose_threshold(np.tile(labels, 20), np.tile(scores, 20)) == pytest.approx(0.75)


def test_a_few_images_told_apart_without_a_fault_are_not_certainty():
    # Every threshold above 0.8 is right everywhere, one half wrong about one healthy image of 40.
    labels = np.repeat([0, 1, 1], [40, 39, 1])
    scores = np.repeat([0.95, 0.1, 0.8], [40, 39, 1])
    assert choose_threshold(labels, scores) == pytest.approx(0.45)
    many = (np.tile(labels, 50), np.tile(scores, 50))
    assert choose_threshold(*many) == pytest.approx(0.875)


def test_a_model_off_its_centre_moves_the_threshold():
    labels, scores = np.repeat([0, 1], 20), np.repeat([0.9, 0.6], 20)
    assert choose_threshold(labels, scores) == pytest.approx(0.75)


def test_lies_halfway_between_neighbours():
    assert choose_threshold(np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.6, 0.9])) == (
        pytest.approx(0.4)
    )


def test_of_equals_takes_the_one_nearest_to_one_half():
    # A tumour below a healthy image: as good as any above 0.3, but 0.7 and 0.3 are as far.
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.9, 0.7, 0.3, 0.1])
    assert choose_threshold(labels, scores) == pytest.approx(0.5)
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.95, 0.9, 0.4, 0.3])
    assert choose_threshold(labels, scores) == pytest.approx(0.35)


def test_scores_of_a_floor_give_one_half():
    assert choose_threshold(np.array([0, 0, 1, 1]), np.array([1.0, 0, 0, 0])) == 0.5


def test_a_predictor_worse_than_chance_is_not_turned_round():
    labels, scores = np.repeat([0, 1], 20), np.repeat([0.1, 0.2, 0.8, 0.9], 10)
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
    assert all(
        "near-duplicates counts as sqrt(n) images" in threshold_rule(target) for target in (0, 0.9)
    )


def test_a_large_group_weighs_as_the_root_of_its_size():
    # One group of nine tumours at 0.4 beside ten that stand alone at 0.9: they are 9 of 19 tumours,
    # but 3 of 13 by weight.
    labels = np.repeat([0, 1, 1, 0], [9, 4, 6, 10])
    scores = np.repeat([0.4, 0.45, 0.1, 0.9], [9, 4, 6, 10])
    alone = np.arange(len(labels))
    grouped = np.where(alone < 9, 0, alone)
    assert threshold.choose_threshold(labels, scores, alone, 0.75) == pytest.approx(0.25)
    assert threshold.choose_threshold(labels, scores, grouped, 0.75) == pytest.approx(0.675)
    # Without a target 36 of 76 are reason enough to leave 0.5, six of 46 are none.
    labels = np.repeat([0, 1, 1, 0], [36, 4, 36, 40])
    scores = np.repeat([0.4, 0.45, 0.1, 0.9], [36, 4, 36, 40])
    alone = np.arange(len(labels))
    grouped = np.where(alone < 36, 0, alone)
    assert threshold.choose_threshold(labels, scores, alone) == pytest.approx(0.25)
    assert threshold.choose_threshold(labels, scores, grouped) == pytest.approx(0.675)
