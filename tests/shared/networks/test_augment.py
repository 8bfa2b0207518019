import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from components.shared.images.decode import SHAPE
from components.shared.networks.augment import StrongAugmentation, normal, reference_augmentation

KINDS = pytest.mark.parametrize("make", [StrongAugmentation, reference_augmentation])
RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (6, *SHAPE), dtype=np.uint8)


def _scan(count: int = 1) -> np.ndarray:
    """A bright disk with a brighter spot to its left, on black."""
    rows, columns = np.mgrid[:150, :150]
    scan = 120 * ((rows - 75) ** 2 + (columns - 75) ** 2 < 40**2)
    scan[65:85, 45:60] = 220
    return np.repeat(np.repeat(scan.astype(np.uint8)[None, ..., None], 3, -1), count, 0)


@KINDS
def test_it_acts_in_training_alone(make) -> None:
    entry = keras.Input(SHAPE, dtype="uint8")
    augmented = keras.Sequential([entry, make(2), layers.Rescaling(1.0)])
    assert np.array_equal(augmented(IMAGES, training=False), IMAGES)
    varied = tf.convert_to_tensor(augmented(IMAGES, training=True)).numpy()
    assert varied.shape == IMAGES.shape
    assert not np.array_equal(varied, IMAGES)
    assert varied.min() >= 0
    assert varied.max() <= 255


@KINDS
def test_the_seed_decides(make) -> None:
    def twice(seed: int) -> np.ndarray:
        layer = make(seed)
        return np.stack([np.asarray(layer(IMAGES, training=True)) for _ in range(2)])

    first = twice(5)
    assert np.array_equal(first, twice(5))
    assert not np.array_equal(first, twice(6))
    assert not np.array_equal(first[0], first[1])


def test_it_yields_what_a_file_could_hold() -> None:
    varied = StrongAugmentation(1)(IMAGES, training=True)
    assert varied.dtype == tf.uint8
    np.testing.assert_array_equal(varied[..., 0], varied[..., 1])
    np.testing.assert_array_equal(varied[..., 0], varied[..., 2])


def test_each_image_is_varied_in_its_own_way_and_stays_itself() -> None:
    varied = StrongAugmentation(1)(_scan(64), training=True).numpy()[..., 0].astype(float)
    assert len({image.tobytes() for image in varied}) == 64
    inside = varied > 60  # of the disk, whatever its tone
    share = inside.mean(axis=(1, 2)) / (_scan()[0, ..., 0] > 60).mean()
    assert np.all((share > 0.2) & (share < 2))  # half of the width at least, 1.25 times at most
    rows, columns = np.mgrid[:150, :150]
    middle = [(inside * axis).sum((1, 2)) / inside.sum((1, 2)) for axis in (rows, columns)]
    assert np.all(np.abs(np.array(middle) - 75) < 30)  # shifted by up to 12% of the side
    # The spot stays the brightest, and comes to lie on both sides: half are mirrored.
    brightest = np.array(
        [np.argwhere(image > np.percentile(image, 98)).mean(0) for image in varied]
    )
    left = brightest[:, 1] < middle[1]
    assert 10 < left.sum() < 54


def test_heads_become_smaller_more_often_than_larger() -> None:
    def widths(**how: float) -> np.ndarray:
        layer = StrongAugmentation(1, any_angle=0, shift=0, **how)
        disk = tf.constant(_scan(400)[..., :1] > 60, tf.float32)
        return np.sqrt(layer._view(disk).numpy().sum((1, 2, 3)) / disk[0].numpy().sum())

    plain, smaller = widths(smaller=0, stretch=0), widths(smaller=0.25, stretch=0)
    assert (plain.min(), plain.max()) == pytest.approx((0.75, 1.25), abs=0.02)
    assert plain.mean() == pytest.approx(1, abs=0.02)
    assert (smaller.min(), smaller.max()) == pytest.approx((0.5, 1.25), abs=0.06)
    assert smaller.mean() == pytest.approx(0.875, abs=0.02)


def test_a_stretch_keeps_the_area() -> None:
    layer = StrongAugmentation(1, any_angle=0, smaller=0, shift=0, stretch=0.1)
    disk = tf.constant(_scan(200)[..., :1] > 60, tf.float32)
    varied = layer._view(disk).numpy()[..., 0] > 0.5
    wide, high = varied.any(axis=1).sum(axis=1), varied.any(axis=2).sum(axis=1)
    ratio = wide / high
    assert np.exp(0.2) * 1.03 > ratio.max() > np.exp(0.15)
    assert np.exp(-0.2) / 1.03 < ratio.min() < np.exp(-0.15)


def test_black_stays_nearly_black() -> None:
    black = np.zeros((32, *SHAPE), np.uint8)
    varied = StrongAugmentation(1)(black, training=True).numpy()
    assert np.isfinite(varied).all()
    assert varied.mean() < 40


def test_some_are_blurred() -> None:
    """Stripes of one pixel vanish where an image is blurred, and its brightness stays."""
    stripes = np.zeros((200, *SHAPE), np.uint8)
    stripes[:, :, ::2] = 200

    def contrast(blurred: float) -> np.ndarray:
        layer = StrongAugmentation(1, blurred=blurred)
        grey = tf.constant(stripes[..., :1], tf.float32) / 255
        found = layer._blur(grey).numpy()[..., 0]
        np.testing.assert_allclose(found.mean(axis=(1, 2)), 100 / 255, atol=2e-3)
        return found.std(axis=(1, 2)) * 255

    np.testing.assert_allclose(contrast(0.0), 100, atol=0.1)
    assert 0.2 < np.mean(contrast(0.3) < 99) < 0.4
    every = contrast(1.0)
    assert every.min() < 5  # a deviation near 1.5 leaves nothing of them
    assert every.max() > 90  # one near 0 leaves them


def test_noise_is_what_tensorflow_draws() -> None:
    seed = tf.constant([3, 5])
    expected = tf.random.stateless_normal((7, 3, 2), seed)
    np.testing.assert_allclose(normal((7, 3, 2), seed), expected, atol=1e-5)
