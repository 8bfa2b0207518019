"""A search by many workers, each a process that may be killed at any moment."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.tune.logic import best_trial, count_rounds, finish, next_round, search
from components.tune.rounds import ROUND, read_proposal, write_round
from components.tune.settings import Algorithm, Settings
from components.tune.trial import Trial, Trials
from tests.tune.searches import Trainings, trials_of, walk_of

ALGORITHMS = get_args(Algorithm)
ROOT = Path(__file__).parents[2]
DIVERGING = (0.1,)


def _side_by_side(trials: Trials, folder: Path, seed: int = 0) -> int:
    """Runs the rounds of a search, as the pipeline does; returns how many there were.

    The workers of a round end in any order, and some are run twice.
    """
    chance, rounds = random.Random(seed), 0
    while proposals := next_round(trials):
        assert len(proposals) <= trials.settings.workers
        write_round(folder, proposals)
        numbers = [one.number for one in proposals]
        for number in chance.sample(numbers, len(numbers)) + chance.sample(numbers, 1):
            finish(trials, number, read_proposal(folder, number))
        rounds += 1
    return rounds


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("workers", [2, 5])
def test_many_workers_find_what_one_finds(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    trainings: Trainings,
    algorithm: str,
    workers: int,
) -> None:
    trainings.diverging = DIVERGING
    alone = search(trials_of(dataset, split, algorithm, tmp_path / "alone"))
    trainings.runs.clear()

    trials = trials_of(dataset, split, algorithm, tmp_path / "many", workers=workers)
    assert _side_by_side(trials, tmp_path) <= count_rounds(trials.settings)
    assert max(Counter(trainings.runs).values()) == 1, "a trial that has a record is not repeated"
    trainings.runs.clear()
    many = search(trials)
    assert not trainings.runs, "the step that tunes finds every trial trained"
    if algorithm == "bayesian":  # whose proposals depend on how many results there are
        assert len(many) == len(alone)
        assert best_trial(many).values.learning_rate == best_trial(alone).values.learning_rate
        return
    assert best_trial(many).values == best_trial(alone).values
    assert sorted(map(str, walk_of(many))) == sorted(map(str, walk_of(alone)))
    if algorithm != "hyperband":  # which goes on to longer trials as soon as it may
        assert walk_of(many) == walk_of(alone)


@pytest.mark.parametrize("algorithm", ["bayesian", "hyperband"])
def test_the_seed_decides_the_walk_of_many(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings, algorithm: str
) -> None:
    walks = []
    for order in (1, 2):  # in which the workers end
        trials = trials_of(dataset, split, algorithm, tmp_path / str(order), workers=3)
        _side_by_side(trials, tmp_path, seed=order)
        walks.append(walk_of(search(trials)))
    assert walks[0] == walks[1]


# Each step of a search is a process, forked from one that has imported everything. `moments` says
# at which place each dies, if any: KFP starts it again.
PROCESSES = """
import os, runpy, signal, sys
from pathlib import Path
from components.shared.data.dataset import ImageDataset, Split
from components.tune import logic, rounds, trial, walk
from tests.tune.searches import Trainings, trials_of, walk_of

data, split, root, algorithm, *moments = sys.argv[1:]
dataset, root = ImageDataset(data), Path(root)
parts = Split.open(split, dataset)
trials = trials_of(dataset, parts, algorithm, root / "state", workers=3, epochs=3)
trainings = Trainings(diverging=(0.1,))
trial.keras.backend.clear_session = lambda: None  # would start TensorFlow
trial.gc.collect = lambda: 0
write, told = trial.write_atomically, walk.Walk.tell

def die(moment):
    if moments and moments[0] == moment:
        os.kill(os.getpid(), signal.SIGKILL)

def fit(*arguments):
    die("before-training")
    with open(root / "trainings", "a") as file:
        print(arguments[2].network, arguments[2].epochs, file=file)
    die("in-training")
    return trainings(*arguments)

