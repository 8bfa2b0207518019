"""Groups are joined where they share an image; near-duplicates share a weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.data.groups import group_weights, join_groups, join_links


def test_near_duplicates_share_a_weight() -> None:
    groups = np.array([7, 7, 7, 7, 2, 9, 9])
    np.testing.assert_allclose(group_weights(groups, 0.0), 1)
    np.testing.assert_allclose(group_weights(groups), [0.5] * 4 + [1] + [2**-0.5] * 2)
    whole = group_weights(groups, 1.0)
    assert whole[:4].sum() == pytest.approx(whole[4])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.tuples(st.integers(-1, 15), st.integers(-3, 15)), max_size=40))
def test_joined_groups_are_the_connected_components(rows: list[tuple[int, int]]) -> None:
    truth = [{image} for image in range(len(rows))]
    for kind in (0, 1):
        for number in range(16):
            held = {image for image, names in enumerate(rows) if names[kind] == number}
            together = [group for group in truth if group & held]
            truth = [group for group in truth if not group & held]
            if together:
                truth.append(set.union(*together))
    joined = join_groups(*np.array(rows, dtype=np.int64).reshape(-1, 2).T)
    found = [set(np.flatnonzero(joined == g).tolist()) for g in range(len(truth))]
    assert sorted(map(sorted, found)) == sorted(map(sorted, truth))
    first = [int(np.flatnonzero(joined == g)[0]) for g in range(len(truth))]
    assert first == sorted(first)


def test_one_grouping_stays_as_it_is() -> None:
    groups = np.array([0, 1, 0, 2, 1])
    unknown = np.full(5, -1)
    assert join_groups(groups, unknown).tolist() == groups.tolist()


def test_links_are_joined_and_numbered_by_first_appearance() -> None:
    links = np.array([[4, 1], [5, 3], [1, 2], [2, 1]])
    assert join_links(7, links).tolist() == [0, 1, 1, 2, 1, 2, 3]
    assert join_links(2, links[:0]).tolist() == [0, 1]
    assert join_links(0, links[:0]).tolist() == []
