"""One file with all that a training needs: images, folds, ImageNet's weights."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from PIL import Image

FILE = "recipes.npz"
PARTS = ("train", "validation", "held_out")
# What is trained on without loss; what only judges as small as it may be.
_FORMATS: dict[str, dict[str, Any]] = {
    "images": {"format": "webp", "lossless": True, "method": 4},
    "external": {"format": "jpeg", "quality": 95},
}


class Packed(NamedTuple):
    """What is in it.

    Attributes:
        images: Of the dataset, uint8 [n, 150, 150], grey.
        labels: int64 [n]; 1 is Healthy.
        groups: int64 [n].
        folds: Rows of each part, by fold.
        weights: Of the network with all eleven blocks, in Keras' order.
        strides: Of each block.
        external: Images of other hospitals, uint8 [m, 150, 150]; m may be 0.
        external_facts: `labels`, `groups`, `folder`, `sequence` of those.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    folds: list[dict[str, np.ndarray]]
    weights: list[np.ndarray]
    strides: np.ndarray
    external: np.ndarray
    external_facts: dict[str, np.ndarray]

    def save(self, file: Path) -> None:
        """Writes it, images compressed."""
        arrays = {"labels": self.labels, "groups": self.groups, "strides": self.strides}
        for name in ("images", "external"):
            arrays |= _compressed(name, getattr(self, name))
        for number, fold in enumerate(self.folds):
            arrays |= {f"fold_{number}_{part}": fold[part] for part in PARTS}
        arrays |= {f"weights_{number}": array for number, array in enumerate(self.weights)}
        arrays |= {f"external_{name}": array for name, array in self.external_facts.items()}
        beside = file.with_name(f".{file.name}")
        with open(beside, "wb") as opened:
            np.savez(opened, allow_pickle=False, **arrays)
        beside.replace(file)

    @classmethod
    def open(cls, file: Path) -> Self:
        """Reads it."""
        with np.load(file, allow_pickle=False) as saved:
            count = sum(name.startswith("weights_") for name in saved)
            folds = sum(name.startswith("fold_") for name in saved) // len(PARTS)
            facts = ("labels", "groups", "folder", "sequence")
            return cls(
                _decompressed("images", saved),
                saved["labels"],
                saved["groups"],
                [{part: saved[f"fold_{n}_{part}"] for part in PARTS} for n in range(folds)],
                [saved[f"weights_{number}"] for number in range(count)],
                saved["strides"],
                _decompressed("external", saved),
                {name: saved[f"external_{name}"] for name in facts},
            )


def _compressed(name: str, images: np.ndarray) -> dict[str, np.ndarray]:
    def compressed(image: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, **_FORMATS[name])
        return file.getvalue()

    with ThreadPoolExecutor() as pool:
        files = list(pool.map(compressed, images))
    ends = np.cumsum([0, *map(len, files)])
    return {
        f"{name}_files": np.frombuffer(b"".join(files), np.uint8),
        f"{name}_ends": ends,
        f"{name}_shape": np.array(images.shape),
    }


def _decompressed(name: str, saved: np.lib.npyio.NpzFile) -> np.ndarray:
    files, ends = saved[f"{name}_files"].tobytes(), saved[f"{name}_ends"]

    def image(number: int) -> np.ndarray:
        file = io.BytesIO(files[ends[number] : ends[number + 1]])
        return np.asarray(Image.open(file).convert("L"))

    with ThreadPoolExecutor() as pool:
        images = list(pool.map(image, range(len(ends) - 1)))
    return np.array(images, np.uint8).reshape(saved[f"{name}_shape"])
