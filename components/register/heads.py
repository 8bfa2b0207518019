"""A slice changed: as another scanner might have shown the head, and as CT would."""

import numpy as np
from PIL import Image
from scipy import ndimage

from components.register.drawing import (
    DOWN,
    MIDDLE,
    blurred,
    ellipse,
    lettered,
    outline,
    texture,
)
from components.shared.images.decode import SIZE

_BILINEAR = Image.Resampling.BILINEAR


def vary(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a slice as another scanner, sequence or program might have shown it.

    Its skull is taken away, its tones follow another curve, it is shaded, dimmed, of fewer pixels,
    of another field of view, noisy or mirrored: each in some of the cases.

    Args:
        image: A brain MRI slice, uint8 [150, 150, 3].
        rng: Decides.

    Returns:
        float [150, 150], about 0..255.
    """
    grey = image.mean(axis=-1, dtype=np.float32)
    if rng.random() < 0.4:
        grey = _stripped(grey, rng)
    tones = np.clip(grey / (np.percentile(grey, 99.5) + 1), 0, 1)
    curve = rng.integers(4)
    if curve == 0:
        tones = tones ** np.exp(rng.normal(0, 0.5))
    elif curve == 1:
        steps = np.sort([0, *rng.uniform(0.1, 0.9, 3), 1])
        tones = np.interp(tones, steps, [0, *rng.uniform(0.1, 1, 3), rng.uniform(0.5, 1)])
    if rng.random() < 0.3:
        tones = tones * np.exp(rng.uniform(0.1, 0.5) * texture(2.6, rng))
    tones = tones * rng.uniform(0.25, 1.15)
    if rng.random() < 0.4:
        side = int(rng.integers(45, 120))
        few = Image.fromarray(tones.astype(np.float32)).resize((side, side), _BILINEAR)
        tones = np.asarray(few.resize((SIZE, SIZE), _BILINEAR))
    if rng.random() < 0.4:
        scale = rng.uniform(0.75, 1.3) * np.array([rng.uniform(0.93, 1.07), 1])
        offset = MIDDLE - MIDDLE / scale + rng.normal(0, 4, 2)
        tones = ndimage.affine_transform(tones, 1 / scale, offset, order=1)
    if rng.random() < 0.3:
        tones = tones + rng.uniform(0.005, 0.05) * rng.normal(size=tones.shape)
    return 255 * (tones[:, ::-1] if rng.random() < 0.5 else tones)


def head_ct(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a head as CT shows it: a bright skull around soft tissue of little contrast.

    Args:
        image: A brain MRI slice, uint8 [150, 150, 3]; in two thirds of the cases its outline and
            its tissue are taken.
        rng: Decides the rest.

    Returns:
        uint8 [150, 150].
    """
    head, tissue = _head_and_tissue(image, rng)
    depth = ndimage.distance_transform_edt(head)
    scalp = rng.choice([0, rng.uniform(1, 7)])
    skull = scalp + rng.uniform(3, 11) * np.exp(0.25 * texture(2.2, rng))
    bone, brain = (depth > scalp) & (depth <= skull), depth > skull
    level, bright = rng.uniform(40, 165), rng.uniform(215, 255)
    picture = np.full((SIZE, SIZE), rng.choice([0, 0, 0, rng.uniform(0, 90)]))
    picture[(depth > 0) & (depth <= scalp)] = level * rng.uniform(0.4, 1)
    picture[brain] = (level + _soft_tissue(tissue, rng))[brain]
    _draw_fluid(picture, brain, depth - skull, ndimage.center_of_mass(head), rng)
    _draw_bright_spots(picture, brain, rng)
    picture[bone] = bright
    if rng.random() < 0.3:
        picture[bone] -= 40 * np.abs(texture(1, rng))[bone]
    if rng.random() < 0.25:  # the skull's base: bones and air
        mottled, inner = texture(1.4, rng), brain & (ellipse((MIDDLE, MIDDLE), (40, 40)) < 1)
        picture[inner & (mottled > rng.uniform(0.6, 1.4))] = bright
        picture[inner & (mottled < -1.3)] = 0
    if rng.random() < 0.15:  # a window for bones
        picture[brain] = picture[brain] * 0.2 + rng.uniform(10, 50)
    if rng.random() < 0.3:  # what the head lies in
        rest = np.sqrt(ellipse((MIDDLE, MIDDLE), (rng.uniform(70, 85), rng.uniform(60, 85))))
        lies = (np.abs(rest - 1) < 0.015) & (rng.uniform(90, 120) < DOWN)
        picture[lies] = rng.uniform(60, 200)
    return blurred(lettered(picture, 0.3, rng), rng.uniform(0.2, 1.3))


def _head_mask(grey: np.ndarray) -> np.ndarray | None:
    """Returns where the head is, bool [150, 150]; None where it cannot be told."""
    soft = ndimage.uniform_filter(grey, 5)
    filled = ndimage.binary_fill_holes(soft > max(12, 0.12 * np.percentile(soft, 98)))
    parts, count = ndimage.label(filled)
    if not count:
        return None
    head = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return head if 0.12 < head.mean() < 0.93 else None


def _stripped(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a slice without what lies around the brain, roughly."""
    head = _head_mask(grey)
    if head is None:
        return grey
    depth = ndimage.distance_transform_edt(head)
    kept = depth > rng.uniform(0.1, 0.32) * depth.max()
    if rng.random() < 0.6:  # along the tissue's own edge
        soft = ndimage.gaussian_filter(grey, 1)
        kept &= soft > np.percentile(soft[kept], rng.uniform(5, 35))
    kept = ndimage.binary_opening(kept, iterations=int(rng.integers(1, 4)))
    if rng.random() < 0.7:
        kept = ndimage.binary_fill_holes(kept)
    return grey * kept if kept.mean() > 0.08 else grey


def _head_and_tissue(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns where a head is, bool [150, 150], and its tissue's tones, about -2..2."""
    grey = image.mean(axis=-1, dtype=np.float32)
    head = _head_mask(grey) if rng.random() < 0.65 else None
    if head is None:
        head = outline(rng.uniform(52, 73), rng.uniform(42, 72), rng) < 1
        tissue = texture(rng.uniform(1, 2), rng)
    else:
        tissue = ndimage.gaussian_filter(grey, rng.uniform(0.2, 2))
        inner = ndimage.binary_erosion(head, iterations=14)
        low, middle, high = np.percentile(tissue[inner if inner.any() else head], (10, 50, 90))
        tissue = 2 * (tissue - middle) / (high - low + 4) * rng.choice([-1, 1], p=[0.3, 0.7])
    if rng.random() < 0.5:  # the frame ends where the head does
        rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
        margin = rng.integers(0, 8, 4)
        box = (
            columns[0] - margin[0],
            rows[0] - margin[1],
            columns[-1] + 1 + margin[2],
            rows[-1] + 1 + margin[3],
        )
        head = _cropped(head.astype(np.float32), box) > 0.5
        tissue = _cropped(tissue.astype(np.float32), box)
    return head, np.clip(tissue, -3, 2)


def _cropped(values: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(values).crop(box).resize((SIZE, SIZE), _BILINEAR))


def _soft_tissue(tissue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns grey levels around 0: little contrast, darker fluid, noise."""
    contrast = rng.choice([rng.uniform(2, 14), rng.uniform(8, 35)])
    fluid = rng.choice([0, rng.uniform(0, 60)]) * np.clip(-tissue - rng.uniform(0.4, 1), 0, 1.2)
    noise = ndimage.gaussian_filter(rng.normal(size=tissue.shape), rng.uniform(0.3, 1.2))
    return contrast * np.tanh(tissue) - fluid + rng.uniform(1, 14) * noise / noise.std()


def _draw_fluid(
    picture: np.ndarray,
    brain: np.ndarray,
    depth: np.ndarray,
    centre: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Darkens the ventricles, and furrows near the brain's surface."""
    if rng.random() < 0.7:
        for side in (-1, 1):
            down, across = centre[0] + rng.normal(0, 6), centre[1] + side * rng.uniform(4, 12)
            size = rng.uniform(6, 22), rng.uniform(2, 7)
            ventricle = ellipse((down, across), size, side * rng.uniform(-0.1, 0.6)) < 1
            picture[brain & ventricle] -= rng.uniform(15, 60)
    if rng.random() < 0.5:
        furrows = (depth < rng.uniform(8, 25)) & (texture(rng.uniform(0.6, 1.2), rng) > 1)
        picture[brain & furrows] -= rng.uniform(10, 50)


def _draw_bright_spots(picture: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> None:
    """Draws calcium, and a bleeding."""
    if rng.random() < 0.4:
        for _ in range(rng.integers(1, 5)):
            spot = ellipse(rng.normal(MIDDLE, 14, 2), rng.uniform(1, 4, 2)) < 1
            picture[brain & spot] = rng.uniform(150, 255)
    if rng.random() < 0.3:
        centre, size = rng.normal(MIDDLE, 25, 2), rng.uniform(5, 22, 2)
        uneven = ellipse(centre, size, rng.uniform(0, 3)) + 0.25 * texture(1.5, rng)
        picture[brain & (uneven < 1)] += rng.uniform(25, 110)
