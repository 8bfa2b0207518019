import numpy as np
import pytest
from PIL import Image

from components.shared.data.classes import HEALTHY, TUMOR
from components.shared.evaluation.stability import (
    BORDER,
    BORDER_ALONE,
    FAMILIES,
    PERTURBATIONS,
    draw_sample,
    measure_stability,
    stability_sentences,
    versions,
)

NAMES = ["unchanged", *(p.name for p in PERTURBATIONS)]
LARGEST_BATCH = 64


class InMemory:
    """Tumours have a bright frame, a bright middle and more light all over."""

    def __init__(self, images=40, copies=1):
        rng = np.random.default_rng(0)
        self.groups = self.duplicate_groups = np.arange(images) // copies
        self.labels = np.int8(self.groups % 2)
        pixels = rng.integers(60, 70, (images, 150, 150, 3))
        tumor = self.labels == TUMOR
        for side in (np.s_[:, :BORDER], np.s_[:, -BORDER:], np.s_[:, :, :BORDER]):
            pixels[side] += np.where(tumor, 30, 0)[:, None, None, None]
        pixels[:, 60:90, 60:90] += np.where(tumor, 60, 20)[:, None, None, None]
        self.pixels = np.uint8(pixels)

    def batches(self, rows, size):
        for start in range(0, len(rows), size):
            yield rows[start : start + size], self.pixels[rows[start : start + size]]


def frame_reader(pixels):
    border = np.ones((150, 150), bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    return pixels[:, border].mean(axis=(1, 2)) > 75


def brightness_reader(pixels):
    return pixels.mean(axis=(1, 2, 3)) > 71


def middle_reader(pixels):
    """Compares the middle with what lies around it, whatever the light."""
    wide, middle = pixels[:, 30:120, 30:120], pixels[:, 67:83, 67:83]
    return (middle.mean(axis=(1, 2, 3)) + 1) / (wide.mean(axis=(1, 2, 3)) + 1) > 1.5


def predicts(reads):
    def predict(batches, images):
        scores = np.full(images, np.nan)
        for places, pixels in batches:
            assert len(pixels) <= LARGEST_BATCH
            assert np.isnan(scores[places]).all()
            scores[places] = np.where(reads(pixels), 0.8, 0.3)
        assert np.isfinite(scores).all()
        return scores

    return predict


def measured(reads, dataset=None):
    dataset = dataset or InMemory()
    rows = np.arange(len(dataset.labels))
    return measure_stability(dataset, rows, predicts(reads), 0.5, samples=100, seed=3)


def flips(found, family):
    return max(change.flips.value for change in found.changes if change.family == family)


def border_alone(found):
    (change,) = (change for change in found.changes if change.family == BORDER_ALONE)
    return change


def test_a_model_that_reads_the_frame_is_caught():
    found = measured(frame_reader)
    assert found.accuracy.value == 1
    assert flips(found, "border") == 0.5
    assert border_alone(found).flips.value == 0
    assert border_alone(found).auroc.value == 1
    against, for_it = stability_sentences(found)
    assert "reads the frame" in against[0]
    assert "AUROC of 1.000" in against[0]
    assert "depend on the border: the model flips 50.0%" in against[-1]
    assert not any("border" in said for said in for_it)


def test_a_model_that_reads_the_brightness_is_caught():
    found = measured(brightness_reader)
    assert found.accuracy.value == 1
    assert flips(found, "light") == 0.5
    assert any("depend on the brightness" in said for said in stability_sentences(found)[0])


def test_a_model_that_reads_the_middle_is_not():
    found = measured(middle_reader)
    assert found.accuracy.value == 1
    assert flips(found, "border") == 0
    assert flips(found, "light") == 0
    assert border_alone(found).accuracy.value == 0.5
    assert border_alone(found).auroc.value == 0.5
    against, for_it = stability_sentences(found)
    assert against == []
    assert len(for_it) == 2
    assert all(family.done in for_it[1] for family in FAMILIES.values())
    assert "no sign that it reads the frame" in for_it[0]


def test_a_model_whose_scores_shift_with_the_border_is_unsteady_and_no_frame_reader():
    """As a network does whose features are means over the whole image."""

    def predict(batches, images):
        scores = np.zeros(images)
        for places, pixels in batches:
            brightness = pixels.mean(axis=(1, 2, 3)) / 255
            scores[places] = 0.3 * middle_reader(pixels) + brightness
        return scores

    dataset = InMemory()
    middle = dataset.pixels[:, BORDER:-BORDER, BORDER:-BORDER].copy()
    dataset.pixels[:] = 200
    dataset.pixels[:, BORDER:-BORDER, BORDER:-BORDER] = middle
    found = measure_stability(dataset, np.arange(40), predict, 0.55, samples=100, seed=3)
    assert flips(found, "border") >= 0.1
    against, for_it = stability_sentences(found)
    assert any("no sign that it reads the frame" in said for said in for_it)
    assert any("depend on the border" in said for said in against)
    assert not any("reads the frame" in said for said in against)


def test_the_figures_add_up():
    found = measured(frame_reader)
    assert [change.name for change in found.changes] == NAMES[1:]
    assert found.images == 40
    (blanked,) = (change for change in found.changes if change.name == "blanked 10% wide")
    assert blanked.accuracy.value == 0.5
    assert blanked.mean_change == pytest.approx(-0.25)
    assert blanked.mean_absolute_change == pytest.approx(0.25)
    assert blanked.flips.low < 0.5 < blanked.flips.high


def test_the_same_seed_gives_the_same_figures_however_images_are_drawn_together():
    dataset = InMemory()
    found = []
    for rows in (np.arange(6), np.arange(1, 6)):
        kept = {}

        def keep(batches, images, kept=kept, rows=rows):
            flat = np.zeros((images, 150, 150, 3), np.uint8)
            for places, pixels in batches:
                flat[places] = pixels
            kept["pixels"] = flat.reshape(len(rows), len(NAMES), 150, 150, 3)
            return np.tile([0.2, 0.7], images)[:images]

        measure_stability(dataset, rows, keep, 0.5, samples=10, seed=1)
        found.append(kept["pixels"])
    np.testing.assert_array_equal(found[0][1:], found[1])
    np.testing.assert_array_equal(found[0][:, 0], dataset.pixels[:6])


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(1).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((75, 75)).resize((150, 150)))


