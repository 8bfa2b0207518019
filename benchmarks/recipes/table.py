"""The table of the recipes that are trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.recipes.judging import Course, External, Fold, Truth, print_judged
from benchmarks.recipes.packed import FILE, Packed
from benchmarks.recipes.plan import Plan, record_of


def judge(folder: Path, names: Sequence[str], plan: Plan) -> None:
    """Prints a row for each recipe whose scores are in the folder.

    Args:
        folder: Holds `recipes.npz` and `state/`.
        names: Of the recipes; the others are compared with the first that is there.
        plan: With which they were trained.
    """
    packed = Packed.open(folder / FILE)
    there = [name for name in names if record_of(folder, plan, name).exists()]
    if not there:
        raise SystemExit(f"{folder}: none of the recipes is trained by this plan")

    def truth(fold: int, part: str) -> Truth:
        rows = packed.folds[fold][part]
        return Truth(packed.labels[rows], packed.groups[rows])

    folds = [
        Fold(fold, truth(fold, "validation"), truth(fold, "held_out")) for fold, _ in plan.trainings
    ]
    courses = []
    for name in there:
        with np.load(record_of(folder, plan, name), allow_pickle=False) as saved:
            courses.append(
                [
                    Course(
                        scores[packed.folds[fold]["validation"]],
                        scores[packed.folds[fold]["held_out"]],
                        float(saved["seconds"]),
                        external,
                    )
                    for (fold, _), scores, external in zip(
                        plan.trainings, saved["scores"], saved["external"], strict=True
                    )
                ]
            )
    external = None
    if len(packed.external):
        facts = packed.external_facts
        known = Truth(facts["labels"], facts["groups"])
        external = External(known, facts["folder"], facts["sequence"])
    numbers = ", ".join(str(fold + 1) for fold in plan.folds)
    print(
        f"{len(packed.images):,} images, folds {numbers} of 5, {plan.seeds} seeds, "
        f"{plan.epochs} epochs"
    )
    print_judged(there, folds, courses, 0, external)
