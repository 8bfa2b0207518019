"""A few held-out images kept with a model, and what it answered: a rollout is checked by them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, ValidationError

from components.shared.data.classes import CLASSES, TUMOR
from components.shared.errors import UserError, first_fault
from components.shared.model_folder.contract import EXPECTED, SMOKE
from components.shared.storage.files import write_atomically
from components.shared.strict import Strict

_OF_EACH_LABEL = 2
_MAX_BYTES = 2**20


class _Answer(Strict):
    file: str = Field(pattern=r"^\d{1,3}\.png$")
    label: str = Field(pattern=f"^({'|'.join(CLASSES)})$")
    probability_healthy: float = Field(ge=0, le=1)


class _Expected(Strict):
    schema_version: Literal[1] = 1
    answers: tuple[_Answer, ...] = Field(min_length=1, max_length=16)


@dataclass(frozen=True)
class SmokeImage:
    """An image and the answer of the model that it is kept with.

    Attributes:
        png: The file's bytes, 150x150 RGB.
        label: What the model answers at its threshold.
        probability_healthy: P(Healthy), 0..1.
    """

    png: bytes
    label: str
    probability_healthy: float


def write_smoke(
    folder: str | Path, images: np.ndarray, healthy: np.ndarray, threshold: float
) -> None:
    """Keeps the two surest images of each answer, because a sure answer is the same everywhere.

    Args:
        folder: The model's folder.
        images: Held-out images, uint8 [n, 150, 150, 3].
        healthy: What the exported model answered for them, P(Healthy), float [n].
        threshold: `Brain Tumor` is answered where its probability reaches this, 0..1.
    """
    tumor = 1 - np.asarray(healthy, np.float64)
    surest = np.argsort(-np.abs(tumor - threshold), kind="stable")
    called = tumor >= threshold
    chosen = [i for side in (called, ~called) for i in surest[side[surest]][:_OF_EACH_LABEL]]
    answers = []
    for number, index in enumerate(chosen):
        name = f"{number}.png"
        label = CLASSES[TUMOR if called[index] else 1 - TUMOR]
        write_atomically(Path(folder, SMOKE, name), _png(images[index]))
        answers.append(_Answer(file=name, label=label, probability_healthy=float(healthy[index])))
    expected = _Expected(answers=tuple(answers)).model_dump_json(indent=1)
    write_atomically(Path(folder, SMOKE, EXPECTED), expected + "\n")


def read_smoke(folder: str | Path) -> list[SmokeImage]:
    """Reads the images that are kept with a model.

    Args:
        folder: The model's folder, verified.

    Returns:
        At least one.

    Raises:
        UserError: The version keeps none, because it is older than they; or they are malformed.
    """
    path = Path(folder, SMOKE, EXPECTED)
    try:
        expected = _Expected.model_validate_json(path.read_bytes())
        return [
            SmokeImage(_read(path.with_name(a.file)), a.label, a.probability_healthy)
            for a in expected.answers
        ]
    except OSError as error:
        raise UserError(
            f"{path}: cannot read the images to check a rollout with: {error.strerror}; "
            "register the model again"
        ) from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}; register the model again") from error


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def _read(path: Path) -> bytes:
    if path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path}: is not a smoke image: it is larger than {_MAX_BYTES:,} bytes")
    return path.read_bytes()
