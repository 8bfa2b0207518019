"""Whole groups in every part, balanced classes, and the reference's way kept to compare."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.data.classes import CLASSES
from components.shared.data.dataset import PARTS, ImageDataset, Split
from components.shared.data.groups import join_groups
from components.shared.errors import UserError
from components.split.logic import assign_groups, make_folds, make_source_folds, make_split

SHARES = (0.64, 0.16, 0.2)


class Listed:
    """What a split needs of a dataset: paths, labels and groups, no pixels."""

    digest = "0" * 64

    def __init__(self, paths: list[str], labels: np.ndarray, groups: np.ndarray) -> None:
        self.labels, self.groups = labels, groups
        self.contradicted = np.zeros(len(labels), dtype=bool)
        self.manifest: Any = self
        self.sources: Any = ()
        self.images = [SimpleNamespace(path=path) for path in paths]

    def __len__(self) -> int:
        return len(self.labels)


def realistic(rng: np.random.Generator, groups: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups as in the real data: most of one to three images, a few of many; some mixed."""
    sizes = rng.geometric(0.45, groups)
    sizes[: groups // 100] = rng.integers(10, largest + 1, groups // 100)
    labels = (rng.random(groups) < 0.45).astype(np.int8)
    group_of = np.repeat(np.arange(groups), sizes)
    label_of = labels[group_of]
    mixed = rng.random(len(label_of)) < 0.002
    label_of[mixed] = 1 - label_of[mixed]
    order = rng.permutation(len(group_of))
    return group_of[order], label_of[order]


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(1000, 2500),
    largest=st.integers(11, 90),
    shares=st.sampled_from([SHARES, (0.72, 0.18, 0.1), (0.49, 0.21, 0.3)]),
)
def test_parts_are_whole_and_balanced(
    seed: int, groups: int, largest: int, shares: tuple[float, ...]
) -> None:
    group_of, labels = realistic(np.random.default_rng(seed), groups, largest)
    part_of = assign_groups(group_of, labels, shares, seed=0)
    parts_of_group = {*zip(group_of.tolist(), part_of.tolist(), strict=True)}
    assert len(parts_of_group) == len(np.unique(group_of))
    for part, share in enumerate(shares):
        inside = part_of == part
        assert abs(inside.mean() - share) < 0.01
        assert abs(labels[inside].mean() - labels.mean()) < 0.01


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    data=st.data(),
)
def test_any_groups_stay_whole(sizes: list[int], data: st.DataObject) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.array(
        data.draw(st.lists(st.integers(0, 1), min_size=len(groups), max_size=len(groups))),
        dtype=np.int8,
    )
    part_of = assign_groups(groups, labels, SHARES, seed=1)
    assert part_of.shape == groups.shape
    assert set(part_of) <= {0, 1, 2}
    assert all(len(set(part_of[groups == group])) == 1 for group in range(len(sizes)))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), known=st.floats(0.1, 1))
def test_no_patient_and_no_near_duplicate_stands_on_two_sides(seed: int, known: float) -> None:
    rng = np.random.default_rng(seed)
    duplicates = rng.integers(0, 150, 90)
    patients = np.where(rng.random(90) < known, rng.integers(0, 150, 90), -1)
    labels = (np.arange(90) % 2).astype(np.int8)
    groups = join_groups(duplicates, patients)
    listed: Any = Listed([f"{i:02}" for i in range(90)], labels, groups)
    for made in (make_split(listed, seed=seed), *make_folds(listed, 3, seed=seed)):
        part_of = np.full(90, -1)
        for number, part in enumerate(PARTS):
            part_of[made.part(part)] = number
        assert (part_of >= 0).all()
        for grouping in (duplicates, patients):
            for unit in set(grouping.tolist()) - {-1}:
                assert len(set(part_of[grouping == unit])) == 1


