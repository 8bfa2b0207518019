"""Near-duplicates are grouped, different pictures are not, and no pair is missed."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter
from scipy.sparse.csgraph import connected_components

from components.ingest.assemble import mixed_groups
from components.ingest.sources import open_source
from components.shared.images.decode import decode, thumbnail
from components.shared.near_duplicates import matcher
from components.shared.near_duplicates.grouping import CORRELATION, group_near_duplicates
from components.shared.near_duplicates.matcher import Matcher, correlation

DATASET = os.environ.get("BRAIN_TUMOR_DATASET")


def small(image: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return thumbnail(decode(buffer.getvalue()).pixels)


def every_pair(thumbnails: np.ndarray) -> np.ndarray:
    """The rule without any short cut; flat images are one group."""
    values = thumbnails.astype(np.float64)
    flat = values.std(axis=(1, 2)) < 1
    values -= values.mean(axis=(1, 2), keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=(1, 2), keepdims=True), 1e-9)
    values[flat] = 0
    rows = values.reshape(len(values), -1)
    twins = np.outer(flat, flat)
    for turns in range(4):
        turned = np.rot90(values, turns, axes=(1, 2))
        for oriented in (turned, turned[:, :, ::-1]):
            twins |= rows @ oriented.reshape(len(rows), -1).T > CORRELATION
    return connected_components(twins, directed=False)[1]


def partition(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def smooth_images(rng: np.random.Generator, count: int, roughness: float) -> np.ndarray:
    """Pictures and changed copies of them, some of them just inside the rule, some just outside."""
    images: list[np.ndarray] = []
    for _ in range(count):
        if images and rng.random() < 0.5:
            image = np.rot90(images[rng.integers(len(images))], rng.integers(4))
            image = image[:, ::-1] if rng.random() < 0.5 else image
            noise = gaussian_filter(rng.normal(size=(32, 32)), roughness)
            image = image + rng.uniform(0, 0.35) * noise / noise.std()
        else:
            image = gaussian_filter(rng.normal(size=(32, 32)), roughness)
            image = image / image.std()
        images.append(image)
    return np.uint8(np.clip(128 + 40 * np.stack(images), 0, 255))


@pytest.mark.parametrize("orientation", Image.Transpose)
def test_flips_and_quarter_turns(drawn: Callable, orientation: Image.Transpose) -> None:
    image = drawn(1, 160)
    pair = np.stack([small(image), small(image.transpose(orientation))])
    assert correlation(*pair) > 0.999
    assert group_near_duplicates(pair).tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_changed_copies(drawn: Callable, seed: int) -> None:
    image = drawn(seed, 256)
    copies = [
        small(image),
        small(image, "JPEG", quality=40),
        small(image.resize((120, 120), Image.Resampling.NEAREST)),
        small(image.resize((500, 300))),
        small(ImageEnhance.Brightness(image).enhance(0.8)),
        small(ImageEnhance.Contrast(image).enhance(0.6)),
        small(image.convert("RGBA")),
        small(image.resize((200, 200)).rotate(90), "JPEG", quality=60),
    ]
    assert set(group_near_duplicates(np.stack(copies))) == {0}


def test_different_pictures_stay_apart(drawn: Callable) -> None:
    groups = group_near_duplicates(np.stack([small(drawn(seed)) for seed in range(60)]))
    assert groups.tolist() == list(range(60))


def test_the_rule_is_a_correlation_above_098() -> None:
    rng = np.random.default_rng(3)
    base = gaussian_filter(rng.normal(size=(32, 32)), 2)
    noise = rng.normal(size=(32, 32))
    thumbnails = [
        np.uint8(128 + 30 * base / base.std() + s * noise) for s in np.linspace(0, 12, 40)
    ]
    measured = [correlation(thumbnails[0], other) for other in thumbnails]
    plain = [np.corrcoef(thumbnails[0].ravel(), other.ravel())[0, 1] for other in thumbnails]
    np.testing.assert_allclose(measured, plain, atol=1e-5)
    for other, value in zip(thumbnails, measured, strict=True):
        together = group_near_duplicates(np.stack([thumbnails[0], other])).tolist() == [0, 0]
        assert together == (value > CORRELATION)
    assert 0 < sum(value > CORRELATION for value in measured) < 40


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 90),
    roughness=st.sampled_from([0.0, 0.7, 1.5, 3.0, 6.0]),
)
def test_same_as_comparing_every_pair(seed: int, count: int, roughness: float) -> None:
    thumbnails = smooth_images(np.random.default_rng(seed), count, roughness)
    assert partition(group_near_duplicates(thumbnails)) == partition(every_pair(thumbnails))


@pytest.mark.parametrize(("roughness", "dense"), [(1.5, 0), (4.0, 10**9)])
def test_same_as_comparing_every_pair_of_many(
    monkeypatch: pytest.MonkeyPatch, roughness: float, dense: int
) -> None:
    monkeypatch.setattr(matcher, "_DENSE", dense)  # each pair by itself, and in one product
    thumbnails = smooth_images(np.random.default_rng(5), 1500, roughness)
    assert partition(group_near_duplicates(thumbnails)) == partition(every_pair(thumbnails))


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    thumbnails = smooth_images(rng, 60, 2)
    order = rng.permutation(60)
    shuffled = np.empty(60, dtype=int)
    shuffled[order] = group_near_duplicates(thumbnails[order])
    assert partition(shuffled) == partition(group_near_duplicates(thumbnails))


def test_groups_are_numbered_by_first_appearance(drawn: Callable) -> None:
    a, b, c = (small(drawn(seed)) for seed in range(3))
    groups = group_near_duplicates(np.stack([b, a, b, c, a[:, ::-1], c]))
    assert groups.tolist() == [0, 1, 0, 2, 1, 2]
    assert groups.dtype == np.int64


def test_flat_images_are_one_group(drawn: Callable) -> None:
    flat = [np.full((32, 32), value, dtype=np.uint8) for value in (0, 255, 7, 0)]
    assert group_near_duplicates(np.stack(flat)).tolist() == [0, 0, 0, 0]
    mixed = np.stack([flat[0], small(drawn(1)), flat[1], small(drawn(2)), flat[2]])
    assert group_near_duplicates(mixed).tolist() == [0, 1, 0, 2, 0]
    nearly = flat[0].copy()
    nearly[0, 0] = 9  # one bright pixel is noise, not a picture
    assert group_near_duplicates(np.stack([flat[0], nearly])).tolist() == [0, 0]


@settings(deadline=None, derandomize=True, max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), roughness=st.sampled_from([0.0, 1.5, 6.0]))
def test_no_descriptor_tells_less_than_the_correlation(seed: int, roughness: float) -> None:
    thumbnails = smooth_images(np.random.default_rng(seed), 30, roughness)
    descriptors = Matcher(thumbnails, CORRELATION)._descriptors(np.arange(30), "thumbnails")
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=2e-6)
    measured = [[correlation(one, other) for other in thumbnails] for one in thumbnails]
    assert (descriptors @ descriptors.T > np.array(measured) - 1e-5).all()


def test_faint_pictures_and_an_array_mapped_from_disk(tmp_path: Path) -> None:
    """A contrast of a few grey levels, on black and on white: much of it is rounding."""
    rng = np.random.default_rng(4)
    thumbnails = smooth_images(rng, 300, 2)
    thumbnails = np.where(np.arange(300)[:, None, None] % 2, 251, 0) + thumbnails // 50
    np.save(tmp_path / "thumbnails.npy", thumbnails.astype(np.uint8))
    mapped = np.load(tmp_path / "thumbnails.npy", mmap_mode="r")
    assert partition(group_near_duplicates(mapped)) == partition(every_pair(mapped))


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count: int, drawn: Callable) -> None:
    thumbnails = np.stack([small(drawn(1))] * 2)[:count]
    assert group_near_duplicates(thumbnails).tolist() == [0] * count


def test_exact_copies_cost_nothing(drawn: Callable) -> None:
    thumbnails = np.repeat(np.stack([small(drawn(1)), small(drawn(2))]), 20_000, axis=0)
    assert np.bincount(group_near_duplicates(thumbnails)).tolist() == [20_000, 20_000]


def test_mixed_groups() -> None:
    assert mixed_groups(np.array([0, 0, 1, 2, 2]), np.array([0, 0, 1, 0, 1])) == (2,)
    assert mixed_groups(np.array([0, 1]), np.array([0, 1])) == ()


@pytest.mark.skipif(not DATASET, reason="BRAIN_TUMOR_DATASET is not set")
def test_real_images() -> None:
    assert DATASET
    assert zipfile.is_zipfile(DATASET)
    with open_source(str(Path(DATASET))) as source:
        files = [file for file in source.files if not file.problem]
        thumbnails = np.stack([thumbnail(decode(file.read()).pixels) for file in files])
    groups = group_near_duplicates(thumbnails)
    expected = every_pair(thumbnails)
    assert groups.max() == expected.max()
    assert len({*zip(groups.tolist(), expected.tolist(), strict=True)}) == groups.max() + 1
    # The classes meet in no group; were it otherwise, the manifest would name it.
    labels = np.array([file.label for file in files])
    crossing = {int(g) for g in np.unique(groups) if len({*labels[groups == g].tolist()}) > 1}
    assert set(mixed_groups(groups, labels)) == crossing
