"""The population stability index, its interval and its test, against SciPy and made-up truth."""

import math

import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact, norm

from components.drift import stability
from components.drift.stability import Sample, adjusted, compare, population_stability

RATE = 0.05


def _singles(*counts: int) -> Sample:
    """Returns images that are each a block of their own."""
    return Sample.of(np.repeat(np.eye(len(counts)), counts, axis=0))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stability, "SHUFFLES", 499)
    monkeypatch.setattr(stability, "RESAMPLES", 200)


def test_the_index_by_hand() -> None:
    # With half an image added: 50 and 50 of 100 there, 25 and 75 of 100 here.
    found = population_stability(np.array([49.5, 49.5]), np.array([24.5, 74.5]))
    expected = (0.25 - 0.5) * math.log(0.25 / 0.5) + (0.75 - 0.5) * math.log(0.75 / 0.5)
    assert found == pytest.approx(expected) == pytest.approx(0.274653, abs=1e-6)
    assert population_stability(np.array([3, 7, 0]), np.array([3, 7, 0])) == 0


def test_it_is_the_same_both_ways_and_bins_may_be_empty() -> None:
    there, here = np.array([10, 0, 5]), np.array([0, 20, 5])
    assert population_stability(there, here) == pytest.approx(population_stability(here, there))
    assert math.isfinite(population_stability(there, here))


@pytest.mark.parametrize(
    ("there", "here"),
    [((400, 300, 300), (180, 170, 150)), ((250,) * 4, (90, 60, 75, 75)), ((700, 300), (160, 90))],
)
def test_of_many_images_the_test_is_pearsons(there: tuple[int, ...], here: tuple[int, ...]) -> None:
    shift = compare(_singles(*there), _singles(*here), np.random.default_rng(0))
    expected = chi2_contingency([there, here], correction=False).pvalue
    # Blocks of one image each are taken for a little more alike than they are.
    assert expected - 0.01 <= shift.p_value <= 1.35 * expected + 0.02


def test_of_few_images_it_is_fishers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stability.Sample, "_design_effect", 1.0)
    there, here = (58, 2), (30, 6)
    shift = compare(_singles(*there), _singles(*here), np.random.default_rng(0))
    assert shift.p_value == pytest.approx(fisher_exact([there, here]).pvalue, abs=0.01)


def test_a_billion_images_are_compared_as_a_hundred_million(quick: None) -> None:
    there, same, moved = (
        stability.Sample(np.array([counts, counts]))
        for counts in ([3e8, 7e8], [3e8, 7e8], [3.1e8, 6.9e8])
    )
    assert compare(there, same, np.random.default_rng(0)).p_value > 0.05
    assert compare(there, moved, np.random.default_rng(0)).p_value < 0.01


def test_images_that_come_together_tell_less() -> None:
    # Ten images a block, all in one bin: as good as one.
    blocks = np.repeat(10 * np.eye(2), (60, 40), axis=0)
    assert Sample.of(blocks).independent.sum() == pytest.approx(100 / 1.2, rel=0.05)
    assert _singles(600, 400).independent.sum() == pytest.approx(1000 / 1.06, rel=0.02)
    assert (Sample.of(np.array([[5.0, 0], [7, 0]])).independent == [12, 0]).all()


def test_hours_without_images_are_no_blocks() -> None:
    counts = np.array([[3.0, 1], [0, 0], [2, 2]])
    assert len(Sample.of(counts).blocks) == 2


def _blocks(
    rng: np.random.Generator, blocks: int, patients: int, images: int, shift: float = 0.0
) -> np.ndarray:
    """Returns counts in ten bins of a normal value; images of a patient are much alike."""
    edges = norm.ppf(np.arange(1, 10) / 10)
    found = np.zeros((blocks, 10))
    for block in found:
        of_patients = rng.normal(0, math.sqrt(0.7), rng.poisson(patients))
        values = np.repeat(of_patients, images) + shift
        values = values + rng.normal(0, math.sqrt(0.3), len(values))
        np.add.at(block, np.searchsorted(edges, values), 1)
    return found


@pytest.mark.usefixtures("quick")
def test_without_drift_alarms_are_as_rare_as_stated_though_patients_send_series() -> None:
    rng = np.random.default_rng(1)
    runs = 200
    shifts = [
        compare(Sample.of(_blocks(rng, 100, 5, 2)), Sample.of(_blocks(rng, 60, 2, 8)), rng)
        for _ in range(runs)
    ]
    alarms = sum(shift.p_value <= RATE for shift in shifts)
    assert alarms <= runs * RATE + 2 * math.sqrt(runs * RATE)
    # The same counts as though each image came by itself would alarm many times as often.
    naive = [
        chi2_contingency([_blocks(rng, 100, 5, 2).sum(0), _blocks(rng, 60, 2, 8).sum(0)]).pvalue
        for _ in range(50)
    ]
    assert np.mean(np.array(naive) <= RATE) > 4 * RATE
    assert np.mean([shift.low == 0 for shift in shifts]) >= 0.95


@pytest.mark.usefixtures("quick")
def test_a_shift_is_found_and_lies_in_the_interval() -> None:
    rng = np.random.default_rng(2)
    size = 0.6
    shifts = [
        compare(Sample.of(_blocks(rng, 100, 5, 2)), Sample.of(_blocks(rng, 100, 2, 8, size)), rng)
        for _ in range(60)
    ]
    ends = np.concatenate([[-np.inf], norm.ppf(np.arange(1, 10) / 10), [np.inf]])
    there, here = np.diff(norm.cdf(ends)), np.diff(norm.cdf(ends - size))
    truth = float(((here - there) * np.log(here / there)).sum())
    assert truth > 0.2
    assert np.mean([shift.p_value <= RATE / 10 for shift in shifts]) > 0.95
    assert np.mean([shift.low <= truth <= shift.high for shift in shifts]) >= 0.85
    assert all(shift.low <= shift.psi for shift in shifts)


def test_holms_p_values() -> None:
    # By hand: 0.01 * 4, 0.02 * 3, 0.03 * 2 raised to what is before it, 0.5 * 1.
    found = adjusted(np.array([0.03, 0.01, 0.5, 0.02]))
    assert found == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert adjusted(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert len(adjusted(np.array([]))) == 0


def test_the_same_images_give_the_same_numbers() -> None:
    there, here = _singles(30, 70), _singles(40, 60)
    first, second = (compare(there, here, np.random.default_rng(0)) for _ in range(2))
    assert first == second