def half(path, content):
    if moments and moments[0] == "in-record":  # as a file system without atomic names leaves it
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content[: len(content) // 2])
    die("in-record")
    write(path, content)
    die("after-record")

def tell(self, scores):
    die("in-oracle")
    told(self, scores)

trial.fit, trial.write_atomically, walk.Walk.tell = fit, half, tell

def run(work):
    while True:
        child = os.fork()
        if not child:
            work()
            die("after-all")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not status:
            return
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        print("killed", moments.pop(0), flush=True)

def propose():
    rounds.write_round(root / "round", logic.next_round(trials))

for turn in range(logic.count_rounds(trials.settings)):
    run(propose)
    for number in [one.number for one in rounds.read_round(root / "round")]:
        run(lambda: logic.finish(trials, number, rounds.read_proposal(root / "round", number)))
moments.clear()
with open(root / "trainings", "a") as file:
    print("tune", file=file)
print("walk", walk_of(logic.search(trials)))
"""
MOMENTS = [
    *("before-training", "in-training", "in-record", "after-record", "after-all"),
    *("in-oracle", "in-training", "in-training", "in-record"),
]


@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_a_killed_process_costs_its_own_trial_only(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings, algorithm: str
) -> None:
    arguments = [dataset.folder, dataset.folder.parent / "split", tmp_path, algorithm, *MOMENTS]
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    killed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("killed")]
    assert killed == MOMENTS

    trainings.diverging = DIVERGING
    alone = walk_of(search(trials_of(dataset, split, algorithm, tmp_path / "alone", epochs=3)))
    (walk,) = (line for line in done.stdout.splitlines() if line.startswith("walk "))
    many = trials_of(dataset, split, algorithm, tmp_path / "unbroken", workers=3, epochs=3)
    assert walk == f"walk {walk_of(search(many))}"
    *trained, last = (tmp_path / "trainings").read_text().splitlines()
    assert last == "tune", "which had nothing to train"
    lost = sum(moment in ("in-training", "in-record") for moment in MOMENTS)
    assert len(trained) == len(alone) + lost


def _damaged(record: str, trial: Trial) -> list[str]:
    """Returns what may be found in place of a record."""
    return [
        *("", record[: len(record) // 2], "null", "[]", "\0" * len(record), "\udcff"),
        record.replace(str(trial.accuracies[0]), "NaN"),
        record.replace(str(trial.accuracies[0]), "1.5"),
        record.replace(str(trial.accuracies[0]), '"0.9"x'),
        record.replace('"accuracies": [', '"accuracies": [0.5, '),
        record.replace('"epochs": 9', '"epochs": 8'),
        record.replace('"dense": ', '"dense": 1'),
        record.replace('"dropout": 0', '"dropout": 7'),
        record.replace('"failure": ""', '"failure": "it says so"'),
    ]


def test_a_damaged_record_is_no_result(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    trainings: Trainings,
    capsys: pytest.CaptureFixture,
) -> None:
    trials = trials_of(dataset, split, "random", tmp_path, workers=3)
    (first, *_) = next_round(trials)
    whole = finish(trials, first.number, first.proposal)
    (path,) = tmp_path.rglob("trial-*.json")
    record = path.read_text()
    for damaged in _damaged(record, whole):
        assert damaged != record
        path.write_bytes(damaged.encode(errors="surrogateescape"))
        capsys.readouterr()
        assert next_round(trials)[0] == first, damaged
        assert capsys.readouterr().out == f"{path.name} is damaged: the trial is trained again\n"
    again = finish(trials, first.number, first.proposal)
    assert again.accuracies == whole.accuracies
    assert next_round(trials)[0] != first


def test_records_of_another_search_stay(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings
) -> None:
    one, other = (trials_of(dataset, split, "random", tmp_path, seed=seed) for seed in (1, 2))
    search(other)
    kept = set(tmp_path.rglob("trial-*.json"))
    one.forget([first.proposal for first in next_round(one)])
    assert set(tmp_path.rglob("trial-*.json")) == kept


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"number": 2, "proposal": {}}]'])
def test_a_round_that_cannot_be_read_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / ROUND).write_text(content)
    with pytest.raises(UserError, match=r"round\.json: .*; run the step that proposes again") as e:
        read_proposal(tmp_path, 1)
    assert "\n" not in str(e.value)


def test_settings_are_what_was_written(tmp_path: Path) -> None:
    settings = Settings(
        architectures=("compact", "xception"), algorithm="grid", trials=3, epochs=2, seed=4
    )
    settings.write(tmp_path)
    assert Settings.open(tmp_path) == settings
    (path,) = tmp_path.iterdir()
    path.write_text("{")
    with pytest.raises(UserError, match="run the step that plans the search again"):
        Settings.open(tmp_path)
