"""What a wanted error costs in coverage, and whether it is kept to.

    python -m benchmarks.unsure --dataset RUN/ingest/dataset --evaluation RUN/evaluate/evaluation

The answers of a run to the images that it did not train on, its validation and held-out parts, are
divided by groups into random halves. The range is fitted on one half and measured on the other.
Beside the project's rule stands learn then test: exact binomial tests, on one image of each group,
that the error is kept to with a probability of 90%. Errors are of all halves together; in an error
by group each group counts once. Without arguments the answers are made up.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from scipy.stats import binom

from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.data.groups import group_weights
from components.shared.evaluation.results import PREDICTIONS, Evaluation
from components.shared.evaluation.unsure import Range, choose_range, doubt
from pipelines.ending import ended

TARGETS = (0.005, 0.01, 0.02, 0.03, 0.05)
CHANCE = 0.1  # that learn then test is wrong


class Answers(NamedTuple):
    """What a model says of images that it has not seen."""

    labels: np.ndarray
    scores: np.ndarray
    groups: np.ndarray

    def on(self, rows: np.ndarray) -> "Answers":
        """Returns those of some images; `rows` is bool [n]."""
        return Answers(*(each[rows] for each in self))


Rule = Callable[[Answers, float, float], Range | None]


def of_run(dataset: Path, evaluation: Path) -> tuple[Answers, float]:
    """Reads the answers of a run to what it did not train on, and its threshold."""
    images = ImageDataset(dataset)
    with (evaluation / PREDICTIONS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    unseen = np.array([row["part"] in ("validation", "held_out") for row in rows])
    scores = np.array([float(row["probability_tumor"]) for row in rows])
    answers = Answers(images.labels, scores, images.groups).on(unseen)
    return answers, Evaluation.open(evaluation).threshold


def made_up(seed: int, groups: int = 500) -> tuple[Answers, float]:
    """Makes answers of a good model up, and its threshold."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.choice([1, 1, 1, 2, 5, 40], groups))
    tumor = rng.random(groups) < 0.55
    logits = np.where(tumor, 3.0, -3.0) + rng.normal(0, 2, groups)
    scores = expit(1.5 * logits[group] + rng.normal(0, 0.3, len(group)))
    return Answers(np.where(tumor, TUMOR, 1 - TUMOR)[group], scores, group), 0.5


def conformal(answers: Answers, threshold: float, target: float) -> Range | None:
    """Chooses the range as the project does."""
    return choose_range(*answers, threshold, target)


def learn_then_test(answers: Answers, threshold: float, target: float) -> Range | None:
    """Chooses the widest range of answers that a sequence of exact tests allows."""
    one = answers.on(np.isin(np.arange(len(answers.groups)), np.unique(answers.groups, True)[1]))
    doubts = doubt(one.scores, threshold)
    order = np.argsort(doubts)
    wrong = ((one.scores >= threshold) != (one.labels == TUMOR))[order]
    answered = np.arange(1, len(order) + 1)
    passed = binom.cdf(np.cumsum(wrong), answered, target) <= CHANCE
    first = int(np.argmax(passed))
    if not passed[first]:
        return None
    after = passed[first:]
    last = first + (len(after) if after.all() else int(np.argmin(after))) - 1
    limit = float(doubts[order][last])
    return Range(min(np.nextafter(limit, 1), threshold), max(1 - limit, threshold))


def row(
    answers: Answers, threshold: float, target: float, rule: Rule, halves: int, seed: int
) -> list[str]:
    """Returns a line of the table: one rule at one wanted error."""
    rng = np.random.default_rng(seed)
    groups = np.unique(answers.groups)
    found = 0
    sums = np.zeros(6)  # answered, wrong, all; by image and by group
    for _ in range(halves):
        fitted = np.isin(answers.groups, rng.permutation(groups)[: len(groups) // 2])
        chosen = rule(answers.on(fitted), threshold, target)
        if chosen is None:
            continue
        found += 1
        new = answers.on(~fitted)
        sure = chosen.answers(new.scores)
        wrong = sure & ((new.scores >= threshold) != (new.labels == TUMOR))
        for place, weights in ((0, np.ones(len(sure))), (3, group_weights(new.groups, 1))):
            sums[place : place + 3] += weights @ sure, weights @ wrong, weights.sum()
    if not found:
        return ["none", "", "", ""]
    coverage, by_group, by_image = sums[0] / sums[2], sums[4] / sums[3], sums[1] / sums[0]
    return [f"{found / halves:.0%}", f"{coverage:.1%}", f"{by_group:.2%}", f"{by_image:.2%}"]


def main() -> None:
    """Prints a line for each wanted error and rule."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--dataset", type=Path, help="of a run; made-up answers without")
    parser.add_argument("--evaluation", type=Path, help="of the same run")
    parser.add_argument("--halves", type=int, default=200, help="random divisions (200)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.dataset and options.evaluation:
        answers, threshold = of_run(options.dataset, options.evaluation)
    else:
        answers, threshold = made_up(options.seed)
    wrong = (answers.scores >= threshold) != (answers.labels == TUMOR)
    weights = group_weights(answers.groups, 1)
    print(
        f"{len(wrong):,} images in {len(np.unique(answers.groups)):,} groups, half of them to fit; "
        f"{np.mean(wrong):.2%} wrong, {weights @ wrong / weights.sum():.2%} by group"
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("wanted", "rule", "has a range", "answered", "error by group", "by image"):
        table.add_column(heading, justify="left" if heading == "rule" else "right")
    rules: dict[str, Rule] = {"conformal": conformal, "learn then test, 90%": learn_then_test}
    for target in TARGETS:
        for name, rule in rules.items():
            cells = row(answers, threshold, target, rule, options.halves, options.seed)
            table.add_row(f"{target:.1%}", name, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(ended(main))
