import io

import numpy as np
import pytest
from PIL import Image

from components.shared.images.decode import decode
from components.shared.images.slices import MAX_SLICES, choose, read
from components.shared.run.parameters import Data


def test_an_image_file_is_one_slice() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(buffer, "PNG")

    slices = read(buffer.getvalue())

    (image,) = slices.images
    assert (slices.numbers, slices.of, slices.subject) == ((1,), 1, ())
    assert np.array_equal(image.pixels, decode(buffer.getvalue()).pixels)


@pytest.mark.parametrize(
    ("of", "most", "numbers"),
    [
        (1, 16, (1,)),
        (5, 16, (1, 2, 3, 4, 5)),
        (5, 1, (3,)),
        (6, 4, (2, 3, 4, 5)),
        (100, 5, (31, 41, 51, 61, 71)),  # the middles of five parts of 26..75
        (155, 2, (59, 97)),  # of two parts of 40..116
    ],
)
def test_slices_are_spread_over_the_middle_half(
    of: int, most: int, numbers: tuple[int, ...]
) -> None:
    assert choose(of, most) == numbers


def test_slices_are_different_and_within_the_volume() -> None:
    for of in range(1, 80):
        for most in range(1, 80):
            numbers = choose(of, most)
            assert len(numbers) == min(of, most) == len(set(numbers))
            assert sorted(numbers) == list(numbers)
            assert 1 <= numbers[0] <= numbers[-1] <= of


def test_a_run_takes_as_many_slices_as_everything_else() -> None:
    assert Data.model_fields["slices"].default == MAX_SLICES
