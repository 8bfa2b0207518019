"""Answers in bins: where the edges lie, and that nothing is lost or counted twice."""

import numpy as np
import pytest

from components.shared.evaluation.binning import count_quantity, deciles, drift_reference


def test_ten_bins_hold_a_tenth_each() -> None:
    values = np.random.default_rng(0).permutation(1000) / 1000
    edges = deciles(values)
    assert edges == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    counted = count_quantity("x", "x", values, edges, np.arange(1000))
    assert counted.counts == (100,) * 10
    assert counted.bins == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        (np.zeros(500), ()),
        (np.repeat([0.0, 1.0], 250), (1.0,)),
        (np.arange(30.0), (10.0, 20.0)),  # three bins of ten
        (np.array([3.0, 1.0]), (3.0,)),
    ],
    ids=["all the same", "two values", "few", "two"],
)
def test_there_are_as_many_bins_as_the_values_are_worth(
    values: np.ndarray, edges: tuple[float, ...]
) -> None:
    assert deciles(values) == edges


def test_a_value_on_an_edge_is_in_the_bin_after_it() -> None:
    values = np.array([0.1, 0.25, 0.3, 0.5, 0.9])
    counted = count_quantity("x", "x", values, (0.25, 0.5), np.arange(5), ("low", "mid", "high"))
    assert dict(zip(counted.bins, counted.counts, strict=True)) == {"low": 1, "mid": 2, "high": 2}


def test_no_group_is_divided_among_blocks() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 250, 2000)
    # The value names the group's block, so a divided group would be in two bins of its block.
    edges = tuple(float(edge) for edge in range(1, 10))
    counted = count_quantity("x", "x", (groups % 10).astype(float), edges, groups)
    blocks = np.array(counted.blocks)
    assert blocks.shape == (100, 10)
    assert blocks.sum() == 2000
    _, numbered = np.unique(groups, return_inverse=True)
    for number, block in enumerate(blocks):
        assert block.sum() == (numbered % 100 == number).sum()


def test_edges_are_of_the_one_part_and_counts_of_the_other() -> None:
    rng = np.random.default_rng(2)
    setting = {"score": rng.random(400), "same": np.ones(400)}
    counted = {"score": rng.random(300) ** 2, "same": np.ones(300)}
    groups = np.arange(300) // 3
    reference = drift_reference(
        setting, counted, groups, {"called": ("score", (0.5,), ("no", "yes"))}
    )
    assert (reference.images, reference.groups) == (300, 100)
    called, score = reference.quantities  # what is the same for all says nothing
    assert (called.name, called.of, called.edges) == ("called", "score", (0.5,))
    assert called.counts == ((counted["score"] < 0.5).sum(), (counted["score"] >= 0.5).sum())
    assert score.edges == deciles(setting["score"])
    assert score.counts[0] > 60  # of 300: squares are small
