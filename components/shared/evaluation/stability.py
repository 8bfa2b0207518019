"""Whether the model keeps its answer when an image is changed and the brain in it is not."""

import io
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from components.shared.data.classes import HEALTHY, TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.metrics import (
    Predictor,
    bootstrap,
    point_estimate,
    share,
    with_intervals,
)
from components.shared.evaluation.results import Change, Stability
from components.shared.images.decode import SIZE
from components.shared.reports.numbers import decimal, percent
from components.shared.run.progress import track

MAX_IMAGES = 500  # images asked about; each is predicted once for every change
STEADY, UNSTEADY = 0.05, 0.10  # share of answers that flip
TELLING_BORDER = 0.75  # AUROC of a model that is shown the border alone
BORDER = SIZE // 10  # of each side; the four are 36% of an image

_AT_ONCE = 2  # images, with all their versions: 58 pictures a batch

Predict = Callable[[Iterable[tuple[np.ndarray, np.ndarray]], int], np.ndarray]
Picture = Image.Image


class Perturbation(NamedTuple):
    """A way to change an image, RGB of 150x150."""

    name: str
    family: str
    apply: Callable[[Picture, np.random.Generator], Picture]


class Family(NamedTuple):
    """Changes that ask the same question."""

    done: str
    hangs_on: str  # what the answers of a model do that flips them


FAMILIES = {
    "encoding": Family("re-encoded", "how the file was compressed"),
    "resizing": Family("resized", "how the file was scaled"),
    "letterbox": Family("letterboxed", "the shape of the frame"),
    "orientation": Family("turned or mirrored", "how the slice lies"),
    "light": Family("brightened, darkened or changed in contrast", "the brightness"),
    "detail": Family("blurred or noised", "the finest detail"),
    "border": Family("cropped or blanked at the border", "the border"),
}
BORDER_ALONE = "border_alone"


def _encoded(image: Picture, quality: int) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _shrunk(image: Picture, side: int, filtered: Image.Resampling) -> Picture:
    return image.resize((side, side), filtered).resize((SIZE, SIZE), filtered)