def test_every_change_changes_something(picture):
    before = picture.copy()
    found = versions(picture, [0, 7])
    assert found.dtype == np.uint8
    assert found.shape == (len(NAMES), 150, 150, 3)
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(found[0], picture)
    assert len(np.unique(found.reshape(len(NAMES), -1), axis=0)) == len(NAMES)
    np.testing.assert_array_equal(versions(picture, [0, 7]), found)
    assert (versions(picture, [0, 8]) != found).any()


def test_changes_do_what_they_are_called(picture):
    found = dict(zip(NAMES, versions(picture, [0, 0]), strict=True))
    inside = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    np.testing.assert_array_equal(found["turned by 90°"], np.rot90(picture))
    np.testing.assert_array_equal(found["turned by 180°"], picture[::-1, ::-1])
    np.testing.assert_array_equal(found["left and right mirrored"], picture[:, ::-1])
    np.testing.assert_array_equal(found["upside down mirrored"], picture[::-1])
    np.testing.assert_array_equal(found["blanked 10% wide"][inside], picture[inside])
    assert found["blanked 10% wide"].astype(int).sum() == picture[inside].astype(int).sum()
    assert not found["middle blanked"][inside].any()
    np.testing.assert_array_equal(
        found["middle blanked"] + found["blanked 10% wide"], picture, strict=True
    )
    assert found["30% darker"].mean() == pytest.approx(0.7 * picture.mean(), rel=0.02)
    assert found["30% more contrast"].std() > picture.std() > found["30% less contrast"].std()
    assert not found["bars above and below"][:18].any()
    assert not found["bars at the sides"][:, -18:].any()


def test_the_sample_takes_one_image_of_a_group_and_both_classes_alike():
    dataset = InMemory(images=60, copies=3)
    dataset.labels[0] = HEALTHY  # of a group that holds both
    rows = np.arange(60)
    chosen = draw_sample(dataset, rows, seed=0)
    assert len(chosen) == 21
    assert 0 in chosen
    few = draw_sample(dataset, rows, seed=0, max_images=8)
    assert np.bincount(dataset.labels[few]).tolist() == [4, 4]
    assert len(set(dataset.groups[few])) >= 7
    np.testing.assert_array_equal(few, draw_sample(dataset, rows, seed=0, max_images=8))
    assert set(draw_sample(dataset, rows[30:], seed=0)) <= set(range(30, 60))
