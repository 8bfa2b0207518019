"""Image files for the ingest step: smooth pictures, no two alike."""

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

Files = Mapping[str, bytes]


def draw(seed: int, side: int = 96) -> Image.Image:
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(side, side)), side / 12)
    return Image.fromarray(np.uint8(np.clip(128 + 45 * smooth / smooth.std(), 0, 255)))


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Image.Image]:
    return draw


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    return encode


@pytest.fixture(scope="session")
def image_files() -> dict[str, bytes]:
    """Twelve images of each class, two folders deep as in Kaggle's archive."""
    return {
        f"data/data/{name}/{name[0]} ({number}).png": encode(draw(100 * label + number))
        for label, name in enumerate(("Brain Tumor", "Healthy"))
        for number in range(12)
    }


@pytest.fixture(scope="session")
def as_folder() -> Callable[[Path, Files], Path]:
    def write(folder: Path, files: Files) -> Path:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return write


@pytest.fixture(scope="session")
def as_zip() -> Callable[[Path, Files], Path]:
    def write(path: Path, files: Files) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return path

    return write
