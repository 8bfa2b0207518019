"""The in-distribution check: repeatable, the same in every engine, and right about strangers."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from components.ingest.logic import ingest
from components.ingest.sources import open_source
from components.register.strangers import draw_strangers
from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import SHAPE, decode
from components.split.logic import make_split

DATASET = os.environ.get("BRAIN_TUMOR_DATASET")
_PHOTOGRAPHS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg")


def _ingested(source: str, folder: Path) -> tuple[ImageDataset, Split]:
    with open_source(source) as opened:
        ingest(opened, folder / "dataset", folder / "state")
    dataset = ImageDataset(folder / "dataset")
    return dataset, make_split(dataset, "grouped", seed=0)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageDataset, Split]:
    return _ingested("sample://?images=100", tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def sample_check(sample: tuple[ImageDataset, Split]):
    from components.register.in_distribution import fit_check

    return fit_check(*sample)


def _decoded(image: Image.Image) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return decode(buffer.getvalue()).pixels


def _photographs() -> Iterator[np.ndarray]:
    """Those in scikit-image's own package: whole, and both halves; in colour and in grey."""
    import skimage.data

    for name in _PHOTOGRAPHS:
        whole = Image.open(Path(skimage.data.__file__).with_name(name)).convert("RGB")
        width, height = whole.size
        for box in (
            (0, 0, width, height),
            (0, 0, width // 2, height),
            (width // 2, 0, width, height),
        ):
            yield _decoded(whole.crop(box))
            yield _decoded(whole.crop(box).convert("L"))


def _documents() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(20):
        page = Image.new("L", (600, 800), 250)
        pen = ImageDraw.Draw(page)
        font = ImageFont.load_default(float(rng.integers(10, 20)))
        for y in range(40, 760, int(rng.integers(15, 30))):
            words = ("the", "patient", "was", "seen", "again", "in", "spring")
            line = " ".join(rng.choice(words, rng.integers(4, 12)))
            pen.text((40, y), line, fill=int(rng.integers(0, 60)), font=font)
        yield _decoded(page)


def _noise() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for number in range(20):
        side = int(rng.choice([150, 300, 600]))
        shape = (side, side, 3) if number % 2 else (side, side)
        yield _decoded(Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)))


_STRANGERS = {"photographs": _photographs, "documents": _documents, "noise": _noise}


def _scores_in_numpy(check, images: np.ndarray) -> np.ndarray:
    """The same as the check says, written anew in float64."""
    images = images[:, ::2, ::2]
    channels = images.astype(np.float64) / 255
    grey = channels.mean(axis=-1)
    cells = grey.reshape(-1, 15, 5, 15, 5)
    shade = np.minimum(images.sum(axis=-1, dtype=np.int64) * 8 // 765, 7)
    colour = (channels.max(-1) - channels.min(-1)).mean(axis=(1, 2))
    detail = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2))
    layer = np.column_stack(
        [
            cells.mean(axis=(2, 4)).reshape(len(images), -1),
            cells.std(axis=(2, 4)).reshape(len(images), -1),
            *(np.sqrt((shade == k).mean(axis=(1, 2))) for k in range(8)),
            np.log(colour + 0.01),
            np.log(detail + 0.01),
        ]
    )
    for weight, bias in zip(check.weights[:-1], check.biases[:-1], strict=True):
        layer = np.maximum(layer @ weight + bias, 0)
    return 1 / (1 + np.exp(-(layer @ check.weights[-1] + check.biases[-1])[:, 0]))


def test_numpy_gives_the_same_scores(sample_check, sample: tuple[ImageDataset, Split]) -> None:
    dataset, _ = sample
    slices = dataset.read(range(20))
    flat = np.zeros((2, *SHAPE), np.uint8) + np.array([0, 255], np.uint8)[:, None, None, None]
    strangers = np.stack(list(draw_strangers(slices, 21, seed=3)))
    images = np.concatenate([slices, strangers, flat])
    scores = sample_check.score(images).numpy()
    assert scores.dtype == np.float32
    assert scores.shape == (43,)
    np.testing.assert_allclose(scores, _scores_in_numpy(sample_check, images), atol=1e-5)


def test_the_seed_decides_everything(dataset: ImageDataset, split: Split) -> None:
    from components.register.in_distribution import fit_check

    first, again, other = (fit_check(dataset, split, seed) for seed in (0, 0, 1))
    for mine, same in zip(first.weights + first.biases, again.weights + again.biases, strict=True):
        np.testing.assert_array_equal(mine, same)
    assert first.limit == again.limit
    assert not np.array_equal(first.weights[0], other.weights[0])


def test_strangers_are_whole_images_of_many_kinds() -> None:
    slices = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    drawn = list(draw_strangers(slices, 42, seed=0))
    assert len(drawn) == 42
    assert {(image.shape, image.dtype) for image in drawn} == {(SHAPE, np.dtype(np.uint8))}
    assert len({image.tobytes() for image in drawn}) == 42
    coloured = [bool(np.ptp(image, axis=-1).any()) for image in drawn]
    assert not any(coloured[::3])
    assert any(coloured)
    again = list(draw_strangers(slices, 21, seed=0))
    np.testing.assert_array_equal(drawn[:21], again)


def test_the_limit_keeps_to_the_validation_part(
    sample_check, sample: tuple[ImageDataset, Split]
) -> None:
    dataset, split = sample
    assert 0.5 <= sample_check.limit <= 1
    assert sample_check.validation_flagged <= 0.01
    flagged = sample_check.flagged(dataset, split.part("validation"))
    assert flagged == sample_check.validation_flagged


@pytest.mark.parametrize("kind", _STRANGERS)
def test_strangers_are_told_from_sample_slices(sample_check, kind: str) -> None:
    scores = sample_check.score(np.stack(list(_STRANGERS[kind]()))).numpy()
    assert np.mean(scores > sample_check.limit) >= 0.95


@pytest.mark.skipif(not DATASET, reason="BRAIN_TUMOR_DATASET is not set")
def test_strangers_are_told_from_real_slices(tmp_path: Path) -> None:
    from components.register.in_distribution import fit_check

    dataset, split = _ingested(str(DATASET), tmp_path)
    check = fit_check(dataset, split)
    assert check.flagged(dataset, split.part("held_out")) <= 0.02
    for kind, draw in _STRANGERS.items():
        images: np.ndarray = np.stack(list(draw()))
        assert np.mean(check.score(images).numpy() > check.limit) >= 0.95, kind
