"""Drawings of what else a hospital's archive holds: radiographs, bodies, ultrasound, endoscopy.

They are no anatomy. What they share with such images is what the network's first layers see: soft
shadows that add up, round bodies with a rim, bones, speckle, letters.
"""

import numpy as np
from scipy import ndimage

from components.register.drawing import (
    ACROSS,
    DOWN,
    MIDDLE,
    blurred,
    ellipse,
    ellipsoid,
    lettered,
    outline,
    texture,
)
from components.shared.images.decode import SIZE


def radiograph(rng: np.random.Generator) -> np.ndarray:
    """A chest, limbs, or anything that casts soft shadows; uint8 [150, 150]."""
    shadow = (_chest, _bones, _lumps)[rng.integers(3)](rng)
    shadow += rng.uniform(0.01, 0.08) * texture(rng.uniform(0.8, 1.6), rng)
    shadow += rng.uniform(0, 0.5) * rng.normal() * (DOWN / SIZE - 0.5)
    image = 1 - np.exp(-np.clip(shadow, 0, None) * rng.uniform(0.6, 1.8))
    image = (image - image.min()) / (np.ptp(image) + 1e-3)
    image = image ** rng.uniform(0.5, 1.8) * rng.uniform(170, 265) + rng.uniform(0, 40)
    if rng.random() < 0.12:
        image = 255 - image
    if rng.random() < 0.35:
        image[_beyond_the_shutters(rng)] = rng.choice([0, rng.uniform(0, 40)])
    return blurred(lettered(image, 0.5, rng), rng.uniform(0.2, 1.2))


def body(rng: np.random.Generator) -> np.ndarray:
    """A trunk or limbs cut across, a spine or a joint cut along; CT or MRI; uint8 [150, 150]."""
    image = np.full((SIZE, SIZE), rng.choice([0, rng.uniform(0, 25)]))
    noise = texture(rng.uniform(0.5, 1.3), rng)
    (_draw_trunk, _draw_trunk, _draw_limbs, _draw_spine, _draw_joint)[rng.integers(5)](
        image, noise, rng
    )
    image += rng.uniform(1, 9) * noise * (image > 8)
    return blurred(lettered(image, 0.3, rng), rng.uniform(0.2, 1.3))


def ultrasound(rng: np.random.Generator) -> np.ndarray:
    """A fan of speckle with dark hollows; uint8 [150, 150]."""
    down, across = DOWN - rng.uniform(-30, 12), ACROSS - MIDDLE - rng.normal(0, 6)
    far = np.hypot(down, across)
    fan = np.abs(np.arctan2(across, down)) < rng.uniform(0.5, 0.95)
    fan &= (far > rng.uniform(5, 40)) & (far < rng.uniform(110, 165))
    speckle = np.abs(texture(rng.uniform(0.2, 0.7), rng))
    image = fan * speckle * np.exp(rng.uniform(0.4, 1) * texture(1.8, rng)) * rng.uniform(20, 70)
    for _ in range(rng.integers(0, 4)):
        hollow = ellipse(rng.normal(80, 25, 2), rng.uniform(6, 28, 2), rng.uniform(0, 3)) < 1
        image[hollow] *= rng.uniform(0.05, 0.4)
    return blurred(lettered(image, 0.6, rng), rng.uniform(0.3, 1))


def coloured_field(rng: np.random.Generator) -> np.ndarray:
    """A field of one colour, as an endoscope, an eye camera or a stained tissue shows it.

    Args:
        rng: Decides.

    Returns:
        uint8 [150, 150, 3].
    """
    colour = rng.uniform([120, 40, 10], [255, 190, 200])
    shades = [c + rng.uniform(5, 45) * texture(rng.uniform(1, 2), rng) for c in colour]
    image = np.stack(shades, axis=-1)
    for _ in range(rng.integers(3, 60)):
        spot = ellipse(rng.uniform(0, SIZE, 2), rng.uniform(2, 10, 2), rng.uniform(0, 3)) < 1
        image[spot] *= rng.uniform(0.3, 1.4, 3)
    if rng.random() < 0.6:
        image[ellipse((MIDDLE, MIDDLE), rng.uniform(62, 80, 2)) > 1] = rng.uniform(0, 12)
    return blurred(image, rng.uniform(0.3, 1.2))


