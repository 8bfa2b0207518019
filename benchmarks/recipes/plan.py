"""What is trained, and where its scores are kept; without JAX, so that any machine can judge."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.recipes.packed import FILE
from benchmarks.recipes.recipes import RECIPES, Recipe


class Plan(NamedTuple):
    """What all recipes have in common.

    Attributes:
        folds: Which, from 0.
        seeds: How many trainings of each fold.
        epochs: Of each training; the mean of the last half's weights is kept.
        steps: Most batches an epoch; 0 for all images.
        bfloat16: Whether activations are computed so.
    """

    folds: tuple[int, ...]
    seeds: int
    epochs: int
    steps: int = 0
    bfloat16: bool = False

    @property
    def trainings(self) -> list[tuple[int, int]]:
        """Fold and seed of each training of a recipe."""
        return list(itertools.product(self.folds, range(self.seeds)))


def record_of(folder: Path, plan: Plan, name: str) -> Path:
    """Returns where the scores of a recipe are, once it is trained."""
    recipe: Recipe | None = RECIPES[name]
    asked: list[Any] = [(folder / FILE).stat().st_size, plan]
    while recipe:
        asked.append([dict(sorted(recipe.knobs.items())), recipe.blocks, recipe.refit_head])
        recipe = RECIPES[recipe.teachers] if recipe.teachers else None
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
    return folder / "state" / f"{name.replace(' ', '-').replace(',', '')}-{digest}.npz"
