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
from components.register.heads import head_ct, vary
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
def network():
    """The default network as ImageNet left it."""
    from components.shared.networks.compact import compact_cnn

    return compact_cnn()


@pytest.fixture(scope="module")
def sample_check(network, sample: tuple[ImageDataset, Split]):
    from components.register.in_distribution import fit_check

    return fit_check(network, *sample)


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


def _share_flagged(check, network, images: np.ndarray) -> float:
    from components.shared.networks.features import with_features

    *_, early = with_features(network)(images, training=False)
    return float(np.mean(check.score(images, early).numpy() > check.limit))


_STRANGERS = {"photographs": _photographs, "documents": _documents, "noise": _noise}


def _scores_in_numpy(check, images: np.ndarray, early: np.ndarray) -> np.ndarray:
    """The same as the check says, written anew in float64."""
    thirds = [slice(0, 8), slice(8, 17), slice(17, 25)]  # of 25 places, as "SAME" cuts them
    means = [early[:, y, x].mean(axis=(1, 2), dtype=np.float64) for y in thirds for x in thirds]
    channels = images[:, ::5, ::5].astype(np.float64) / 255
    colour = np.log((channels.max(-1) - channels.min(-1)).mean(axis=(1, 2)) + 0.01)
    rows = np.concatenate([*means, colour[:, None]], axis=1)
    return 1 / (1 + np.exp(-(rows @ check.weights.astype(np.float64) + check.bias)))


def test_numpy_gives_the_same_scores(
    sample_check, network, sample: tuple[ImageDataset, Split]
) -> None:
    from components.shared.networks.features import with_features

    dataset, _ = sample
    slices = dataset.read(range(20))
    flat = np.zeros((2, *SHAPE), np.uint8) + np.array([0, 255], np.uint8)[:, None, None, None]
    strangers = np.stack(list(draw_strangers(slices, 21, seed=3)))
    images = np.concatenate([slices, strangers, flat])
    *_, early = with_features(network)(images, training=False)
    scores = sample_check.score(images, early).numpy()
    assert scores.dtype == np.float32
    assert scores.shape == (43,)
    np.testing.assert_allclose(
        scores, _scores_in_numpy(sample_check, images, np.asarray(early)), atol=1e-4
    )


def test_the_seed_decides_everything(
    model_folder: Path, dataset: ImageDataset, split: Split
) -> None:
    from components.register.in_distribution import fit_check
    from components.shared.evaluation.predictor import open_model

    model = open_model(model_folder)
    first, again, other = (fit_check(model, dataset, split, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert (first.bias, first.limit) == (again.bias, again.limit)
    assert not np.array_equal(first.weights, other.weights)


def test_strangers_are_whole_images_of_many_kinds() -> None:
    slices = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    drawn = list(draw_strangers(slices, 57, seed=0))  # of each of 19 kinds three
    assert len(drawn) == 57
    assert {(image.shape, image.dtype) for image in drawn} == {(SHAPE, np.dtype(np.uint8))}
    assert len({image.tobytes() for image in drawn}) == 57
    coloured = [bool(np.ptp(image, axis=-1).any()) for image in drawn]
    assert not any(coloured[::3])
    assert any(coloured)
    again = list(draw_strangers(slices, 21, seed=0))
    np.testing.assert_array_equal(drawn[:21], again)


def test_a_varied_slice_is_a_slice_still() -> None:
    slices = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), dtype=np.uint8)
    black = np.zeros(SHAPE, np.uint8)
    rng = np.random.default_rng(0)
    for image in (*slices, black, black, black):
        varied = vary(image, rng)
        assert varied.shape == SHAPE[:2]
        assert np.isfinite(varied).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_heads_are_drawn_of_any_slice(grey: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        drawn = head_ct(np.full(SHAPE, grey, np.uint8), rng)
        assert (drawn.shape, drawn.dtype) == (SHAPE[:2], np.dtype(np.uint8))
        assert np.ptp(drawn) > 100


def test_the_limit_leaves_slices_in(
    sample_check, network, sample: tuple[ImageDataset, Split]
) -> None:
    dataset, split = sample
    assert 0.5 <= sample_check.limit <= 1
    for part in ("validation", "held_out"):
        flagged = sample_check.flagged(network, dataset, split.part(part))
        assert flagged <= 0.1
        if part == "validation":
            assert flagged == sample_check.validation_flagged


@pytest.mark.parametrize("kind", _STRANGERS)
def test_strangers_are_told_from_sample_slices(sample_check, network, kind: str) -> None:
    assert _share_flagged(sample_check, network, np.stack(list(_STRANGERS[kind]()))) >= 0.95


@pytest.mark.skipif(not DATASET, reason="BRAIN_TUMOR_DATASET is not set")
def test_strangers_are_told_from_real_slices(network, tmp_path: Path) -> None:
    from components.register.in_distribution import fit_check

    dataset, split = _ingested(str(DATASET), tmp_path)
    check = fit_check(network, dataset, split)
    # About 2% of this held-out part is head CT, which is rightly flagged.
    assert check.flagged(network, dataset, split.part("held_out")) <= 0.06
    for kind, draw in _STRANGERS.items():
        assert _share_flagged(check, network, np.stack(list(draw()))) >= 0.95, kind
