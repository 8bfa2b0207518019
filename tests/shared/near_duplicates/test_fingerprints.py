"""Fingerprints find changed copies of images, and no others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from components.shared.errors import UserError
from components.shared.near_duplicates.fingerprints import Fingerprints
from tests.shared.near_duplicates.test_heads import CHANGES, pixels


@pytest.fixture(scope="module")
def known(drawn_head: Callable) -> Fingerprints:
    images = np.stack([pixels(drawn_head(seed)) for seed in range(12)])
    return Fingerprints.of([images[:8], images[8:]])


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found(known: Fingerprints, drawn_head: Callable, change: str) -> None:
    copies = np.stack([pixels(CHANGES[change](drawn_head(seed))) for seed in range(7, 12)])
    assert known.twins_of([copies[:3], copies[3:]]).tolist() == list(range(7, 12))


def test_others_are_not(known: Fingerprints, drawn: Callable, drawn_head: Callable) -> None:
    heads = [pixels(drawn_head(seed)) for seed in range(20, 30)]
    others = [pixels(drawn(seed)) for seed in range(10)]
    flat = [np.full((150, 150, 3), grey, dtype=np.uint8) for grey in (0, 255)]
    assert set(known.twins_of([np.stack([*heads, *others, *flat])])) == {-1}
    assert set(Fingerprints.of([np.stack(flat)]).twins_of([np.stack(flat)])) == {-1}
    assert set(Fingerprints.of([]).twins_of([np.stack(heads)])) == {-1}
    assert known.twins_of([]).tolist() == []


def test_the_same_for_all_orientations(drawn_head: Callable) -> None:
    image = Image.fromarray(pixels(drawn_head(3)))
    turned = [image.rotate(90 * turns) for turns in range(4)]
    eight = [np.asarray(way) for one in turned for way in (one, ImageOps.mirror(one))]
    numbers = Fingerprints.of([np.stack(eight)]).numbers
    assert np.abs(numbers - numbers[0].astype(int)).max() <= 2


def test_written_and_read(known: Fingerprints, tmp_path: Path) -> None:
    path = tmp_path / "fingerprints.npy"
    known.write(path)
    assert path.stat().st_size < 12 * 514 + 200
    np.testing.assert_array_equal(Fingerprints.open(path).numbers, known.numbers)


def test_what_is_no_file_of_fingerprints_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fingerprints.npy"
    with pytest.raises(UserError, match="holds no fingerprints"):
        Fingerprints.open(path)
    for content in (np.zeros((3, 9), np.int8), np.zeros((3, 514)), np.array([{}], dtype=object)):
        np.save(path, content)
        with pytest.raises(UserError, match="holds no fingerprints"):
            Fingerprints.open(path)
