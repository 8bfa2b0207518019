"""Made-up slices in the layout of the Kaggle dataset, for trying things without the real data.

They are drawings, not anatomy: a skull, a brain with folds and ventricles, and in the tumour class
a lesion with a bright rim. Some lesions are faint, and some healthy slices have a bright spot, so
that a model makes mistakes to look at. The folder has what makes the real one hard: copies that
are re-encoded, resized, flipped or turned, several formats and modes, names that lie about the
format, and files that are no images at all.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from components.shared.data.classes import CLASSES, TUMOR
from components.shared.errors import UserError
from components.shared.storage.files import write_atomically

GENERATOR_VERSION = "2"
MINIMUM = 20

_COPIES = 0.25  # share of images that are a changed copy of an earlier one
_TUMORS = 0.55
_FAINT = 0.15  # share of lesions that are small and hardly brighter than what is around them
_BRIGHT = 0.10  # share of healthy slices with a bright spot, as a vessel makes one
_SIDES = (160, 200, 256, 320, 512)

Encoder = Callable[[Image.Image], bytes]


def write_sample(folder: str | Path, images: int = 240, seed: int = 7) -> None:
    """Writes a made-up dataset: class folders two folders deep, and a few files that are broken.

    Args:
        folder: Where to write; made where missing.
        images: How many usable images, at least 20.
        seed: The same seed gives the same files.

    Raises:
        UserError: Fewer than 20 images are asked for.
    """
    if images < MINIMUM:
        raise UserError(
            f"a sample of {images} images is too small to split; ask for {MINIMUM} or more"
        )
    root = Path(folder) / "Brain Tumor Data Set" / "Brain Tumor Data Set"
    tumors = round(images * _TUMORS)
    for label, count in enumerate((tumors, images - tumors)):
        rng = np.random.default_rng([seed, label])
        stem = "Cancer" if label == TUMOR else "Not Cancer"
        drawings: list[Image.Image] = []
        for number in range(1, count + 1):
            if drawings and rng.random() < _COPIES:
                drawing = _changed_copy(drawings[rng.integers(len(drawings))], rng)
            else:
                drawing = draw_slice(label == TUMOR, rng)
                drawings.append(drawing)
            extension, content = _encode(drawing, rng)
            write_atomically(root / CLASSES[label] / f"{stem} ({number}){extension}", content)
    _write_broken_files(root)


def draw_slice(tumor: bool, rng: np.random.Generator) -> Image.Image:
    """Draws an axial slice.

    Args:
        tumor: Whether it shows a lesion.
        rng: Decides everything else.

    Returns:
        A grey image (mode L), square, 160 to 512 pixels a side.
    """
    side = int(rng.choice(_SIDES))
    y, x = np.mgrid[-1:1:144j, -1:1:144j]
    angle = rng.normal(0, 0.12)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    width, height = rng.uniform(0.60, 0.72), rng.uniform(0.74, 0.88)
    radius = np.hypot(u / width, v / height)
    brain = radius < 0.9
    folds = gaussian_filter(rng.normal(size=x.shape), rng.uniform(2.5, 4.5))
    tissue = rng.uniform(0.40, 0.55) + 0.10 * folds / folds.std()
    tissue += 0.10 * np.sin(rng.uniform(9, 14) * radius + rng.uniform(0, 6))
    for sign in (-1, 1):
        ventricle = np.hypot(
            (u - sign * 0.11) / rng.uniform(0.05, 0.10), v / rng.uniform(0.16, 0.30)
        )
        tissue = np.where(ventricle < 1, rng.uniform(0.08, 0.18), tissue)
    tissue = np.where(np.abs(u) < 0.012, tissue * 0.6, tissue)
    image = np.where(brain, tissue, 0.03)
    image = np.where((radius > 0.93) & (radius < 1.0), rng.uniform(0.65, 0.9), image)
    if tumor:
        image = _with_lesion(image, u, v, rng)
    elif rng.random() < _BRIGHT:
        image = _with_spot(image, u, v, rng)
    image = gaussian_filter(image, 0.8) + rng.normal(0, 0.02, x.shape)
    image = np.clip(image * rng.uniform(0.85, 1.15), 0, 1)
    return Image.fromarray(np.uint8(image * 255)).resize((side, side), Image.Resampling.BICUBIC)


def _with_lesion(
    image: np.ndarray, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    du, dv = _place(u, v, rng)
    size, strength = rng.uniform(0.12, 0.24), 1.0
    if rng.random() < _FAINT:
        size, strength = rng.uniform(0.07, 0.12), rng.uniform(0.15, 0.5)
    bumps = 1 + 0.15 * np.sin(3 * np.arctan2(dv, du) + rng.uniform(0, 6))
    reach = np.hypot(du, dv) / (size * bumps)
    swelling = np.clip(1.6 - reach, 0, 1) * 0.12
    core = rng.uniform(0.70, 0.85)
    lesion = image + swelling * (image > 0.05)
    lesion = np.where(reach < 1.0, 0.98, lesion)
    lesion = np.where(reach < 0.75, core, lesion)
    return image + strength * (lesion - image)


def _with_spot(
    image: np.ndarray, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    du, dv = _place(u, v, rng)
    reach = np.hypot(du, dv) / rng.uniform(0.06, 0.12)
    return np.where(reach < 1.0, np.maximum(image, rng.uniform(0.70, 0.95)), image)


def _place(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the coordinates around a random place in the brain."""
    direction, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.42)
    return u - distance * np.cos(direction), v - distance * np.sin(direction)


def _changed_copy(original: Image.Image, rng: np.random.Generator) -> Image.Image:
    copy = original
    if rng.random() < 0.4:
        copy = copy.transpose(Image.Transpose(int(rng.integers(5))))
    if rng.random() < 0.4:
        side = int(rng.choice(_SIDES))
        copy = copy.resize((side, side), Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        gain = rng.uniform(0.85, 1.0)
        copy = copy.point(lambda value: value * gain)
    return copy


def _encode(drawing: Image.Image, rng: np.random.Generator) -> tuple[str, bytes]:
    """Returns an extension, which now and then lies, and the file's bytes."""
    color = drawing.convert("RGB")
    choices: list[tuple[float, str, Image.Image, str]] = [
        (0.70, ".jpg", color, "JPEG"),
        (0.10, ".jpg", drawing, "JPEG"),
        (0.06, ".png", color, "PNG"),
        (0.03, ".png", drawing.convert("RGBA"), "PNG"),
        (0.03, ".png", drawing.quantize(64), "PNG"),
        (0.02, ".png", Image.fromarray(np.asarray(drawing, dtype=np.uint16) * 257), "PNG"),
        (0.04, ".tif", color, "TIFF"),
        (0.02, ".jpg", color, "PNG"),
    ]
    extension, image, kind = choices[rng.choice(len(choices), p=[c[0] for c in choices])][1:]
    buffer = io.BytesIO()
    if kind == "JPEG":
        image.save(buffer, kind, quality=int(rng.integers(70, 96)))
    else:
        image.save(buffer, kind)
    return extension, buffer.getvalue()


def _write_broken_files(root: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(buffer, "PNG")
    write_atomically(root / CLASSES[0] / "Cancer (cut off).png", buffer.getvalue()[:-40])
    write_atomically(root / CLASSES[1] / "Not Cancer (notes).jpg", "Scans of the second reader.\n")
    write_atomically(root / CLASSES[1] / "Not Cancer (empty).jpg", b"")
