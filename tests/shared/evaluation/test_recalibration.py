import numpy as np
import pytest
from scipy.special import expit, logit

from components.shared.errors import UserError
from components.shared.evaluation.metrics import Predictor
from components.shared.evaluation.recalibration import FOLDS, Recalibrated, Wanted, recalibrate

SHARPNESS = 3.0


def site(seed: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, honest P(Brain Tumor) and groups, an image a group or five."""
    rng = np.random.default_rng(seed)
    tumor = rng.random(groups) < 0.5
    honest = expit(4.5 * np.where(tumor, 1, -1) + 3 * rng.normal(size=groups))
    group = np.repeat(np.arange(groups), rng.choice([1, 5], groups))
    return np.where(tumor, 0, 1)[group], honest[group], group


def run(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, error: float) -> Recalibrated:
    model = Predictor(scores, 0.5)
    return recalibrate(labels, model, groups, Wanted(0, error), samples=100, seed=0)


def test_what_is_too_sure_gets_honest_and_no_image_judges_what_it_decided() -> None:
    labels, honest, groups = site(1, 2_000)
    found = run(labels, expit(SHARPNESS * logit(honest)), groups, 0.03)
    assert found.fit.temperature == pytest.approx(SHARPNESS, rel=0.15)
    assert found.after.ece.value < found.before.ece.value - 0.01
    assert found.after.auroc.value == pytest.approx(found.before.auroc.value, abs=0.01)
    assert found.unsure is not None
    assert found.unsure.low <= found.fit.threshold <= found.unsure.high
    new_labels, new_honest, _ = site(2, 20_000)
    scores = expit(SHARPNESS * logit(new_honest))
    sure = found.fit.unsure.answers(expit(logit(scores) / found.fit.temperature))  # type: ignore[union-attr]
    wrong = (scores >= 0.5) != (new_labels == 0)
    assert found.unsure.held_out.group_error == pytest.approx(np.mean(wrong[sure]), abs=0.015)
    assert found.unsure.held_out.coverage.value == pytest.approx(np.mean(sure), abs=0.1)


def test_labels_by_chance_are_no_better_for_having_been_fitted() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 40), rng.random(40)
    found = run(labels, scores, np.arange(40), 0.02)
    assert found.after.accuracy.value < 0.65
    assert found.unsure is None
    assert "needs at least 49 groups" in found.never_unsure


def test_a_group_is_never_on_both_sides() -> None:
    # Each of 40 pictures lies here 30 times and is wrong: only its own copies could tell.
    groups = np.repeat(np.arange(40), 30)
    labels = groups % 2
    found = run(labels, np.where(labels == 0, 0.3, 0.7), groups, 0.5)
    assert found.after.accuracy.value <= 0.5
    assert FOLDS > 2


def test_the_threshold_stays_unless_the_images_speak_against_it() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 2
    # It leans to tumours: those score 0.9 and more, healthy images 0.6 to 0.8.
    scores = np.where(labels == 0, rng.uniform(0.9, 0.99, 60), rng.uniform(0.6, 0.8, 60))

    def threshold_of(former: float) -> tuple[float, float]:
        model = Predictor(scores, former)
        fit = recalibrate(labels, model, np.arange(60), Wanted(0, 0.1), samples=100, seed=0).fit
        return fit.threshold, float(expit(logit(former) / fit.temperature))

    kept, former = threshold_of(0.85)
    assert kept == pytest.approx(former, abs=0.03)
    moved, former = threshold_of(0.5)
    assert moved > former + 0.05


def test_too_little_is_said_to_be_so() -> None:
    with pytest.raises(UserError, match="of 19 groups, and 20 are needed"):
        run(np.arange(38) % 2, np.full(38, 0.5), np.arange(38) // 2, 0.02)
    with pytest.raises(UserError, match="has no Healthy image among 30"):
        run(np.zeros(30, int), np.full(30, 0.5), np.arange(30), 0.02)