def _letterboxed(image: Picture, width: int, height: int) -> Picture:
    framed = Image.new("RGB", (SIZE, SIZE))
    smaller = image.resize((width, height), Image.Resampling.BILINEAR)
    framed.paste(smaller, ((SIZE - width) // 2, (SIZE - height) // 2))
    return framed


def _turned(image: Picture, degrees: float, rng: np.random.Generator) -> Picture:
    """Turns an image one way or the other; what comes in at the corners is black."""
    return image.rotate(degrees * rng.choice([-1, 1]), Image.Resampling.BILINEAR)


def _noised(image: Picture, deviation: float, rng: np.random.Generator) -> Picture:
    """Adds the same grey noise to all three colours, as a scanner would."""
    noise = rng.normal(0, deviation, (SIZE, SIZE, 1))
    return Image.fromarray(np.uint8(np.clip(np.rint(np.asarray(image) + noise), 0, 255)))


def _inside(border: int) -> tuple[int, int, int, int]:
    """Returns the box that is left without a border."""
    return border, border, SIZE - border, SIZE - border


def _cropped(image: Picture, border: int) -> Picture:
    return image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=_inside(border))


def _without_border(image: Picture, border: int) -> Picture:
    blanked = Image.new("RGB", (SIZE, SIZE))
    blanked.paste(image.crop(_inside(border)), _inside(border))
    return blanked


def _without_middle(image: Picture) -> Picture:
    blanked = image.copy()
    blanked.paste((0, 0, 0), _inside(BORDER))
    return blanked


_BILINEAR, _NEAREST = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
_Flip = Image.Transpose

PERTURBATIONS = (
    Perturbation("JPEG 95", "encoding", lambda i, _: _encoded(i, 95)),
    Perturbation("JPEG 75", "encoding", lambda i, _: _encoded(i, 75)),
    Perturbation("JPEG 50", "encoding", lambda i, _: _encoded(i, 50)),
    Perturbation("100 pixels and back", "resizing", lambda i, _: _shrunk(i, 100, _BILINEAR)),
    Perturbation("75 pixels and back", "resizing", lambda i, _: _shrunk(i, 75, _BILINEAR)),
    Perturbation("75 pixels, nearest neighbour", "resizing", lambda i, _: _shrunk(i, 75, _NEAREST)),
    Perturbation("bars above and below", "letterbox", lambda i, _: _letterboxed(i, SIZE, 113)),
    Perturbation("bars at the sides", "letterbox", lambda i, _: _letterboxed(i, 113, SIZE)),
    Perturbation("turned by 5°", "orientation", lambda i, rng: _turned(i, 5, rng)),
    Perturbation("turned by 15°", "orientation", lambda i, rng: _turned(i, 15, rng)),
    Perturbation("turned by 90°", "orientation", lambda i, _: i.transpose(_Flip.ROTATE_90)),
    Perturbation("turned by 180°", "orientation", lambda i, _: i.transpose(_Flip.ROTATE_180)),
    Perturbation("turned by 270°", "orientation", lambda i, _: i.transpose(_Flip.ROTATE_270)),
    Perturbation("left and right mirrored", "orientation", lambda i, _: ImageOps.mirror(i)),
    Perturbation("upside down mirrored", "orientation", lambda i, _: ImageOps.flip(i)),
    Perturbation("30% darker", "light", lambda i, _: ImageEnhance.Brightness(i).enhance(0.7)),
    Perturbation("30% brighter", "light", lambda i, _: ImageEnhance.Brightness(i).enhance(1.3)),
    Perturbation("30% less contrast", "light", lambda i, _: ImageEnhance.Contrast(i).enhance(0.7)),
    Perturbation("30% more contrast", "light", lambda i, _: ImageEnhance.Contrast(i).enhance(1.3)),
    Perturbation("blur of 1 pixel", "detail", lambda i, _: i.filter(ImageFilter.GaussianBlur(1))),
    Perturbation("blur of 2 pixels", "detail", lambda i, _: i.filter(ImageFilter.GaussianBlur(2))),
    Perturbation("noise of 5 levels", "detail", lambda i, rng: _noised(i, 5, rng)),
    Perturbation("noise of 15 levels", "detail", lambda i, rng: _noised(i, 15, rng)),
    Perturbation("cropped by 5%", "border", lambda i, _: _cropped(i, BORDER // 2)),
    Perturbation("cropped by 10%", "border", lambda i, _: _cropped(i, BORDER)),
    Perturbation("blanked 5% wide", "border", lambda i, _: _without_border(i, BORDER // 2)),
    Perturbation("blanked 10% wide", "border", lambda i, _: _without_border(i, BORDER)),
    Perturbation("middle blanked", BORDER_ALONE, lambda i, _: _without_middle(i)),
)


def versions(pixels: np.ndarray, seed: list[int]) -> np.ndarray:
    """Changes an image in every way.

    Args:
        pixels: uint8 [150, 150, 3].
        seed: Of what is drawn.

    Returns:
        The image unchanged, then under each of `PERTURBATIONS`, uint8 [1 + changes, 150, 150, 3].
    """
    image = Image.fromarray(pixels)
    changed = (
        np.asarray(perturbation.apply(image, np.random.default_rng([*seed, number])))
        for number, perturbation in enumerate(PERTURBATIONS)
    )
    return np.stack([pixels, *changed])


def draw_sample(
    dataset: ImageDataset, rows: np.ndarray, seed: int, max_images: int = MAX_IMAGES
) -> np.ndarray:
    """Draws images of both classes alike, one of a near-duplicate group.

    A group that holds both classes can give one image of each.

    Args:
        dataset: The images.
        rows: Positions to draw from, int64 [n].
        seed: Of the draw.
        max_images: Half as many of a class at most.

    Returns:
        Sorted positions, int64 [m], m <= most.
    """
    shuffled = np.random.default_rng(seed).permutation(rows)
    chosen = []
    for label in (TUMOR, HEALTHY):
        of_class = shuffled[dataset.labels[shuffled] == label]
        _, first = np.unique(dataset.duplicate_groups[of_class], return_index=True)
        chosen.append(of_class[np.sort(first)[: max_images // 2]])
    return np.sort(np.concatenate(chosen))


def measure_stability(
    dataset: ImageDataset,
    rows: np.ndarray,
    predict: Predict,
    threshold: float,
    *,
    samples: int,
    seed: int,
) -> Stability:
    """Asks the model about the same images again, changed in ways that leave the brain alone.

    The pixels that are changed are the stored ones, 150x150, because the files are not kept.

    Args:
        dataset: The images.
        rows: Positions to ask about, int64 [n], of both classes; see `draw_sample`.
        predict: Answers for batches, given their total number of images, with
            P(Brain Tumor), float64 [images].
        threshold: A probability that reaches it means Brain Tumor.
        samples: Resamples of the duplicate groups behind each interval.
        seed: Of the resamples, and of what the changes draw.

    Returns:
        Flipped answers, change of probability, accuracy and AUROC under each change.
    """
    labels, groups = dataset.labels[rows], dataset.groups[rows]
    images = len(rows) * (1 + len(PERTURBATIONS))
    changed = track(
        _changed_batches(dataset, rows, seed),
        math.ceil(len(rows) / _AT_ONCE),
        f"batches of {_AT_ONCE} images, each under {len(PERTURBATIONS)} changes, predicted",
    )
    scores = predict(changed, images).reshape(len(rows), -1).T
    predictors = [Predictor(row, threshold) for row in scores]
    resamples = bootstrap(labels, groups, predictors, samples, seed)
    measured = [
        with_intervals(point_estimate(labels, predictor), drawn, labels, groups)
        for predictor, drawn in zip(predictors, resamples, strict=True)
    ]
    before = scores[0]
    changes = []
    for perturbation, after, result in zip(PERTURBATIONS, scores[1:], measured[1:], strict=True):
        flipped = (after >= threshold) != (before >= threshold)
        changes.append(
            Change(
                name=perturbation.name,
                family=perturbation.family,
                flips=share(flipped, groups, samples, seed),
                mean_change=float(np.mean(after - before)),
                mean_absolute_change=float(np.mean(np.abs(after - before))),
                accuracy=result.accuracy,
                auroc=result.auroc,
            )
        )
    return Stability(
        images=len(labels),
        accuracy=measured[0].accuracy,
        auroc=measured[0].auroc,
        changes=tuple(changes),
    )


def _changed_batches(
    dataset: ImageDataset, rows: np.ndarray, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields all versions of a few images, with their places in [n, 1 + changes] laid flat."""
    count = 0
    for positions, pixels in dataset.batches(rows, _AT_ONCE):
        changed = np.concatenate(
            [
                versions(image, [seed, int(position)])
                for position, image in zip(positions, pixels, strict=True)
            ]
        )
        yield count + np.arange(len(changed)), changed
        count += len(changed)


def stability_sentences(found: Stability) -> tuple[list[str], list[str]]:
    """Says what the model's answers hang on.

    Args:
        found: The measurements.

    Returns:
        What speaks against the model and what speaks for it.
    """
    against, for_it = [], []
    (alone,) = (change.auroc for change in found.changes if change.family == BORDER_ALONE)
    if alone.value >= TELLING_BORDER:
        against.append(
            "The model reads the frame: from the border alone it tells the classes apart with an "
            f"AUROC of {decimal(alone.value)}."
        )
    elif alone.low <= 0.5:
        for_it.append(
            "There is no sign that it reads the frame: the border alone tells the model no more "
            f"than chance does (AUROC {decimal(alone.value)}, {decimal(alone.low)} to "
            f"{decimal(alone.high)})."
        )
    steady = []
    for name, family in FAMILIES.items():
        changes = (change for change in found.changes if change.family == name)
        worst = max(changes, key=lambda change: change.flips.value)
        if worst.flips.value >= UNSTEADY:
            against.append(
                f"The answers depend on {family.hangs_on}: the model flips "
                f"{percent(worst.flips.value)} of them when images are {family.done} "
                f"({worst.name}; AUROC {decimal(found.auroc.value)} before, "
                f"{decimal(worst.auroc.value)} after)."
            )
        elif worst.flips.value < STEADY:
            steady.append(family.done)
    if steady:
        for_it.append(
            f"The model keeps more than {percent(1 - STEADY, 0)} of its answers when images are "
            f"{'; '.join(steady)}."
        )
    return against, for_it
