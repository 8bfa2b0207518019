"""Judges ways to train beside each other, on images held out and on those of other hospitals.

Every way is trained on the same folds from the same seeds; temperature and threshold are chosen on
validation, as the product does. Intervals are of 95%, by near-duplicates and patients. All ways are
measured on the same resamples, so a difference between two of them has an interval of its own.
"""

import posixpath
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from rich.console import Console
from rich.table import Table

from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.calibration import calibrate, fit_temperature
from components.shared.evaluation.metrics import Predictor, bootstrap, column, point_estimate
from components.shared.evaluation.threshold import choose_threshold

SAMPLES = 1000
SHOWN = ("accuracy", "sensitivity", "specificity", "auroc", "ece")


class Truth(NamedTuple):
    """What is known of some images: labels and groups, int64 [n] each."""

    labels: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, dataset: ImageDataset, rows: np.ndarray) -> Self:
        """Reads it of some rows of a dataset."""
        return cls(dataset.labels[rows], dataset.groups[rows])


class Fold(NamedTuple):
    """One split into parts; its number is that of its resamples."""

    number: int
    validation: Truth
    held_out: Truth


class External(NamedTuple):
    """Images that judge and never train.

    Attributes:
        truth: Of all of them.
        folder: That each lies in, one folder a hospital and sequence, str [n].
        sequence: Of each, or empty; str [n].
    """

    truth: Truth
    folder: np.ndarray
    sequence: np.ndarray

    @classmethod
    def of(cls, dataset: ImageDataset) -> Self:
        """Reads what a table of labels said."""
        records = dataset.manifest.images
        return cls(
            Truth(dataset.labels, dataset.groups),
            np.array([posixpath.dirname(record.path) for record in records]),
            np.array([record.sequence or "" for record in records]),
        )


class Course(NamedTuple):
    """What one training came to: scores, P(Brain Tumor), and how long it took; 0 if no matter."""

    validation: np.ndarray
    held_out: np.ndarray
    seconds: float
    external: np.ndarray = np.empty(0)


class Judged(NamedTuple):
    """A measure of every way: values [ways] and resamples [ways, b]."""

    values: np.ndarray
    samples: np.ndarray

    def gain(self, way: int) -> tuple[float, float, float]:
        """Returns how far a way is above the first, and the ends of that difference's interval."""
        low, high = np.percentile(self.samples[way] - self.samples[0], [2.5, 97.5])
        return float(self.values[way] - self.values[0]), float(low), float(high)


def predictor(fold: Fold, done: Course) -> tuple[float, float]:
    """Returns temperature and threshold, both by validation."""
    labels, groups = fold.validation
    temperature = fit_temperature(labels, done.validation, groups)
    threshold = choose_threshold(labels, calibrate(done.validation, temperature), groups)
    return temperature, threshold


