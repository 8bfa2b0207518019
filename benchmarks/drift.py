"""A week of counts, as Prometheus would have them, made of a model's answers to images.

    python -m benchmarks.drift --model MODEL --images FOLDER --labels labels.csv --output week.om
    promtool tsdb create-blocks-from openmetrics week.om data
    prometheus --config.file /dev/null --storage.tsdb.path data
    brain-tumor drift MODEL --prometheus http://localhost:9090

Images come in series: those of a patient together, as the columns path and patient of the labels
have them; with --run those of a group, of the run's validation and held-out parts; else each by
itself. Series are drawn with replacement. They come at random between eight and six o'clock to two
pods, of which one restarts, and a scrape is a minute. The week ends at the last full hour. What the
comparison says of the same hours, without Prometheus, is printed.
"""

import argparse
import csv
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import numpy as np

from components.drift.logic import compare_quantities
from components.ingest.sample import write_sample
from components.shared.data.dataset import ImageDataset, Split
from components.shared.model_folder.drift_reference import DriftReference
from components.shared.model_folder.reader import ModelFolder
from components.shared.run.parameters import DriftRule
from pipelines.ending import ended
from serving.classifier import Classifier, Prediction
from serving.drift import DriftCounts

MINUTE, HOUR, DAY = 60, 3600, 86_400
SERIES_A_MINUTE = 0.05
OPEN, CLOSED = 8, 18  # o'clock
RESTART = 3 * DAY  # of the second pod, after the begin

Series = list[list[Prediction]]


def of_files(classifier: Classifier, folder: Path, labels: Path | None) -> Series:
    """Returns the answers to the files of a folder, a patient's together."""
    patients = {}
    if labels:
        with labels.open(newline="") as file:
            patients = {row["path"]: row["patient"] for row in csv.DictReader(file)}
    series: dict[str, list[Prediction]] = defaultdict(list)
    for path, answer in classifier.classify_files([folder]):
        name = str(path.relative_to(folder))
        if isinstance(answer, Prediction) and (not labels or name in patients):
            series[patients.get(name) or name].append(answer)
    return list(series.values())


def of_run(classifier: Classifier, run: Path) -> Series:
    """Returns the answers to the images that a run did not train on, a group's together."""
    dataset = ImageDataset(run / "assemble" / "dataset")
    split = Split.open(run / "split" / "split", dataset)
    series: dict[int, list[Prediction]] = defaultdict(list)
    for part in ("validation", "held_out"):
        rows = split.part(part)
        answers = classifier.classify(dataset.read(rows))
        for group, answer in zip(dataset.groups[rows].tolist(), answers, strict=True):
            series[group].append(answer)
    return list(series.values())


def week(
    model: ModelFolder, series: Series, end: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what two pods show at each scrape, and what was answered in each hour.

    Returns:
        Counts int64 [scrapes, pods, bins] and int64 [hours, bins], the bins of all quantities in
        their order.
    """
    pods = [DriftCounts(model), DriftCounts(model)]
    shown, hours = [], []
    total = DriftCounts(model)
    for at in range(end - 7 * DAY, end, MINUTE):
        if at == end - 7 * DAY + RESTART:
            pods[1] = DriftCounts(model)
        opened = OPEN <= at % DAY // HOUR < CLOSED
        for _ in range(rng.poisson(SERIES_A_MINUTE) if opened else 0):
            pod = pods[rng.integers(2)]
            for answer in series[rng.integers(len(series))]:
                pod.add(answer)
                total.add(answer)
        shown.append([_counts(pod) for pod in pods])
        if (at + MINUTE) % HOUR == 0:
            hours.append(_counts(total))
    return np.array(shown), np.diff(np.array([np.zeros_like(hours[0]), *hours]), axis=0)


def _counts(counts: DriftCounts) -> np.ndarray:
    return np.concatenate([np.array(of_quantity) for of_quantity in counts.counts])


def write_openmetrics(file: TextIO, model: ModelFolder, shown: np.ndarray, end: int) -> None:
    """Writes each pod's counts, series by series."""
    assert model.drift
    file.write("# TYPE brain_tumor_drift_images counter\n")
    bins = [(quantity.name, name) for quantity in model.drift.quantities for name in quantity.bins]
    times = range(end - 7 * DAY + MINUTE, end + MINUTE, MINUTE)
    for column, (quantity, name) in enumerate(bins):
        for pod in range(shown.shape[1]):
            labels = (
                f'bin="{name}",digest="{model.digest}",pod="{pod}",quantity="{quantity}",'
                f'version="{model.version}"'
            )
            file.writelines(
                f"brain_tumor_drift_images_total{{{labels}}} {count} {at}\n"
                for count, at in zip(shown[:, pod, column].tolist(), times, strict=True)
            )
    file.write("# EOF\n")


def _by_quantity(reference: DriftReference, hours: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    begin = 0
    for quantity in reference.quantities:
        yield quantity.name, hours[:, begin : begin + len(quantity.bins)]
        begin += len(quantity.bins)


def main() -> None:
    """Makes the week and prints what the comparison says of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default="runs/demo/registry/brain-tumor/1")
    parser.add_argument("--images", type=Path, help="a folder; sample images without")
    parser.add_argument("--labels", type=Path, help="CSV that says whose they are")
    parser.add_argument("--run", type=Path, help="of a training, in place of images")
    parser.add_argument("--output", type=Path, help="OpenMetrics; none without")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    classifier = Classifier(options.model)
    model = classifier.model
    if model.drift is None:
        parser.error(f"{options.model} was registered before there was drift.json")
    with TemporaryDirectory() as temporary:
        if options.run:
            series = of_run(classifier, options.run)
        elif options.images:
            series = of_files(classifier, options.images, options.labels)
        else:
            write_sample(temporary, 120, seed=8)
            series = of_files(classifier, Path(temporary), None)
    end = int(time.time()) // HOUR * HOUR
    shown, hours = week(model, series, end, np.random.default_rng(options.seed))
    served = dict(_by_quantity(model.drift, hours))
    images = next(iter(served.values()))
    print(
        f"{len(series):,} series to draw from; {images.sum():,} images served in "
        f"{images.any(axis=1).sum()} hours"
    )
    for one in compare_quantities(model.drift.quantities, served, DriftRule()):
        print(
            f"{one.name:22} index {one.psi:.3f} ({one.low:.3f} to {one.high:.3f}; by chance "
            f"{one.by_chance:.3f}), p {one.adjusted_p_value:.4f}{'  drift' if one.drifted else ''}"
        )
    if options.output:
        with options.output.open("w") as file:
            write_openmetrics(file, model, shown, end)
        print(f"wrote {options.output}")


if __name__ == "__main__":
    sys.exit(ended(main))
