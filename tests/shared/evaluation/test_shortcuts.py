from types import SimpleNamespace

import numpy as np
import pytest

from components.shared.data.classes import CLASSES, HEALTHY, TUMOR
from components.shared.data.dataset import ImageRecord
from components.shared.evaluation.metrics import Predictor, share
from components.shared.evaluation.shortcuts import (
    COMMON,
    TABLES,
    measure_shortcuts,
    shortcut_sentences,
)


def record(label, group, width, extension=".jpg"):
    return ImageRecord(
        path=f"{CLASSES[label]}/<i>{group}</i>{extension}",
        label=label,
        bytes=1,
        sha256="0" * 64,
        pixels_sha256="0" * 64,
        phash="0" * 16,
        width=width,
        height=100,
        mode="RGB",
        format="JPEG",
        wrong_extension=False,
        group=group,
    )


def dataset_of(records):
    return SimpleNamespace(
        labels=np.array([r.label for r in records], dtype=np.int8),
        groups=np.array([r.group for r in records]),
        duplicate_groups=np.array([r.group for r in records]),
        manifest=SimpleNamespace(images=records),
    )


@pytest.fixture
def dataset():
    """Tumours are 512 wide and healthy images 225, but for every fifth image."""
    records = []
    for group in range(200):
        label = group % 2
        usual = group % 5 != 0
        records.append(record(label, group, 512 if (label == TUMOR) == usual else 225))
    return dataset_of(records)


def certain(tumor):
    return Predictor(np.where(tumor, 0.9, 0.1), 0.5)


def measured(dataset, tumor):
    wide = np.array([r.width == 512 for r in dataset.manifest.images])
    rows = np.arange(100, 200)
    return measure_shortcuts(
        dataset, rows, np.arange(100), certain(tumor), certain(wide), samples=200, seed=0
    )


def test_a_model_that_reads_the_frame_fails_where_the_frame_misleads(dataset):
    wide = np.array([r.width == 512 for r in dataset.manifest.images])
    found = measured(dataset, wide)
    assert (found.floor_wrong.images, found.floor_right.images) == (20, 80)
    assert (found.floor_wrong.model.value, found.floor_right.model.value) == (0, 1)
    against, for_it = shortcut_sentences(found)
    assert not for_it
    assert (
        "Of the 20 images that the metadata baseline gets wrong, the model gets 0.0% right"
        in against[0]
    )
    assert "the model follows the frame" in against[0]


def test_a_model_that_reads_the_brain_does_not(dataset):
    found = measured(dataset, dataset.labels == TUMOR)
    assert found.floor_wrong.model.value == 1
    assert found.floor_wrong.metadata_floor.value == 0
    against, for_it = shortcut_sentences(found)
    assert not against
    assert "does not follow" in for_it[0]


def test_guessing_is_no_evidence(dataset):
    found = measured(dataset, np.arange(200) % 4 < 2)
    assert found.floor_wrong.model.low < 0.5 < found.floor_wrong.model.high
    assert "no evidence" in shortcut_sentences(found)[0][0]


def test_where_the_floor_is_never_wrong_nothing_can_be_told(dataset):
    tumor = dataset.labels == TUMOR
    found = measure_shortcuts(
        dataset, np.arange(100), np.arange(100), certain(tumor), certain(tumor), samples=100, seed=0
    )
    assert found.floor_wrong is None
    assert "no image wrong" in shortcut_sentences(found)[0][0]


def test_few_groups_are_called_too_few(dataset):
    tumor = dataset.labels == TUMOR
    floor = certain(tumor ^ (np.arange(200) < 4))
    found = measure_shortcuts(
        dataset, np.arange(100), np.arange(100), floor, floor, samples=100, seed=0
    )
    assert "4 groups of near-duplicates, too few" in shortcut_sentences(found)[0][0]


def test_every_image_stands_in_one_row_of_each_table(dataset):
    found = measured(dataset, dataset.labels == TUMOR)
    for name in TABLES:
        slices = getattr(found, name)
        assert sum(s.images for s in slices) == 100
        assert sum(s.tumor for s in slices) == 50
    assert [s.name for s in found.size] == ["225 x 100", "512 x 100"]
    assert [s.name for s in found.copies] == ["1, no near-duplicate"]


def test_a_source_is_judged_by_what_training_has_of_it():
    training = [
        *(record(TUMOR, n, 512) for n in range(9)),
        record(HEALTHY, 9, 512),
        record(HEALTHY, 10, 225),
        record(TUMOR, 11, 300),
        record(HEALTHY, 12, 300),
    ]
    held_out = [record(TUMOR, 20 + n, width) for n, width in enumerate((512, 225, 300, 999))]
    dataset = dataset_of([*training, *held_out])
    predictor = certain(np.ones(17, bool))
    found = measure_shortcuts(
        dataset, np.arange(13, 17), np.arange(13), predictor, predictor, samples=100, seed=0
    )
    assert {s.name for s in found.source} == {
        "in training 90% or more Brain Tumor",
        "in training 90% or more Healthy",
        "in training of both classes",
        "not in training",
    }


def test_rare_values_are_taken_together_and_come_last():
    records = [record(TUMOR, n, 100 + n % (COMMON + 3), f".e{n}") for n in range(100)]
    dataset = dataset_of(records)
    predictor = certain(np.ones(100, bool))
    rows = np.arange(100)
    found = measure_shortcuts(dataset, rows, rows, predictor, predictor, samples=100, seed=0)
    assert len(found.size) == len(found.extension) == COMMON + 1
    assert found.size[-1].name == "all others"
    assert found.size[-1].images == sum(n % (COMMON + 3) >= COMMON for n in range(100))


def test_a_share_counts_groups_and_not_copies():
    hits, groups = np.arange(100) < 50, np.arange(100)
    alone = share(hits, groups, 500, 0)
    copies = share(hits, groups // 10, 500, 0)
    assert alone.value == copies.value == 0.5
    assert copies.high - copies.low > 2 * (alone.high - alone.low)
    assert share(hits, np.zeros(100), 100, 0).low < 0.1  # a single group says little
    assert share(hits, groups, 500, 0) == alone