def test_grouped(dataset: ImageDataset) -> None:
    made = make_split(dataset, "grouped", 0.2, 0.25, seed=0)
    parts = [set(made.part(part).tolist()) for part in PARTS]
    assert set.union(*parts) == set(range(len(dataset)))
    assert sum(map(len, parts)) == len(dataset)
    groups = [set(dataset.groups[sorted(part)].tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert [len(part) for part in parts] == [36, 12, 12]
    assert all((dataset.labels[sorted(part)] == 0).mean() == 0.5 for part in parts)
    assert made.dataset_digest == dataset.digest


def test_the_seed_decides(dataset: ImageDataset) -> None:
    first, again, other = (make_split(dataset, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.digest() == again.digest()
    assert set(first.held_out) != set(other.held_out)


def test_shares_are_settable(dataset: ImageDataset) -> None:
    made = make_split(dataset, held_out_share=0.4, validation_share=0.5)
    # Thirty groups of two images cannot be cut finer.
    assert np.abs([len(made.part(p)) for p in PARTS] - np.array([18, 18, 24])).max() <= 2


def test_by_name_takes_the_first_of_each_class(dataset: ImageDataset) -> None:
    made = make_split(dataset, "by-name", 0.2)
    assert made.validation == made.held_out
    assert not set(made.train) & set(made.held_out)
    assert len(made.train) + len(made.held_out) == len(dataset)
    for label in range(2):
        paths = sorted(r.path for r in dataset.manifest.images if r.label == label)
        chosen = [dataset.manifest.images[i].path for i in made.held_out]
        assert sorted(p for p in chosen if p in paths) == paths[: int(0.2 * len(paths))]


def test_by_name_is_what_keras_does(tmp_path: Path) -> None:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator
    from PIL import Image

    paths, labels = [], []
    for label, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for number in range(1, 24 + 7 * label):
            stem = "Not Cancer" if label else "Cancer"
            file = f"{stem} ({number}){'.JPG' if number % 5 == 0 else '.jpg'}"
            Image.new("L", (4, 4)).save(tmp_path / name / file, "JPEG")
            paths.append(f"{name}/{file}")
            labels.append(label)
    generator = ImageDataGenerator(validation_split=0.2)
    listed = {
        subset: generator.flow_from_directory(str(tmp_path), subset=subset).filenames
        for subset in ("training", "validation")
    }
    everything = Listed(paths, np.array(labels), np.arange(len(paths)))
    made = make_split(everything, "by-name", 0.2)  # type: ignore[arg-type]
    assert sorted(paths[i] for i in made.held_out) == sorted(listed["validation"])
    assert sorted(paths[i] for i in made.train) == sorted(listed["training"])


@pytest.mark.parametrize("strategy", ["grouped", "by-name"])
def test_too_few_images(
    make_dataset: Callable[..., ImageDataset], tmp_path: Path, strategy: str
) -> None:
    with pytest.raises(UserError, match="give images of more patients, or other shares") as caught:
        make_split(make_dataset(tmp_path, groups=2), strategy)  # type: ignore[arg-type]
    assert "image is left for the" in str(caught.value)
    assert ("images make 1 such group;" in str(caught.value)) == (strategy == "grouped")


@pytest.mark.parametrize(
    "shares", [(0.0, 0.2), (1.0, 0.2), (-0.5, 0.2), (1.5, 0.2), (0.2, 0.0), (0.2, 1.0)]
)
def test_shares_that_leave_a_part_empty(dataset: ImageDataset, shares: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="give images of more patients, or other shares"):
        make_split(dataset, "grouped", *shares)


def test_no_such_strategy(dataset: ImageDataset) -> None:
    with pytest.raises(UserError, match="'by-luck' is not a strategy; give grouped or by-name"):
        make_split(dataset, "by-luck")  # type: ignore[arg-type]


def test_a_split_can_be_opened_again(dataset: ImageDataset, tmp_path: Path) -> None:
    made = make_split(dataset)
    (tmp_path / "split.json").write_text(made.model_dump_json())
    assert Split.open(tmp_path, dataset) == made


@settings(deadline=None, derandomize=True, max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(300, 800),
    folds=st.integers(2, 6),
    validation_share=st.sampled_from([0.1, 0.2, 0.5]),
)
def test_folds_are_whole_and_balanced(
    seed: int, groups: int, folds: int, validation_share: float
) -> None:
    group_of, labels = realistic(np.random.default_rng(seed), groups, 20)
    listed = Listed(["a"] * len(labels), labels, group_of)
    made = make_folds(listed, folds, validation_share, seed=0)  # type: ignore[arg-type]
    held_out = np.concatenate([split.part("held_out") for split in made])
    assert sorted(held_out) == list(range(len(labels)))  # each image once
    for split in made:
        parts = [split.part(name) for name in PARTS]
        assert sorted(np.concatenate(parts)) == list(range(len(labels)))
        groups_of = [set(group_of[part].tolist()) for part in parts]
        assert sum(map(len, groups_of)) == len(set.union(*groups_of))
        assert abs(len(split.held_out) / len(labels) - 1 / folds) < 0.02
        rest = len(split.train) + len(split.validation)
        assert abs(len(split.validation) / rest - validation_share) < 0.03
        for part in parts:
            assert abs(labels[part].mean() - labels.mean()) < 0.05


def test_the_seed_decides_the_folds(dataset: ImageDataset) -> None:
    first, again, other = (make_folds(dataset, 3, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert [split.held_out for split in first] != [split.held_out for split in other]
    assert len({split.digest() for split in first}) == 3


@pytest.mark.parametrize("folds", [-1, 0, 1])
def test_too_few_folds(dataset: ImageDataset, folds: int) -> None:
    with pytest.raises(UserError, match=f"folds is {folds}: give at least 2"):
        make_folds(dataset, folds)


@pytest.mark.parametrize(("folds", "share"), [(16, 0.2), (3, 0.0), (3, 1.0), (100, 0.2)])
def test_folds_that_leave_a_part_empty(dataset: ImageDataset, folds: int, share: float) -> None:
    with pytest.raises(UserError, match=r"image is left for the .* fewer folds or other"):
        make_folds(dataset, folds, share)


def with_sources(listed: Listed, sources: np.ndarray) -> Listed:
    listed.sources = sources
    names = [f"hospital-{number}" for number in np.unique(sources)]
    listed.manifest = SimpleNamespace(sources=[SimpleNamespace(name=name) for name in names])
    return listed


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 4), mixed=st.floats(0, 0.3))
def test_each_source_is_held_out_whole_and_nothing_like_it_is_learned(
    seed: int, count: int, mixed: float
) -> None:
    rng = np.random.default_rng(seed)
    group_of, labels = realistic(rng, 400, 12)
    sources = group_of % count  # a group is of one source, but for some of its images
    sources = np.where(rng.random(len(sources)) < mixed, rng.integers(0, count), sources)
    listed = with_sources(Listed(["a"] * len(labels), labels, group_of), sources)
    made = make_source_folds(listed, 0.25, seed=0)  # type: ignore[arg-type]
    assert [split.source for split in made] == [f"hospital-{n}" for n in range(count)]
    for number, split in enumerate(made):
        train, validation, held_out = (split.part(name) for name in PARTS)
        assert held_out.tolist() == np.flatnonzero(sources == number).tolist()
        used = [set(group_of[part].tolist()) for part in (train, validation, held_out)]
        assert sum(map(len, used)) == len(set.union(*used))
        # Whatever has nothing in common with the source is used.
        others = np.flatnonzero(~np.isin(group_of, group_of[held_out]))
        assert sorted(np.concatenate([train, validation])) == others.tolist()
        assert abs(len(validation) / len(others) - 0.25) < 0.05


def test_contradicted_images_are_held_out_but_not_learned() -> None:
    rng = np.random.default_rng(4)
    group_of, labels = realistic(rng, 500, 12)
    listed = with_sources(Listed(["a"] * len(labels), labels, group_of), group_of % 2)
    listed.contradicted = np.isin(group_of, rng.choice(500, 25))
    contradicted = set(np.flatnonzero(listed.contradicted).tolist())
    for divide in (make_split, make_folds, make_source_folds):
        left_out, kept = (divide(listed, keep_contradicted=keep) for keep in (False, True))
        if isinstance(left_out, Split):
            left_out, kept = [left_out], [kept]
        for one, other in zip(left_out, kept, strict=True):
            assert one.held_out == other.held_out
            assert contradicted & set(one.held_out)
            for part in ("train", "validation"):
                assert contradicted & set(getattr(other, part))
                assert set(getattr(one, part)) == set(getattr(other, part)) - contradicted


def test_sources_that_cannot_be_held_out() -> None:
    labels, groups = np.array([0, 1] * 20, np.int8), np.arange(40)
    listed = Listed(["a"] * 40, labels, groups)
    with pytest.raises(UserError, match="there is only one source; give several"):
        make_source_folds(with_sources(listed, np.zeros(40, np.int64)))  # type: ignore[arg-type]
    one_class = with_sources(listed, np.where(labels & (groups > 20), 1, 0))
    with pytest.raises(UserError, match="hospital-1 has no 'Brain Tumor' image, so nothing can be"):
        make_source_folds(one_class)  # type: ignore[arg-type]
    alike = Listed(["a"] * 40, labels, np.where(groups < 20, groups, groups - 20))
    with pytest.raises(UserError, match="while hospital-0 is held out, 20 of the 20 images"):
        make_source_folds(with_sources(alike, groups // 20))  # type: ignore[arg-type]
