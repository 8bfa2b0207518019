"""All that hangs together is joined, by few looks, whatever the order and the threads."""

import os
from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from components.shared.data.groups import join_links
from components.shared.near_duplicates import linkage
from components.shared.near_duplicates.linkage import single_linkage

LEAST = 0.98


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred points are many blocks, rounds and dense places."""
    for name, value in {"_ROWS": 16, "_COLUMNS": 64, "_TASKS_AT_ONCE": 4, "_MANY": 256}.items():
        monkeypatch.setattr(linkage, name, value)


def around(rng: np.random.Generator, centre: np.ndarray, count: int, noise: float) -> np.ndarray:
    """Unit vectors, float32 [count, d], whose products are about 1 / (1 + noise^2)."""
    grain = rng.normal(size=(count, len(centre))) / np.sqrt(len(centre))
    points = centre + noise * grain
    return np.float32(points / np.linalg.norm(points, axis=1, keepdims=True))


def direction(rng: np.random.Generator) -> np.ndarray:
    point = rng.normal(size=32)
    return point / np.linalg.norm(point)


def places(rng: np.random.Generator) -> np.ndarray:
    """A dense cluster, a cloud about as wide as the limit, a chain of neighbours, and strangers."""
    one, other = direction(rng), direction(rng)
    chain = np.linspace(0, 3, 150)[:, np.newaxis]
    chain = np.cos(chain) * one + np.sin(chain) * (other - (one @ other) * one)
    return np.concatenate(
        [
            around(rng, direction(rng), 250, 0.05),
            around(rng, direction(rng), 250, 0.15),
            np.float32(chain / np.linalg.norm(chain, axis=1, keepdims=True)),
            np.stack([np.float32(direction(rng)) for _ in range(150)]),
        ]
    )


class Looks:
    """Says which pairs are alike, by more than the descriptors tell, and counts the questions."""

    def __init__(self, points: np.ndarray, hidden: np.ndarray, least: float = LEAST) -> None:
        self.points, self.hidden, self.least, self.count = points, hidden, least, 0

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        self.count += len(left)
        near = np.einsum("ij,ij->i", self.points[left], self.points[right]) > self.least
        return near & (self.hidden[left] == self.hidden[right])

    def groups(self) -> np.ndarray:
        near = self.points @ self.points.T > self.least
        same = self.hidden[:, np.newaxis] == self.hidden
        return connected_components(near & same, directed=False)[1]


def partition(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kinds", [1, 2, 40])
def test_the_same_as_all_pairs(seed: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.permutation(places(rng))
    looks = Looks(points, rng.integers(0, kinds, len(points)))
    links = single_linkage(points, LEAST, looks, "points")
    assert partition(join_links(len(points), links)) == partition(looks.groups())


def test_the_number_of_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    points = rng.permutation(places(rng))
    hidden = rng.integers(0, 3, len(points))
    found = []
    for threads in (1, 7):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        # So few may be looked at that the choice among them shows.
        monkeypatch.setattr(linkage, "_MAX_CONFIRMED", 5_000)
        found.append(single_linkage(points, LEAST, Looks(points, hidden), "points"))
    assert np.array_equal(*found)


def test_a_cluster_takes_few_looks(capsys: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(1)
    points = around(rng, direction(rng), 2_000, 0.05)
    looks = Looks(points, np.zeros(len(points)))
    assert not join_links(2_000, single_linkage(points, LEAST, looks, "points")).any()
    assert looks.count < 20 * 2_000  # of two million pairs
    assert "2,000 of 2,000 points compared" in capsys.readouterr().out


def test_a_cloud_without_a_link_is_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(linkage, "_MAX_CONFIRMED", 50_000)
    rng = np.random.default_rng(2)
    cloud = around(rng, direction(rng), 1_000, 0.05)
    twins = rng.permutation(np.concatenate([np.arange(1_000), np.arange(0, 1_000, 50)]))
    looks = Looks(cloud[twins], twins)  # none is alike but itself
    groups = join_links(len(twins), single_linkage(cloud[twins], LEAST, looks, "points"))
    # Past the limit, one for each row of a block.
    blocks = len(twins) / linkage._COLUMNS + 2
    assert looks.count < 50_000 + len(twins) * blocks
    assert partition(groups) == partition(twins)
    assert "too many points are nearly alike" in capsys.readouterr().out


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few(count: int) -> None:
    points = np.full((count, 4), 0.5, dtype=np.float32)
    every: Callable = lambda left, right: left >= 0  # noqa: E731
    assert len(single_linkage(points, LEAST, every, "points")) == max(0, count - 1)
