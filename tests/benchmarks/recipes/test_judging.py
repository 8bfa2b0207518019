"""What is said of other hospitals: by folder, and of two folders of one sequence."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.recipes.judging import Course, External, Fold, Truth, elsewhere, print_judged


def _fold() -> Fold:
    truth = Truth(np.arange(40) % 2, np.arange(40))
    return Fold(1, truth, truth)


def _course(random: np.random.Generator, labels: np.ndarray, skill: float) -> Course:
    own = np.arange(40) % 2

    def scores(labels: np.ndarray) -> np.ndarray:
        return np.clip(
            0.5 + skill * (0.5 - labels) + random.normal(0, 0.2, len(labels)), 0.01, 0.99
        )

    return Course(scores(own), scores(own), 60.0, scores(labels))


@pytest.fixture
def external() -> External:
    folder = np.repeat(["flair_tumor", "flair_old", "t1_tumor", "mixed"], 30)
    labels = (folder == "flair_old").astype(int)
    sequence = np.repeat(["FLAIR", "FLAIR axial", "T1 post", ""], 30)
    return External(Truth(labels, np.arange(120) // 3), folder, sequence)


def test_folders_have_shares_and_pairs_of_one_sequence_have_an_auroc(external: External) -> None:
    random = np.random.default_rng(0)
    labels, folder = external.truth.labels, external.folder
    courses = [[_course(random, labels, skill)] * 2 for skill in (0.2, 0.6)]
    found = elsewhere(external, [_fold()] * 2, courses, 0)
    assert set(found) == {*folder, "flair_tumor / flair_old"}
    both = np.isin(folder, ["flair_tumor", "flair_old"])
    for way, course in enumerate(courses):
        expected = roc_auc_score(1 - labels[both], course[0].external[both])
        assert found["flair_tumor / flair_old"].values[way] == pytest.approx(expected)
    gain, low, high = found["flair_tumor / flair_old"].gain(1)
    assert 0 < low < gain < high
    assert found["mixed"].gain(0) == (0, 0, 0)


def test_a_row_for_each_way(external: External, capsys: pytest.CaptureFixture) -> None:
    random = np.random.default_rng(0)
    courses = [[_course(random, external.truth.labels, skill)] for skill in (0.2, 0.6)]
    print_judged(["first", "second"], [_fold()], courses, 0, external)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed if line.startswith(("first", "second"))] == [
        "first",
        "second",
    ] * 2
    (elsewhere_of_second,) = (
        line for line in printed if line.startswith("second") and "+" in line and "(" not in line
    )
    assert elsewhere_of_second
