"""Source -> one file that travels to a GPU; the only part here that needs the whole project."""

from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
from keras import layers

from benchmarks.images import open_external, open_images
from benchmarks.recipes.judging import External
from benchmarks.recipes.packed import FILE, PARTS, Packed
from benchmarks.recipes.recipes import BLOCKS
from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE
from components.shared.networks.compact import compact_cnn
from components.split.logic import make_folds


def pack(source: str, external: str, validation_share: float, seed: int, folder: Path) -> Path:
    """Writes `recipes.npz`.

    Args:
        source: The dataset's, as for `brain-tumor run`.
        external: A source with a labels.csv, which judges; empty for none.
        validation_share: Of what a fold does not hold out.
        seed: Of the folds.
        folder: To write in.

    Returns:
        The file.
    """
    with TemporaryDirectory() as scratch:
        dataset = open_images(source, Path(scratch, "dataset"))
        images, facts = np.zeros((0, *SHAPE[:2]), np.uint8), _facts(None)
        if external:
            others = open_external(external, Path(scratch, "external"))
            images, facts = _grey(others), _facts(External.of(others))
        folds = make_folds(dataset, 5, validation_share, seed)
        weights, strides = weights_of(compact_cnn(blocks=BLOCKS))
        packed = Packed(
            _grey(dataset),
            dataset.labels,
            dataset.groups,
            [{part: fold.part(part) for part in PARTS} for fold in folds],
            weights,
            strides,
            images,
            facts,
        )
    folder.mkdir(parents=True, exist_ok=True)
    packed.save(folder / FILE)
    return folder / FILE


def weights_of(model: keras.Model) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the weights before the answer, and the stride of each block."""
    within = [layer for layer in model.layers if isinstance(layer, layers.DepthwiseConv2D)]
    answer = len(model.layers[-1].weights)
    return model.get_weights()[:-answer], np.array([layer.strides[0] for layer in within])


def _grey(dataset: ImageDataset) -> np.ndarray:
    """Reads all images, uint8 [n, 150, 150]."""
    rows = np.array_split(np.arange(len(dataset)), max(1, len(dataset) // 256))
    return np.concatenate(
        [dataset.read(part).mean(axis=-1).round().astype(np.uint8) for part in rows]
    )


def _facts(external: External | None) -> dict[str, np.ndarray]:
    if not external:
        numbers, words = np.zeros(0, np.int64), np.zeros(0, "U1")
        return {"labels": numbers, "groups": numbers, "folder": words, "sequence": words}
    return {
        "labels": external.truth.labels,
        "groups": external.truth.groups,
        "folder": external.folder,
        "sequence": external.sequence,
    }
