"""Results by site and sequence: counted by hand, resampled by patient, and bounded."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.metrics import Interval, Predictor
from components.shared.evaluation.results import BySubgroup, Subgroup
from components.shared.evaluation.subgroups import (
    MAX_SHOWN,
    measure_subgroups,
    min_by_subgroup,
    subgroup_sentences,
)
from tests.shared.evaluation.test_shortcuts import dataset_of, record


@pytest.fixture(scope="module")
def listed() -> ImageDataset:
    """120 images, half of them tumours, each its own group."""
    return dataset_of([record(number % 2, number, 512) for number in range(120)])


def test_each_site_is_measured_on_its_own_images(listed: ImageDataset) -> None:
    # Of 40 images: Ulm has 20 and one missed tumour, Bonn 12 tumours of which 3 are missed.
    names = ["Ulm"] * 20 + [None if n % 2 else "Bonn" for n in range(24)] + ["Rome"] * 76
    scores = np.where(listed.labels == 0, 0.9, 0.1)
    scores[[0, 20, 22, 24]] = 0.1
    model = Predictor(scores, 0.5)
    ulm, bonn, unknown = measure_subgroups(listed, names, np.arange(44), model, samples=200, seed=0)
    assert (ulm.name, ulm.images, ulm.groups, ulm.tumor) == ("Ulm", 20, 20, 10)
    assert (ulm.accuracy.value, ulm.specificity.value) == (19 / 20, 1)
    assert ulm.sensitivity.value == 9 / 10
    assert ulm.sensitivity.low < 9 / 10 < ulm.sensitivity.high < 1
    assert (bonn.name, bonn.images, bonn.tumor) == ("Bonn", 12, 12)
    assert (bonn.sensitivity.value, bonn.specificity, bonn.auroc) == (9 / 12, None, None)
    assert ulm.auroc is not None
    assert ulm.auroc.value == 0.95  # one of ten tumours is level with the healthy ones
    assert (unknown.name, unknown.images, unknown.sensitivity) == ("unknown", 12, None)


def test_intervals_take_patients_whole(listed: ImageDataset) -> None:
    scores = np.where((listed.labels == 0) == (np.arange(120) // 12 % 5 != 0), 0.9, 0.1)
    model = Predictor(scores, 0.5)
    widths = []
    for groups in (np.arange(120), np.arange(120) // 12):  # alone, and twelve of a patient
        listed.groups = groups
        (found,) = measure_subgroups(
            listed, ["Ulm"] * 120, np.arange(120), model, samples=500, seed=0
        )
        assert found.accuracy.value == 0.8
        assert found.groups == len(set(groups))
        widths.append(found.accuracy.high - found.accuracy.low)
    listed.groups = np.arange(120)
    assert widths[1] > 2.5 * widths[0]  # the square root of twelve, were there many


def test_many_sites_are_bounded_and_none_gives_nothing(listed: ImageDataset) -> None:
    model = Predictor(np.full(120, 0.9), 0.5)
    many = [f"site {number % 50:02}" for number in range(120)]
    found = measure_subgroups(listed, many, np.arange(120), model, samples=100, seed=0)
    assert len(found) == MAX_SHOWN + 1
    assert found[-1].name == "all others"
    assert sum(one.images for one in found) == 120
    assert [one.name for one in found[:2]] == ["site 00", "site 01"]
    assert measure_subgroups(listed, [None] * 120, np.arange(120), model, samples=100, seed=0) == ()


def test_the_worst_and_the_weak_are_told() -> None:
    def subgroup(name: str, groups: int, value: float) -> Subgroup:
        near = Interval(value=value, low=value - 0.05, high=value + 0.05)
        return Subgroup(
            name=name,
            images=50,
            groups=groups,
            tumor=50,
            accuracy=near,
            sensitivity=near,
            specificity=None,
        )

    right = SimpleNamespace(accuracy=Interval(value=0.9, low=0.8, high=1))

    class HeldOut(BySubgroup):
        held_out: Any

    evaluation: Any = HeldOut(
        held_out=SimpleNamespace(model=right),
        by_site=(subgroup("Ulm", 30, 0.9), subgroup("Bonn", 12, 0.7), subgroup("Rome", 9, 0.2)),
        by_type=(subgroup("glioma", 30, 0.8),),
    )
    assert min_by_subgroup(evaluation) == {
        "min_accuracy_by_site": 0.7,
        "min_sensitivity_by_site": 0.7,
        "min_accuracy_by_type": 0.8,
        "min_sensitivity_by_type": 0.8,
    }
    assert subgroup_sentences(evaluation) == [
        "Site Bonn: accuracy is 70.0% (65.0% to 75.0%), below the 90.0% of the whole held-out "
        "part.",
        "Tumour type glioma: accuracy is 80.0% (75.0% to 85.0%), below the 90.0% of the whole "
        "held-out part.",
    ]
