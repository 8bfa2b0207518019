"""Two distributions over the same bins: the population stability index, its interval and a test.

Images that come together are alike, so both are counted in blocks: groups of near-duplicates and
patients there, hours here. Whole blocks are what is drawn by chance.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

CONFIDENCE = 0.95
SHUFFLES = 19_999
RESAMPLES = 2_000
_MOST_DRAWN = 100_000_000  # images; NumPy shuffles fewer than a billion, and no p-value needs more
_HALF = 0.5  # images that are added to each bin, so that none is empty
_DOUBT = 0.1  # the design effect is greater than it is taken for once in ten times


@dataclass(frozen=True, eq=False)
class Sample:
    """Images counted in bins.

    Attributes:
        blocks: Counts of each block in each bin, float64 [b, k]; at least two blocks, none empty.
    """

    blocks: np.ndarray

    @classmethod
    def of(cls, blocks: np.ndarray) -> "Sample":
        """Takes counts, [b, k], and leaves out blocks without an image."""
        counts = np.asarray(blocks, np.float64)
        return cls(counts[counts.sum(axis=1) > 0])

    @property
    def counts(self) -> np.ndarray:
        """All blocks' counts together, float64 [k]."""
        total: np.ndarray = self.blocks.sum(axis=0)
        return total

    @property
    def independent(self) -> np.ndarray:
        """The counts of so many images, drawn one by one, as would tell as much, int64 [k]."""
        return np.rint(self.counts / self._design_effect).astype(np.int64)

    def resampled(self, rng: np.random.Generator) -> np.ndarray:
        """Draws as many blocks, `RESAMPLES` times, and returns their counts, [RESAMPLES, k]."""
        drawn = rng.multinomial(
            len(self.blocks), np.full(len(self.blocks), 1 / len(self.blocks)), size=RESAMPLES
        )
        counts: np.ndarray = drawn @ self.blocks
        return counts

    @property
    def _design_effect(self) -> float:
        """By how much blocks widen the variance, at least 1: Rao and Scott's first correction.

        An estimate from few blocks may be too small, so this is the upper end of its interval.
        """
        counts = self.counts
        filled = counts > 0
        if filled.sum() < 2:
            return 1.0
        number, sizes = len(self.blocks), self.blocks.sum(axis=1)
        shares = counts[filled] / counts.sum()
        beyond = self.blocks[:, filled] - sizes[:, None] * shares
        variances = number / (number - 1) * (beyond**2).sum(axis=0)
        found = float((variances / counts[filled]).sum() / (len(shares) - 1))
        return max(1.0, found * (number - 1) / float(chi2.ppf(_DOUBT, number - 1)))


@dataclass(frozen=True)
class Shift:
    """How far one distribution lies from another.

    Attributes:
        psi: Population stability index, at least 0.
        low: Lower end of its 95% interval.
        high: Upper end.
        by_chance: How much of it chance alone gives, on average.
        p_value: Probability of so great an index where nothing has changed.
    """

    psi: float
    low: float
    high: float
    by_chance: float
    p_value: float


def population_stability(reference: np.ndarray, served: np.ndarray) -> np.ndarray:
    """Returns the population stability index, with half an image added to each bin.

    It is the sum over the bins of (served share - reference share) * ln(served / reference).

    Args:
        reference: Counts, [..., k].
        served: Counts, [..., k].

    Returns:
        float64 [...].
    """
    there, here = _shares(reference), _shares(served)
    index: np.ndarray = ((here - there) * np.log(here / there)).sum(axis=-1)
    return index


def compare(reference: Sample, served: Sample, rng: np.random.Generator) -> Shift:
    """Compares served images with those of the reference.

    The interval is a bootstrap of whole blocks. An index of resamples is greater than that of the
    sample by about what that is greater than the truth, so the interval is moved by twice as much.
    The test lets images change places between both at random, as many of them as tell as much one
    by one; it is exact but for that number.

    Args:
        reference: What was measured.
        served: What was asked.
        rng: Of resamples and shuffles.
    """
    psi = float(population_stability(reference.counts, served.counts))
    drawn = population_stability(reference.resampled(rng), served.resampled(rng))
    by_chance = max(0.0, float(drawn.mean()) - psi)
    tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    low, high = np.maximum(0.0, np.quantile(drawn, tails) - 2 * by_chance)
    return Shift(
        psi=psi,
        low=float(low),
        high=float(high),
        by_chance=by_chance,
        p_value=_p_value(reference.independent, served.independent, rng),
    )


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Returns Holm's p-values, which hold for all of several tests together, float64 [m]."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    found = np.empty(len(p_values))
    found[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values)[order]))
    return found


def _shares(counts: np.ndarray) -> np.ndarray:
    smoothed = np.asarray(counts, np.float64) + _HALF
    shares: np.ndarray = smoothed / smoothed.sum(axis=-1, keepdims=True)
    return shares


def _p_value(reference: np.ndarray, served: np.ndarray, rng: np.random.Generator) -> float:
    shrink = max(1.0, (reference.sum() + served.sum()) / _MOST_DRAWN)
    reference, served = ((counts / shrink).astype(np.int64) for counts in (reference, served))
    both = reference + served
    moved = rng.multivariate_hypergeometric(
        both, int(served.sum()), size=SHUFFLES, method="marginals"
    )
    found = population_stability(reference, served)
    as_great = population_stability(both - moved, moved) >= found - 1e-12  # ties round apart
    return float((1 + as_great.sum()) / (1 + SHUFFLES))
