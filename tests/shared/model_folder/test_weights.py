"""Weights that a version keeps: what is written is read, and whatever else lies there is told."""

import io
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared.errors import UserError
from components.shared.model_folder.contract import WEIGHTS
from components.shared.model_folder.weights import read_weights, write_weights

SHAPES = [(3, 3, 1, 4), (4,), (36, 1), (1,)]
TOTAL = sum(map(math.prod, SHAPES))
ANY_FILE = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def arrays(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_weights(tmp_path, arrays())
    for found, written in zip(read_weights(tmp_path, SHAPES), arrays(), strict=True):
        np.testing.assert_array_equal(found, written)
        assert found.dtype == np.float32
    # NumPy, which did not write it here, reads it too.
    assert np.load(tmp_path / WEIGHTS, allow_pickle=False).shape == (TOTAL,)


def test_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing: the version is older than kept weights"):
        read_weights(tmp_path, SHAPES)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("code was run",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(np.zeros(TOTAL - 1, "<f4")), f"has {TOTAL - 1:,} weights, and the network to train"),
        (saved(np.zeros(TOTAL + 1, "<f4")), f"has {TOTAL + 1:,} weights"),
        (saved(np.full(TOTAL, np.nan, "<f4")), "has weights that are not numbers"),
        (saved(np.full(TOTAL, -np.inf, "<f4")), "has weights that are not numbers"),
        (saved(np.zeros(TOTAL // 2, "<f8")), "is not a vector of weights: float64"),
        (saved(np.zeros((1, TOTAL), "<f4")), "is not a vector of weights"),
        (saved(np.zeros(TOTAL, ">f4")), "is not a vector of weights: >f4"),
        (saved(np.array([Bomb()], object)), "is not a vector of weights: object"),
        (pickle.dumps(Bomb()), "is not a vector of weights"),
        (saved(np.zeros(TOTAL, "<f4"))[:-1], "is cut off, or too long"),
        (saved(np.zeros(TOTAL, "<f4")) + b"x", "is cut off, or too long"),
        (
            saved(np.zeros(TOTAL, "<f4")).replace(b"(77,", b"(9**9,", 1),
            "is not a vector of weights",
        ),
        (saved(np.zeros(TOTAL, "<f4")).replace(b"(77,)", b"(99,)", 1), "has 99 weights"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 4000, "is not a vector of weights"),
        (b"", "is not a vector of weights"),
        (bytes(4 * TOTAL + 5000), "is not a vector of weights"),
    ],
)
def test_whatever_else_lies_there_is_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_weights(tmp_path, SHAPES)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    write_weights(tmp_path / "other", arrays())
    (tmp_path / WEIGHTS).symlink_to(tmp_path / "other" / WEIGHTS)
    with pytest.raises(UserError, match="is a link"):
        read_weights(tmp_path, SHAPES)


@ANY_FILE
@given(st.data())
def test_any_change_gives_numbers_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(saved(np.concatenate([a.ravel() for a in arrays()])))
    at = data.draw(st.integers(0, 140) | st.integers(0, len(content) - 1))
    cut = data.draw(st.integers(0, 3))
    content[at : at + cut] = data.draw(st.binary(max_size=6))
    (tmp_path / WEIGHTS).write_bytes(content)
    try:
        found = read_weights(tmp_path, SHAPES)
    except UserError:
        return
    assert [array.shape for array in found] == SHAPES
    assert all(np.isfinite(array).all() for array in found)
