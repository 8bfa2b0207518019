import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from components.shared.errors import UserError
from components.shared.evaluation.metrics import (
    MEASURES,
    Predictor,
    bootstrap,
    confusion,
    interval,
    measure,
    point_estimate,
    require_both_classes,
    roc,
    share,
    wilson,
    with_intervals,
)


@st.composite
def weighted_answers(draw):
    """Labels, scores with many ties, whole weights that leave both classes, a threshold."""
    n = draw(st.integers(2, 40))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:2] = 0, 1
    grid = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.9, 1.0])
    score = st.one_of(grid, st.floats(0, 1, width=32))
    scores = np.array(draw(st.lists(score, min_size=n, max_size=n)))
    weights = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), dtype=float)
    weights[:2] += 1
    return labels, scores, weights, draw(grid)


@settings(max_examples=200)
@given(weighted_answers())
def test_measures_are_scikit_learns_with_weights_and_ties(case):
    labels, scores, weights, threshold = case
    tumor, called = labels == 0, scores >= threshold
    expected = [
        reference.accuracy_score(tumor, called, sample_weight=weights),
        reference.recall_score(tumor, called, sample_weight=weights),
        reference.recall_score(~tumor, ~called, sample_weight=weights),
        reference.roc_auc_score(tumor, scores, sample_weight=weights),
        reference.average_precision_score(tumor, scores, sample_weight=weights),
        reference.matthews_corrcoef(tumor, called, sample_weight=weights),
        reference.brier_score_loss(tumor, scores, sample_weight=weights),
        calibration_error(tumor, scores, weights),
    ]
    both = np.stack([weights, np.ones_like(weights)])
    found = measure(labels, scores, threshold, both)
    np.testing.assert_allclose(found[0], expected, atol=1e-9)
    np.testing.assert_allclose(
        found[1], point_estimate(labels, Predictor(scores, threshold)), atol=1e-12
    )


def calibration_error(tumor, scores, weights):
    """The definition, one bin after the other."""
    error = 0.0
    for number in range(15):
        here = np.minimum((scores * 15).astype(int), 14) == number
        if weights[here].sum() > 0:
            confidence = np.average(scores[here], weights=weights[here])
            share = np.average(tumor[here], weights=weights[here])
            error += weights[here].sum() / weights.sum() * abs(confidence - share)
    return error


def test_zero_one_scores_give_what_the_floor_says_of_them():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    scores = np.array([1.0, 1, 0, 0, 0, 1, 0, 1])
    found = dict(zip(MEASURES, point_estimate(labels, Predictor(scores, 0.5)), strict=True))
    assert found["auroc"] == pytest.approx((found["sensitivity"] + found["specificity"]) / 2)
    assert found["brier"] == pytest.approx(1 - found["accuracy"])


def random_answers(n, groups, seed=0):
    rng = np.random.default_rng(seed)
    group = rng.integers(groups, size=n)
    labels = group % 2
    scores = np.clip(0.5 + (0.5 - labels) * 0.4 + rng.normal(0, 0.25, n), 0, 1)
    return labels, group, Predictor(scores, 0.5)


def test_bootstrap_is_drawn_by_group_and_repeats_by_seed():
    labels, groups, predictor = random_answers(60, 12)
    found = bootstrap(labels, groups, [predictor], 50, seed=3)
    np.testing.assert_array_equal(found, bootstrap(labels, groups, [predictor], 50, seed=3))
    # The same resamples, image by image, without a weight in sight.
    rng = np.random.default_rng(3)
    names = np.unique(groups)
    for row in found[0]:
        drawn = names[rng.integers(len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(groups == name) for name in drawn])
        expected = point_estimate(labels[rows], predictor.on(rows))
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_every_predictor_sees_the_same_resamples():
    labels, groups, predictor = random_answers(200, 40)
    first, second = bootstrap(labels, groups, [predictor, predictor], 30, seed=0)
    np.testing.assert_array_equal(first, second)


def test_a_resample_of_one_class_is_drawn_again():
    labels, groups = np.array([0, 1]), np.array([7, 9])
    found = bootstrap(labels, groups, [Predictor(np.array([0.9, 0.2]), 0.5)], 40, seed=0)
    assert found.shape == (1, 40, 8)
    np.testing.assert_allclose(found[0, :, :4], 1.0)


