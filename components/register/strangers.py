"""Made-up images that are not brain MRI: what the in-distribution check learns to tell slices from.

No images are shipped or fetched. What these drawings share with photographs and documents is
their statistics: shapes that hide one another (the dead-leaves model), spectra that fall off as
1/f, lines of words, shading; and slices bent until they are none. Scans of other kinds are drawn
in `components.register.heads` and `components.register.scans`.
"""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw

from components.register.drawing import ACROSS, DOWN, blurred, texture
from components.register.heads import head_ct
from components.register.scans import body, coloured_field, radiograph, ultrasound
from components.shared.images.decode import SHAPE, SIZE

_Draw = Callable[[np.random.Generator], np.ndarray]


def draw_strangers(slices: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Draws strangers of every kind in turn; every third has no colour.

    Args:
        slices: Some brain MRI slices, uint8 [m, 150, 150, 3], to bend and to draw heads from.
        count: How many strangers to draw.
        seed: The same seed and slices give the same strangers.

    Yields:
        uint8 [150, 150, 3].
    """
    rng = np.random.default_rng(seed)

    def of_slice(draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> _Draw:
        return lambda rng: draw(slices[rng.integers(len(slices))], rng)

    head, bent = of_slice(head_ct), of_slice(_bent)
    # The drawings of scans are nearer to a slice than photographs are, so fewer are enough.
    kinds: tuple[_Draw, ...] = (
        *(_dead_leaves, head, _coloured_noise, radiograph, _document, body, _gradient),
        *(_dead_leaves, ultrasound, bent, _white_noise, coloured_field),
        *(_dead_leaves, head, _coloured_noise, radiograph, bent, body, _document),
    )
    for number in range(count):
        image = kinds[number % len(kinds)](rng)
        if image.ndim == 3 and number % 3 == 0:
            image = image.mean(axis=-1)
        if image.ndim == 2:
            image = np.broadcast_to(image[..., None], SHAPE)
        yield np.clip(image, 0, 255).astype(np.uint8)


def _dead_leaves(rng: np.random.Generator) -> np.ndarray:
    """Discs and rectangles of every size that hide one another, shaded and textured."""
    leaves = int(rng.integers(15, 150))
    centres = rng.uniform(-20, SIZE + 20, (leaves + 1, 2))
    radii = np.clip(3 * rng.pareto(1.2, leaves + 1) + 3, 3, 90)
    top = _topmost_leaf(centres, radii, rng)
    colours = rng.uniform(0, 255, 3) + rng.normal(0, rng.uniform(20, 90), (leaves + 1, 3))
    colours[0] = rng.uniform(0, 255, 3) if rng.random() < 0.5 else rng.uniform(0, 255)
    slopes = rng.uniform(-0.5, 0.5, (leaves + 1, 2))
    slopes[0] = 0  # the background
    shade = slopes[top, 0] * ACROSS + slopes[top, 1] * DOWN - (slopes * centres).sum(1)[top]
    shade += rng.uniform(0, 0.6) * rng.uniform(20, 70) * texture(rng.uniform(0.8, 1.6), rng)
    return blurred(np.clip(colours, 0, 255)[top] + shade[..., None], rng.uniform(0.3, 1.2))


def _topmost_leaf(centres: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns which leaf is seen at each place, uint8 [150, 150]; 0 is the background."""
    seen = Image.new("L", (SIZE, SIZE))
    pen = ImageDraw.Draw(seen)
    for leaf, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        if leaf == 0:
            continue
        if rng.random() < 0.5:
            pen.ellipse([*(centre - radius), *(centre + radius)], fill=leaf)
        else:
            turn = rng.uniform(0, np.pi)
            along = radius * np.array([np.cos(turn), np.sin(turn)])
            across = rng.uniform(0.2, 1) * np.array([-along[1], along[0]])
            corners = (along + across, along - across, -along - across, across - along)
            pen.polygon([tuple(centre + corner) for corner in corners], fill=leaf)
    return np.asarray(seen)


def _coloured_noise(rng: np.random.Generator) -> np.ndarray:
    """Noise whose spectrum falls off, as that of clouds and of photographs does."""
    if rng.random() < 0.6:
        noise = texture(rng.uniform(0.5, 2.5), rng)
        return noise * rng.uniform(20, 70) + rng.uniform(60, 200)
    channels = np.stack([texture(1.5, rng) for _ in range(3)], axis=-1)
    return channels * rng.uniform(20, 70, 3) + rng.uniform(60, 200, 3)


def _white_noise(rng: np.random.Generator) -> np.ndarray:
    """Independent pixels, uniform or normal, finer or coarser than the image's own."""
    side = int(rng.choice([SIZE // 5, SIZE // 3, SIZE // 2, SIZE, 2 * SIZE]))
    kind = rng.choice(["uniform, coloured", "uniform", "normal"], p=[0.25, 0.25, 0.5])
    if kind == "normal":
        values = rng.normal(rng.uniform(20, 220), rng.uniform(5, 90), (side, side))
        pixels = np.clip(values, 0, 255).astype(np.uint8)
    else:
        shape = (side, side) if kind == "uniform" else (side, side, 3)
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    smooth = rng.random() < 0.5
    filter_ = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), filter_))


def _document(rng: np.random.Generator) -> np.ndarray:
    """Lines of words on a light page; one in five is light on dark."""
    page = np.full((SIZE, SIZE), rng.uniform(200, 255))
    ink, height, gap = rng.uniform(0, 90), int(rng.integers(2, 6)), int(rng.integers(1, 6))
    for top in range(int(rng.integers(3, 15)), SIZE - 8, height + gap):
        left, right = int(rng.integers(5, 15)), SIZE - int(rng.integers(8, 30))
        lengths = np.empty(80, dtype=np.int64)  # of words and of the spaces after them, in turn
        lengths[::2], lengths[1::2] = rng.integers(3, 14, 40), rng.integers(1, 5, 40)
        words = np.repeat(np.arange(80) % 2 == 0, lengths)[: right - left]
        line = page[top : top + height, left : left + len(words)]
        line[:, words] = ink + rng.uniform(0, 120, (len(line), int(words.sum())))
    page = blurred(page, 0.5)
    return page if rng.random() < 0.8 else 255 - page


def _gradient(rng: np.random.Generator) -> np.ndarray:
    """Shading across the whole image, with some texture: skies, walls, screens."""
    slopes = rng.uniform(-1.5, 1.5, 2)
    image = rng.uniform(0, 255) + (ACROSS - SIZE / 2) * slopes[0] + (DOWN - SIZE / 2) * slopes[1]
    image += rng.uniform(0.1, 1) * rng.uniform(20, 70) * texture(rng.uniform(1, 2.5), rng)
    return image[..., None] * rng.uniform(0.6, 1.3, 3) if rng.random() < 0.5 else image


def _bent(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice that is one no longer: an enlarged part, a negative, shuffled tiles, tinted."""
    kind = rng.integers(4)
    if kind == 0:
        side = int(rng.integers(30, 70))
        left, top = (int(v) for v in rng.integers(20, SIZE - side - 20, 2, endpoint=True))
        box = (left, top, left + side, top + side)
        enlarged = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box)
        return np.asarray(enlarged)
    if kind == 1:
        return 255 - image
    if kind == 2:
        tiles = int(rng.choice([2, 3, 5]))
        side = SIZE // tiles
        grid = image.reshape(tiles, side, tiles, side, 3).swapaxes(1, 2)
        shuffled = rng.permutation(grid.reshape(-1, side, side, 3)).reshape(grid.shape)
        return shuffled.swapaxes(1, 2).reshape(SHAPE)
    return image * rng.uniform(0.2, 1.2, 3) + rng.uniform(0, 120, 3)
