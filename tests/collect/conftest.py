"""Folds of the tiny dataset with made-up answers: no network is trained here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.shared.data.classes import TUMOR
from components.shared.data.dataset import ImageDataset
from components.shared.evaluation.fold_result import FOLD, Answers, FoldResult
from components.split.logic import make_folds

WriteFolds = Callable[..., list[Path]]


def fold_results(dataset: ImageDataset, folds: int = 3, **changed: Any) -> list[FoldResult]:
    """A network that is mostly right, each fold with a threshold and temperature of its own."""
    rng = np.random.default_rng(1)
    made = []
    for fold, split in enumerate(make_folds(dataset, folds), start=1):
        tumor = dataset.labels[list(split.held_out)] == TUMOR
        scores = np.clip(np.where(tumor, 0.8, 0.2) + rng.normal(0, 0.25, len(tumor)), 0.01, 0.99)
        answers = {"threshold": 0.4 + fold / 20, "scores": tuple(scores.tolist())}
        floor = {"threshold": 0.5, "scores": tuple(rng.random(len(tumor)).tolist())}
        facts: dict[str, Any] = {
            "fold": fold,
            "dataset_digest": dataset.digest,
            "split_digest": split.digest(),
            "settings": {"architecture": "tiny", "learning_rate": 0.01, "epochs": 3},
            "threshold_rule": "some rule",
            "temperature": 1 + fold / 10,
            "best_epoch": fold,
            "held_out": split.held_out,
            "model": Answers(**answers),
            "metadata_floor": Answers(**floor),
            "nearest_neighbour_floor": Answers(**floor),
        }
        made.append(FoldResult(**facts | changed))
    return made


@pytest.fixture
def results(dataset: ImageDataset) -> list[FoldResult]:
    return fold_results(dataset)


@pytest.fixture
def write_folds(tmp_path: Path) -> WriteFolds:
    def write(results: list[FoldResult]) -> list[Path]:
        folders = []
        for number, result in enumerate(results):
            folder = tmp_path / f"written-{number}"
            folder.mkdir(exist_ok=True)
            (folder / FOLD).write_text(result.model_dump_json())
            folders.append(folder)
        return folders

    return write