def test_groups_widen_the_interval():
    labels, _, predictor = random_answers(100, 100)
    copies = np.repeat(np.arange(100), 10)
    twice = predictor.on(copies)

    def width(groups):
        drawn = bootstrap(labels[copies], groups, [twice], 300, seed=0)[0]
        interval = with_intervals(drawn.mean(axis=0), drawn, labels[copies], groups).accuracy
        return interval.high - interval.low

    assert width(copies) > 2 * width(np.arange(len(copies)))


@pytest.mark.parametrize(("right", "answers"), [(77, 77), (0, 12), (9, 10), (1, 1)])
def test_wilsons_interval_is_scipys(right: int, answers: int) -> None:
    known = stats.binomtest(right, answers).proportion_ci(method="wilson")
    assert wilson(right / answers, answers) == pytest.approx((known.low, known.high))


def test_wilsons_interval_stays_on_the_scale() -> None:
    for answers in range(1, 200):
        (low, _), (_, high) = wilson(0.0, answers), wilson(1.0, answers)
        assert (f"{low:.1%}", high) == ("0.0%", 1.0)


def test_an_interval_of_answers_that_are_all_right_is_no_point() -> None:
    labels, groups = np.repeat([0, 1], 60), np.arange(120) // 2  # 30 groups of each class
    perfect = Predictor(np.where(labels == 0, 0.9, 0.2), 0.5)
    drawn = bootstrap(labels, groups, [perfect], 100, seed=0)[0]
    found = with_intervals(point_estimate(labels, perfect), drawn, labels, groups)
    of_60, of_30 = (stats.binomtest(n, n).proportion_ci(method="wilson").low for n in (60, 30))
    assert found.accuracy.low == pytest.approx(of_60)
    for name in ("sensitivity", "specificity", "auroc", "auprc"):
        assert found.of(name).low == pytest.approx(of_30)
    assert found.mcc.low == pytest.approx(2 * of_30 - 1)  # on a scale from -1
    assert {found.of(name).high for name in ("accuracy", "auroc", "mcc")} == {1.0}


def test_an_interval_within_the_scale_is_the_resamples() -> None:
    rng = np.random.default_rng(0)
    hits, groups = rng.random(400) < 0.8, np.arange(400) // 4
    drawn = rng.normal(0.8, 0.02, 1000)
    assert interval(0.8, drawn, 100).low == np.percentile(drawn, 2.5)
    found = share(hits, groups, 500, 0)
    assert found.low != pytest.approx(wilson(found.value, 100)[0], abs=1e-4)


def test_the_mean_of_folds_that_are_all_right_may_have_a_rounding_error() -> None:
    found = interval(1 + 1e-16, np.full(100, 1 - 1e-16), 50)
    assert (found.low, found.high) == pytest.approx(wilson(1, 50))


def test_memory_stays_bounded_with_the_dataset():
    labels, groups, predictor = random_answers(100_000, 40_000)
    tracemalloc.start()
    bootstrap(labels, groups, [predictor], 40, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6


def test_confusion_has_true_rows_and_tumour_first():
    labels = np.array([0, 0, 0, 1, 1])
    scores = np.array([0.9, 0.5, 0.1, 0.6, 0.2])
    assert confusion(labels, scores, 0.5) == ((2, 1), (1, 1))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(2, 3000), st.integers(0, 10))
def test_roc_is_finite_thin_and_whole(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    labels[:2] = 0, 1
    curve = roc(labels, rng.random(n))
    assert len(curve.fpr) == len(curve.tpr) == len(curve.threshold) <= 200
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert np.isfinite(curve.threshold).all()


def test_a_part_of_one_class_is_refused_by_name():
    with pytest.raises(UserError, match=r"held_out part has no Healthy image among 3"):
        require_both_classes(np.zeros(3), "held_out")
    with pytest.raises(UserError, match="no Brain Tumor image among 0"):
        require_both_classes(np.zeros(0), "validation")
    require_both_classes(np.array([0, 1]), "train")