def figures(
    folds: Sequence[Fold], courses: Sequence[Sequence[Course]], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Measures the held-out parts.

    Args:
        folds: Of each training; a fold comes as often as there are seeds.
        courses: Of each way, in the order of the folds.
        seed: Of the resamples.

    Returns:
        Measures [ways, 8] and their resamples [ways, b, 8], means over the trainings.
    """
    values, samples = [], []
    for place, fold in enumerate(folds):
        predictors = []
        for way in courses:
            temperature, threshold = predictor(fold, way[place])
            predictors.append(Predictor(calibrate(way[place].held_out, temperature), threshold))
        labels, groups = fold.held_out
        values.append(np.stack([point_estimate(labels, each) for each in predictors]))
        samples.append(bootstrap(labels, groups, predictors, SAMPLES, seed + fold.number))
    return np.mean(values, axis=0), np.mean(samples, axis=0)


def elsewhere(
    external: External, folds: Sequence[Fold], courses: Sequence[Sequence[Course]], seed: int
) -> dict[str, Judged]:
    """Measures images of other hospitals, means over the trainings.

    Args:
        external: Those images.
        folds: Of each training.
        courses: Of each way, in the order of the folds.
        seed: Of the resamples.

    Returns:
        The share of right answers in each folder, which is sensitivity where all are tumours. And
        the AUROC of each folder of tumours against each folder of healthy images, where both are
        of one sequence by its first word: `T1 post` against `T1`.
    """
    labels, groups = external.truth
    scores = np.empty((len(courses), len(folds), len(labels)))
    right = np.empty(scores.shape, dtype=bool)
    for way, of_way in enumerate(courses):
        for place, (fold, done) in enumerate(zip(folds, of_way, strict=True)):
            temperature, threshold = predictor(fold, done)
            scores[way, place] = calibrate(done.external, temperature)
            right[way, place] = (scores[way, place] >= threshold) == (labels == TUMOR)
    rows_of = {str(name): np.flatnonzero(external.folder == name) for name in external.folder}
    found = {
        name: _share(right[:, :, rows].mean(axis=1), groups[rows], seed)
        for name, rows in sorted(rows_of.items())
    }
    first_word = {
        name: str(external.sequence[rows[0]]).split(" ")[0] for name, rows in rows_of.items()
    }
    tumors = [name for name, rows in sorted(rows_of.items()) if (labels[rows] == TUMOR).all()]
    for tumor in tumors:
        for other, rows in sorted(rows_of.items()):
            alike = first_word[other] == first_word[tumor]
            if alike and first_word[tumor] and (labels[rows] != TUMOR).all():
                both = np.concatenate([rows_of[tumor], rows])
                found[f"{tumor} / {other}"] = _auroc(
                    labels[both], groups[both], scores[:, :, both], seed
                )
    return found


def _share(right: np.ndarray, groups: np.ndarray, seed: int) -> Judged:
    """Judges shares of right answers, float64 [ways, n]."""
    _, group_of = np.unique(groups, return_inverse=True)
    count = int(group_of.max()) + 1
    random = np.random.default_rng(seed)
    weights = random.multinomial(count, np.full(count, 1 / count), SAMPLES)[:, group_of]
    return Judged(right.mean(axis=1), right @ weights.T / weights.sum(axis=1))


def _auroc(labels: np.ndarray, groups: np.ndarray, scores: np.ndarray, seed: int) -> Judged:
    """Judges how scores [ways, trainings, n] rank tumours above healthy images."""
    ways, trainings, _ = scores.shape
    predictors = [Predictor(each, 0.5) for way in scores for each in way]
    values = np.stack([point_estimate(labels, each) for each in predictors])
    samples = bootstrap(labels, groups, predictors, SAMPLES, seed)
    shape = (ways, trainings, -1)
    return Judged(
        values[:, column("auroc")].reshape(shape[:2]).mean(axis=1),
        samples[:, :, column("auroc")].reshape(shape).mean(axis=1),
    )


def cells(measures: np.ndarray) -> list[str]:
    """Returns what is shown of one row's measures [8]: AUROC as a number, the others in percent."""
    values = [measures[column(name)] for name in SHOWN]
    return [
        f"{value:.3f}" if name == "auroc" else f"{100 * value:.1f}%"
        for name, value in zip(SHOWN, values, strict=True)
    ]


def print_judged(
    names: Sequence[str],
    folds: Sequence[Fold],
    courses: Sequence[Sequence[Course]],
    seed: int,
    external: External | None = None,
) -> None:
    """Prints a row for each way: held out, and elsewhere where there are such images.

    Args:
        names: Of the ways; the others are compared with the first.
        folds: Of each training.
        courses: Of each way, in the order of the folds.
        seed: Of the resamples.
        external: Images of other hospitals.
    """
    console = Console(width=200)
    values, samples = figures(folds, courses, seed)
    trained = any(done.seconds for way in courses for done in way)
    timed = ["minutes to train"] if trained else []
    table = _table("", *SHOWN, *timed, "accuracy gained", "AUROC gained")
    for way, name in enumerate(names):
        minutes = [f"{np.mean([done.seconds for done in courses[way]]) / 60:.1f}"] * trained
        gains = []
        for measure, unit, text in (("accuracy", 100, ".1f"), ("auroc", 1, ".3f")):
            at = column(measure)
            gain = Judged(values[:, at], samples[:, :, at]).gain(way)
            change, low, high = (f"{unit * each:+{text}}" for each in gain)
            gains.append(f"{change} ({low} to {high})" if way else "")
        table.add_row(name, *cells(values[way]), *minutes, *gains)
    console.print(table)
    if not external:
        return
    found = elsewhere(external, folds, courses, seed)
    print(
        "\nOther hospitals: right answers in each folder, AUROC of each two. The first row has "
        "intervals by patient;\n+ and - mark a difference to it whose own interval leaves out 0."
    )
    table = _table("", *(name.replace(" / ", "\n/ ") for name in found))
    for way, name in enumerate(names):
        table.add_row(name, *(_elsewhere_cell(key, each, way) for key, each in found.items()))
    console.print(table)


def _elsewhere_cell(name: str, judged: Judged, way: int) -> str:
    unit, text = (1, ".3f") if " / " in name else (100, ".0f")
    value = f"{unit * judged.values[way]:{text}}"
    if not way:
        low, high = np.percentile(judged.samples[0], [2.5, 97.5])
        return f"{value}\n({unit * low:{text}}-{unit * high:{text}})"
    _, low, high = judged.gain(way)
    return value + (" +" if low > 0 else " -" if high < 0 else "  ")


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
