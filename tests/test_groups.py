"""Near-duplicates share a weight."""

import numpy as np
import pytest

from components.groups import group_weights


def test_near_duplicates_share_a_weight() -> None:
    groups = np.array([7, 7, 7, 7, 2, 9, 9])
    np.testing.assert_allclose(group_weights(groups, 0.0), 1)
    np.testing.assert_allclose(group_weights(groups), [0.5] * 4 + [1] + [2**-0.5] * 2)
    whole = group_weights(groups, 1.0)
    assert whole[:4].sum() == pytest.approx(whole[4])
