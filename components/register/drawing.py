"""What made-up images are drawn with: soft shapes, textures, letters. All are 150x150, grey."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from components.shared.images.decode import SIZE

MIDDLE = SIZE / 2
DOWN, ACROSS = np.mgrid[:SIZE, :SIZE].astype(np.float32)
_FREQUENCY = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)).astype(np.float32)
_FREQUENCY[0, 0] = 1.0  # whatever lies there is the mean, which is taken away
_Pair = tuple[float, float] | np.ndarray

_LETTERS = list("LRABPFHS0123456789cm:")


def texture(slope: float, rng: np.random.Generator) -> np.ndarray:
    """Returns noise of mean 0 and deviation 1 with amplitudes of f**-slope, [150, 150]."""
    amplitudes = rng.normal(size=(*_FREQUENCY.shape, 2)) @ np.array([1, 1j])
    noise = np.fft.irfft2(amplitudes / _FREQUENCY**slope, s=(SIZE, SIZE))
    noise -= noise.mean()
    return noise / noise.std()


def blurred(image: np.ndarray, radius: float) -> np.ndarray:
    """Returns an image of 0..255 as bytes, blurred; the radius is in pixels."""
    pixels = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    return np.asarray(pixels.filter(ImageFilter.GaussianBlur(radius)))


def ellipse(centre: _Pair, size: _Pair, turn: float = 0.0) -> np.ndarray:
    """Returns the squared distance from an ellipse's centre, 1 on its edge, [150, 150].

    Args:
        centre: Down and across, in pixels.
        size: Half of its height and of its width, in pixels.
        turn: Radians.
    """
    y, x = DOWN - centre[0], ACROSS - centre[1]
    cos, sin = np.cos(turn), np.sin(turn)
    return ((cos * x + sin * y) / size[1]) ** 2 + ((cos * y - sin * x) / size[0]) ** 2


def ellipsoid(centre: _Pair, size: _Pair, turn: float = 0.0) -> np.ndarray:
    """Returns how thick an ellipsoid is along the line of sight, 1 in its middle, [150, 150].

    Args:
        centre: Down and across, in pixels.
        size: Half of its height and of its width, in pixels.
        turn: Radians.
    """
    return np.sqrt(np.clip(1 - ellipse(centre, size, turn), 0, None))


def outline(tall: float, wide: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the distance from the middle of a round body, 1 on its uneven edge, [150, 150]."""
    centre = MIDDLE + rng.normal(0, 4, 2)
    angle = np.arctan2(DOWN - centre[0], ACROSS - centre[1])
    waves = [
        rng.normal(0, 0.07 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4)
    ]
    return np.sqrt(ellipse(centre, (tall, wide), rng.normal(0, 0.15))) / (1 + sum(waves))


def lettered(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Returns an image of 0..255, in such a share of cases with marks as scanners write them."""
    if rng.random() > share:
        return image
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.integers(1, 4)):
        text = "".join(rng.choice(_LETTERS, rng.integers(1, 7)))
        left = (3, SIZE - 5 - 7 * len(text), rng.integers(0, SIZE - 20))[rng.integers(3)]
        place = (float(left), float(rng.choice([2, SIZE - 13])))
        pen.text(place, text, fill=int(rng.integers(150, 256)))
    return np.asarray(picture).astype(np.float32)