def _chest(rng: np.random.Generator) -> np.ndarray:
    down, across = rng.normal(MIDDLE, 6), rng.normal(MIDDLE, 5)
    shadow = 1.6 * ellipsoid((down + 20, across), (rng.uniform(90, 140), rng.uniform(62, 95)))
    for side in (-1, 1):
        lung, turn = (rng.uniform(38, 58), rng.uniform(16, 25)), side * rng.uniform(-0.05, 0.2)
        middle = across + side * rng.uniform(24, 34)
        shadow -= rng.uniform(0.7, 1.2) * ellipsoid((down + rng.normal(-3, 5), middle), lung, turn)
        shadow += 0.5 * ellipsoid(
            (down - 48, across + side * 45), (12, 34), side * 0.3
        )  # a shoulder
    spine = np.exp(-(((ACROSS - across) / rng.uniform(4, 9)) ** 2))
    heart_at = down + rng.uniform(12, 25), across + rng.uniform(2, 14)
    heart = ellipsoid(heart_at, rng.uniform(13, 25, 2), rng.uniform(-0.6, 0.6))
    shadow += rng.uniform(0.4, 0.9) * spine + rng.uniform(0.3, 0.9) * heart
    below = down + rng.uniform(38, 55) - 8 * np.cos((ACROSS - across) / 18) < DOWN
    shadow += rng.uniform(0.5, 1.2) * ndimage.gaussian_filter(below.astype(np.float32), 2)
    gap = rng.uniform(9, 15)
    for side in (-1, 1):
        out = (ACROSS - across) * side
        rib = DOWN - 0.012 * rng.uniform(0.6, 1.4) * (out - 20) ** 2 + rng.uniform(0.1, 0.6) * out
        ribs = np.clip(2 * np.cos(2 * np.pi * rib / gap) - 0.5, 0, 1)
        shadow += rng.uniform(0.03, 0.16) * ribs * (out > 4) * (out < 58)
    return shadow


def _bones(rng: np.random.Generator) -> np.ndarray:
    shadow = np.zeros((SIZE, SIZE))
    for _ in range(rng.integers(1, 3)):
        flesh = rng.uniform(80, 180), rng.uniform(16, 50)
        shadow += ellipsoid(rng.normal(MIDDLE, 15, 2), flesh, rng.normal(0, 0.35))
    for _ in range(rng.integers(2, 14)):
        down, across = rng.normal(MIDDLE, 32), rng.normal(MIDDLE, 26)
        tall, wide, turn = rng.uniform(12, 75), rng.uniform(3, 14), rng.normal(0, 0.6)
        marrow = ellipsoid((down, across), (0.92 * tall, 0.65 * wide), turn)
        shadow += rng.uniform(0.3, 1) * ellipsoid((down, across), (tall, wide), turn)
        shadow -= rng.uniform(0, 0.4) * marrow
        for end in (-0.85 * tall, 0.85 * tall):
            knob = down + end * np.cos(turn), across - end * np.sin(turn)
            shadow += 0.4 * ellipsoid(knob, (1.5 * wide, 1.7 * wide))
    return shadow


def _lumps(rng: np.random.Generator) -> np.ndarray:
    lumps = [
        rng.uniform(-0.5, 1)
        * ellipsoid(rng.normal(MIDDLE, 30, 2), rng.uniform(8, 70, 2), rng.uniform(0, 3.2))
        for _ in range(rng.integers(3, 14))
    ]
    return np.sum(lumps, axis=0)


def _beyond_the_shutters(rng: np.random.Generator) -> np.ndarray:
    turn = rng.normal(0, 0.04)
    x, y = ACROSS - MIDDLE, DOWN - MIDDLE
    along = np.abs(np.cos(turn) * x + np.sin(turn) * y) / rng.uniform(50, 75)
    across = np.abs(np.cos(turn) * y - np.sin(turn) * x) / rng.uniform(50, 75)
    return np.maximum(along, across) > 1


