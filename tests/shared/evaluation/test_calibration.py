import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from components.shared.evaluation.calibration import calibrate, fit_temperature
from components.shared.evaluation.metrics import Predictor, column, point_estimate


def fit_apart(labels, scores):
    """The temperature of images without near-duplicates."""
    return fit_temperature(labels, scores, np.arange(len(labels)))


def drawn(temperature, images=20_000, seed=0):
    """Labels drawn as logits say, and scores of those logits times a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, images)
    labels = np.where(rng.random(images) < expit(logits), 0, 1)
    return labels, expit(logits * temperature)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_finds_the_temperature_and_takes_the_calibration_error_away(temperature):
    labels, scores = drawn(temperature)
    fitted = fit_apart(labels, scores)
    assert fitted == pytest.approx(temperature, rel=0.03)
    ece = column("ece")
    calibrated = calibrate(scores, fitted)
    assert point_estimate(labels, Predictor(calibrated, 0.5))[ece] < 0.015
    if temperature != 1:
        assert point_estimate(labels, Predictor(scores, 0.5))[ece] > 0.05


def test_copies_of_an_image_change_nothing():
    labels, scores = drawn(2.0, images=300)
    images = np.argsort(-np.abs(scores - 0.5))  # the surest first
    nine_of_twenty = np.concatenate([images, np.repeat(images[:20], 8)])
    labels_, scores_ = labels[nine_of_twenty], scores[nine_of_twenty]
    grouped = fit_temperature(labels_, scores_, nine_of_twenty)
    assert grouped == pytest.approx(fit_apart(labels, scores), rel=1e-3)
    assert grouped != pytest.approx(fit_apart(labels_, scores_), rel=0.01)


def test_a_few_right_answers_are_no_certainty():
    labels, scores = np.array([0, 0, 0, 1, 1, 1]), np.array([0.9, 0.8, 0.9, 0.1, 0.2, 0.1])
    assert 0.7 < calibrate(scores, fit_apart(labels, scores)).max() < 0.95


def test_a_predictor_worse_than_chance_is_made_unsure():
    labels, scores = np.repeat([0, 0, 1, 1], 500), np.repeat([0.1, 0.2, 0.8, 0.9], 500)
    assert np.all(np.abs(calibrate(scores, fit_apart(labels, scores)) - 0.5) < 0.05)


def test_where_there_is_little_to_go_by_the_temperature_stays_near_one():
    labels, scores = drawn(3.0, images=2000)
    few, more = (fit_apart(labels[:count], scores[:count]) for count in (4, 40))
    assert 0.5 < few < 2
    assert abs(np.log(few)) < abs(np.log(more)) < abs(np.log(fit_apart(labels, scores)))


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), max_size=30),
    st.floats(0.05, 20),
)
def test_any_scores_can_be_calibrated_and_keep_their_order(cases, temperature):
    labels = np.array([0, 1, *(label for label, _ in cases)])
    scores = np.array([0.0, 1.0, *(score for _, score in cases)])
    assert 0.05 <= fit_apart(labels, scores) <= 20
    assert fit_apart(labels, scores) == fit_apart(labels, scores)
    calibrated = calibrate(scores, temperature)
    assert calibrated.dtype == np.float64
    assert np.all((calibrated >= 0) & (calibrated <= 1))
    assert np.all(np.diff(calibrated[np.argsort(scores)]) >= 0)


def test_temperature_one_changes_nothing():
    scores = np.array([1e-9, 0.25, 0.5, 1 - 1e-9])
    np.testing.assert_allclose(calibrate(scores, 1.0), scores, rtol=1e-6)
