"""Whether the model is right only where the file, and not the brain, gives the class away."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from components.shared.data.classes import CLASSES, HEALTHY, TUMOR
from components.shared.data.dataset import ImageDataset, ImageRecord
from components.shared.evaluation.metrics import FEW_GROUPS, Predictor, share
from components.shared.evaluation.results import Shortcuts, Slice
from components.shared.reports.numbers import percent

COMMON = 8  # values of a property that are shown; the others are taken together
ONE_SIDED = 0.9  # share of a class from which on a source gives it away
FOLLOWS = 0.5  # right this often where the frame misleads: no oftener than wrong

TABLES = {  # field of Shortcuts: heading and what has to be said
    "source": (
        "Source",
        "All files of the same width, height, mode and format, by the classes that these have in "
        "training. Nothing else tells of the origin: folder and file name are the class.",
    ),
    "size": ("Width and height of the file's image", ""),
    "mode": ("Mode", ""),
    "format": ("Format, as decoded", ""),
    "extension": ("Extension, as the file's name has it", ""),
    "copies": (
        "Images in the near-duplicate group",
        "In the whole dataset; a picture with many copies is often one of a common source.",
    ),
}

_COPIES = ((1, "1, no near-duplicate"), (4, "2 to 4"), (19, "5 to 19"), (np.inf, "20 or more"))
_OTHER = "all others"
_ONE_CLASS = tuple(f"in training {percent(ONE_SIDED, 0)} or more {name}" for name in CLASSES)
_BOTH, _UNSEEN = "in training of both classes", "not in training"


def measure_shortcuts(
    dataset: ImageDataset,
    rows: np.ndarray,
    train: np.ndarray,
    model: Predictor,
    floor: Predictor,
    *,
    samples: int,
    seed: int,
) -> Shortcuts:
    """Measures accuracy by what can be known of an image without a look at the brain.

    Files of one origin share width, height, mode and format, and nothing else in this dataset
    tells of the origin: folder and file name are the class. So a source is all images of the
    same width, height, mode and format, and it is judged by the classes that it has in training.

    Args:
        dataset: The images.
        rows: Positions to measure on, int64 [n], n > 0.
        train: Positions that both predictors learned from, int64 [t].
        model: Scores of every image.
        floor: The metadata baseline's.
        samples: Resamples of the duplicate groups behind each interval.
        seed: Of the resamples.

    Returns:
        The accuracies, with the number of images behind each.
    """
    tumor = dataset.labels == TUMOR
    right = (model.scores >= model.threshold) == tumor
    floor_right = (floor.scores >= floor.threshold) == tumor

    def slice_of(name: str, chosen: np.ndarray) -> Slice:
        groups = dataset.groups[chosen]
        return Slice(
            name=name,
            images=len(chosen),
            groups=len(np.unique(groups)),
            tumor=int(np.sum(tumor[chosen])),
            model=share(right[chosen], groups, samples, seed),
            metadata_floor=share(floor_right[chosen], groups, samples, seed),
        )

    def slices(names: list[str], order: Sequence[str]) -> tuple[Slice, ...]:
        found = np.array(names)
        return tuple(slice_of(name, rows[found == name]) for name in order if name in names)

    def common(values: list[str]) -> tuple[Slice, ...]:
        kept = [value for value, _ in Counter(values).most_common(COMMON)]
        return slices([v if v in kept else _OTHER for v in values], [*kept, _OTHER])

    def outcome(name: str, chosen: np.ndarray) -> Slice | None:
        return slice_of(name, chosen) if len(chosen) else None

    records = [dataset.manifest.images[row] for row in rows]
    return Shortcuts(
        floor_right=outcome("the metadata baseline is right", rows[floor_right[rows]]),
        floor_wrong=outcome("the metadata baseline is wrong", rows[~floor_right[rows]]),
        size=common([f"{r.width} x {r.height}" for r in records]),
        mode=common([r.mode for r in records]),
        format=common([r.format for r in records]),
        extension=common([PurePosixPath(r.path).suffix or "none" for r in records]),
        source=slices(_sources(dataset, train, rows), (*_ONE_CLASS, _BOTH, _UNSEEN)),
        copies=slices(_copies(dataset, rows), [name for _, name in _COPIES]),
    )


def shortcut_sentences(found: Shortcuts) -> tuple[list[str], list[str]]:
    """Says whether the model's answers follow the frame where the frame misleads.

    Args:
        found: The accuracies.

    Returns:
        What speaks against the model, or leaves it open, and what speaks for it.
    """
    wrong = found.floor_wrong
    if wrong is None:
        return [
            "The metadata baseline gets no image wrong, so no image can tell it from the model."
        ], []
    said = (
        f"Of the {wrong.images:,} images that the metadata baseline gets wrong, the model gets "
        f"{percent(wrong.model.value)} right"
    )
    if wrong.groups < FEW_GROUPS:
        return [
            f"{said}. They are in {wrong.groups} groups of near-duplicates, too few to tell "
            "whether it follows the frame."
        ], []
    said += f" ({percent(wrong.model.low)} to {percent(wrong.model.high)})"
    if wrong.model.high < FOLLOWS:
        return [f"{said}. If the frame misleads, the model follows the frame."], []
    if wrong.model.low > FOLLOWS:
        return [], [f"{said}. If the frame misleads, the model mostly does not follow it."]
    return [f"{said}. This is no evidence that it looks at more than the frame."], []


def _sources(dataset: ImageDataset, train: np.ndarray, rows: np.ndarray) -> list[str]:
    """Returns what the training part has of each image's source."""
    records = dataset.manifest.images
    seen = {label: Counter[tuple]() for label in (TUMOR, HEALTHY)}
    for position in train:
        seen[records[position].label][_source(records[position])] += 1

    def name(source: tuple) -> str:
        tumor, images = seen[TUMOR][source], seen[TUMOR][source] + seen[HEALTHY][source]
        if not images:
            return _UNSEEN
        for label, count in ((TUMOR, tumor), (HEALTHY, images - tumor)):
            if count >= ONE_SIDED * images:
                return _ONE_CLASS[label]
        return _BOTH

    return [name(_source(records[row])) for row in rows]


def _source(record: ImageRecord) -> tuple[int, int, str, str]:
    return record.width, record.height, record.mode, record.format


def _copies(dataset: ImageDataset, rows: np.ndarray) -> list[str]:
    """Returns how large each image's near-duplicate group is in the whole dataset."""
    _, group_of, sizes = np.unique(
        dataset.duplicate_groups, return_inverse=True, return_counts=True
    )
    return [next(name for most, name in _COPIES if sizes[group_of[row]] <= most) for row in rows]