def _draw_trunk(image: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> None:
    by_ct = rng.random() < 0.5
    out = outline(rng.uniform(38, 62), rng.uniform(60, 82), rng)
    flesh = out < 1 - rng.uniform(0.03, 0.22)
    deep = out < rng.uniform(0.6, 0.9)
    image[out < 1] = rng.uniform(40, 90) if by_ct else rng.uniform(120, 255)  # fat
    image[flesh] = rng.uniform(90, 150) if by_ct else rng.uniform(30, 110)
    for _ in range(rng.integers(2, 12)):
        organ_at = rng.normal(72, 16), rng.normal(MIDDLE, 28)
        uneven = ellipse(organ_at, rng.uniform(5, 28, 2), rng.uniform(0, 3)) + 0.15 * texture(
            1.8, rng
        )
        image[deep & (uneven < 1)] = rng.uniform(20, 230)
    if rng.random() < 0.45:
        for side in (-1, 1):
            at = rng.normal(70, 4), MIDDLE + side * rng.uniform(26, 38)
            lung = ellipse(at, (rng.uniform(22, 38), rng.uniform(15, 26)), rng.normal(0, 0.2)) < 1
            vessels = rng.uniform(0, 40) + 25 * np.clip(noise, 0, None)
            image[deep & lung] = vessels[deep & lung]
    spine = ellipse((rng.uniform(92, 112), rng.normal(MIDDLE, 3)), rng.uniform(7, 14, 2)) < 1
    image[flesh & spine] = rng.uniform(200, 255) if by_ct else rng.uniform(40, 200)
    image[ellipse((rng.uniform(108, 120), MIDDLE), (4, 5)) < 1] = rng.uniform(60, 230)
    for angle in rng.uniform(0, 2 * np.pi, rng.integers(0, 14) if by_ct else 0):
        at = MIDDLE + 38 * np.sin(angle), MIDDLE + 56 * np.cos(angle)
        rib = ellipse(at, (3, rng.uniform(4, 9)), angle + np.pi / 2) < 1
        image[rib & (out < 1)] = rng.uniform(200, 255)


def _draw_limbs(image: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> None:
    alone = rng.random() < 0.5
    for at in (MIDDLE,) if alone else (40.0, 110.0):
        radius = rng.uniform(38, 68) if alone else rng.uniform(24, 36)
        down, across = MIDDLE + rng.normal(0, 6), at + rng.normal(0, 4)
        round_ = ellipse(
            (down, across), (radius * rng.uniform(0.8, 1.1), radius), rng.uniform(0, 3)
        )
        out = np.sqrt(round_) * (1 + 0.04 * texture(2.3, rng))
        muscle = out < 1 - rng.uniform(0.04, 0.25)
        image[out < 1] = rng.uniform(50, 255)  # fat
        image[muscle] = (rng.uniform(40, 150) + rng.uniform(3, 25) * noise)[muscle]
        for _ in range(rng.integers(1, 4)):
            bone_at = down + rng.normal(0, 0.3 * radius), across + rng.normal(0, 0.3 * radius)
            bone = ellipse(bone_at, radius * rng.uniform(0.12, 0.35, 2), rng.uniform(0, 3))
            image[muscle & (bone < 1)] = rng.choice([rng.uniform(0, 30), rng.uniform(220, 255)])
            image[muscle & (bone < 0.56)] = rng.uniform(60, 250)  # marrow


def _draw_spine(image: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> None:
    _draw_flesh(image, rng)
    step, wide = SIZE / rng.integers(4, 9), rng.uniform(9, 18)
    middle = rng.uniform(45, 95) + rng.normal(0, 0.15) * (DOWN - MIDDLE)
    middle += rng.normal(0, 0.004) * (DOWN - MIDDLE) ** 2
    column = np.abs(ACROSS - middle) < wide
    vertebra = DOWN % step < step * rng.uniform(0.65, 0.85)
    image[column] = np.where(vertebra, rng.uniform(80, 250), rng.uniform(0, 255))[column]
    cord = np.abs(ACROSS - middle - wide - rng.uniform(5, 9)) < rng.uniform(2, 5)
    image[cord] = rng.uniform(0, 255)


def _draw_joint(image: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> None:
    _draw_flesh(image, rng)
    marrow = rng.uniform(90, 255)
    for up in (-1, 1):
        down, wide = MIDDLE + up * rng.uniform(58, 75), rng.uniform(18, 34)
        shaft = ellipse(
            (down, rng.normal(MIDDLE, 8)), (rng.uniform(45, 58), wide), rng.normal(0, 0.25)
        )
        shaft += 0.05 * texture(2, rng)
        image[shaft < 1] = marrow + rng.normal(0, 8)
        image[np.abs(shaft - 1) < 0.08] = rng.uniform(0, 60)
        knob = ellipse((down - up * 42, rng.normal(MIDDLE, 6)), (18, 1.35 * wide)) < 1
        image[knob] = marrow + rng.normal(0, 8)
    if rng.random() < 0.6:  # a kneecap
        at = rng.uniform(55, 75), MIDDLE + rng.choice([-1, 1]) * rng.uniform(38, 50)
        image[ellipse(at, (rng.uniform(12, 20), rng.uniform(7, 12))) < 1] = marrow
    image[np.abs(ACROSS - MIDDLE) > rng.uniform(50, 75)] = 0


def _draw_flesh(image: np.ndarray, rng: np.random.Generator) -> None:
    image += rng.uniform(20, 120) * np.exp(-(((ACROSS - MIDDLE) / rng.uniform(35, 80)) ** 4))
    image += rng.uniform(5, 30) * texture(rng.uniform(1.2, 2), rng)
