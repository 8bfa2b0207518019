import csv
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.start import Start
from components.shared.networks.table import network
from components.shared.training.fit import DivergedError, Fit
from components.tune import trial as training
from components.tune.logic import best_trial, search
from components.tune.settings import Algorithm
from components.tune.trial import Trial
from components.tune.tuner import trials_csv, tune
from tests.tune.searches import EPOCHS, TRIALS, Trainings, accuracy, trials_of, walk_of

ALGORITHMS = get_args(Algorithm)
ROOT = Path(__file__).parents[2]


def _search(*arguments: Any, **changed: Any) -> list[Trial]:
    return search(trials_of(*arguments, **changed))


def _break_training(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: object, **__: object) -> Fit:
        raise error

    monkeypatch.setattr(training, "fit", broken)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_finds_the_best(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings, algorithm: str
) -> None:
    done = _search(dataset, split, algorithm, tmp_path)
    assert len(done) == len(trainings.runs)
    assert len(done) == TRIALS if algorithm != "hyperband" else len(done) > TRIALS
    best = best_trial(done)
    assert best.score == max(accuracy(t.values, t.epochs) for t in done)
    assert best.epochs == EPOCHS
    assert len({(t.values, t.epochs) for t in done}) == len(done)


def test_hyperband_trains_the_promising_longer(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings
) -> None:
    done = _search(dataset, split, "hyperband", tmp_path)
    assert sorted({trial.epochs for trial in done}) == [1, 3, 9]
    halved = [trial for trial in done if trial.epochs == 1]
    longer = {t.values for t in done if t.epochs == 3} & {t.values for t in halved}
    assert longer
    ranked = sorted((t.score for t in halved), reverse=True)
    assert {t.score for t in halved if t.values in longer} == set(ranked[: len(longer)])


def test_grid_goes_through_everything(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings
) -> None:
    done = _search(dataset, split, "grid", tmp_path, trials=1000)
    assert len({trial.values for trial in done}) == len(done) == 4 * 4 * 3 * 2
    best = best_trial(done).values
    assert best == Hyperparameters("reference", 0.001, 0.2, 128, augmentation=True)


def test_what_was_tried_is_not_trained_again(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    trainings: Trainings,
    capsys: pytest.CaptureFixture,
) -> None:
    done = _search(dataset, split, "bayesian", tmp_path, ("compact",), trials=16)
    repeats = len(done) - len({(t.values, t.epochs) for t in done})
    assert repeats > 0
    assert len(trainings.runs) == len(done) - repeats
    told = capsys.readouterr().out
    assert told.count("the same as trial") == repeats
    assert "resumed" not in told


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_chooses_among_architectures(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings, algorithm: str
) -> None:
    both = ("reference", "compact")
    trials = 105 if algorithm == "grid" else 20
    done = _search(dataset, split, algorithm, tmp_path, both, trials=trials)
    assert {trial.values.architecture for trial in done} == set(both)
    best = best_trial(done)
    assert best.values.architecture == "compact"
    for trial in done:  # each searches what suits it, and keeps its own for the rest
        compact = trial.values.architecture == "compact"
        assert (
            trial.values.learning_rate
            in network(trial.values.architecture).recipe.space["learning_rate"]
        )
        assert not compact or (trial.values.augmentation and trial.values.dense == 128)
    if algorithm == "grid":
        assert len(done) == 4 * 4 * 3 * 2 + 3 * 3


def test_weights_to_start_from_decide_the_size_of_the_network(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings
) -> None:
    start = Start(
        version="brain-tumor 2",
        digest="a",
        split_digest="b",
        architecture="reference",
        dense=64,
        folder=tmp_path,
    )
    done = _search(dataset, split, "grid", tmp_path, trials=1000, start=start)
    assert len({trial.values for trial in done}) == len(done) == 4 * 4 * 2
    assert {trial.values.dense for trial in done} == {64}
    again = _search(dataset, split, "grid", tmp_path, trials=3, start=replace(start, digest="c"))
    assert len(trainings.runs) == len(done) + len(again)
    with pytest.raises(UserError, match="from_model brain-tumor 2: is the network reference, and"):
        _search(dataset, split, "grid", tmp_path, ("compact",), start=start)


def test_an_unknown_architecture(dataset: ImageDataset, split: Split, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'vgg' is not an architecture; give compact, efficientnet"):
        _search(dataset, split, "random", tmp_path, ("compact", "vgg"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_seed_decides_thewalk_of(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings, algorithm: str
) -> None:
    walks = [
        walk_of(_search(dataset, split, algorithm, tmp_path / name, seed=seed))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert walks[0] == walks[1]
    if algorithm != "grid":
        assert walks[0] != walks[2]


def test_executions_have_seeds_of_their_own_and_their_mean_counts(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings
) -> None:
    done = _search(dataset, split, "random", tmp_path, trials=2, executions=3, seed=5)
    assert [seed for _, _, seed in trainings.runs] == [5, 6, 7] * 2
    for trial in done:
        assert len(trial.accuracies) == 3
        assert trial.score == pytest.approx(accuracy(trial.values, EPOCHS) + 0.0006)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_diverging_trial_is_recorded_and_the_search_goes_on(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    trainings: Trainings,
    algorithm: str,
) -> None:
    trainings.diverging = (0.1, 0.01)
    trials = 96 if algorithm == "grid" else 20  # the grid varies dropout and dense slowest
    done = _search(dataset, split, algorithm, tmp_path, trials=trials)
    failed = [trial for trial in done if trial.failure]
    assert {trial.values.learning_rate for trial in failed} == {0.1, 0.01}
    assert all(trial.score is None for trial in failed)
    assert not best_trial(done).failure
    assert len(done) == trials if algorithm != "hyperband" else len(done) > TRIALS
    # Failures are remembered as well: they would diverge again.
    count = len(trainings.runs)
    assert walk_of(_search(dataset, split, algorithm, tmp_path, trials=trials)) == walk_of(done)
    assert len(trainings.runs) == count


def test_a_trial_of_which_one_execution_diverged_failed(
    dataset: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Trainings()

    def second_diverges(dataset: ImageDataset, split: Split, training: Training) -> Fit:
        if training.seed == 1:
            raise DivergedError("the loss is not a number")
        return plain(dataset, split, training)

    monkeypatch.setattr(training, "fit", second_diverges)
    with pytest.raises(UserError, match="all 1 trials failed"):
        _search(dataset, split, "random", tmp_path, trials=1, executions=3)
    assert len(plain.runs) == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_all_failed(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings, algorithm: str
) -> None:
    trainings.diverging = (0.1, 0.01, 0.001, 0.0001)
    with pytest.raises(UserError, match=r"all \d+ trials failed.*not a number at 0\.") as error:
        _search(dataset, split, algorithm, tmp_path)
    assert "\n" not in str(error.value)
    assert len(trainings.runs) >= TRIALS


def test_what_was_not_expected_is_not_taken_for_a_failed_trial(
    dataset: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_training(monkeypatch, RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        _search(dataset, split, "random", tmp_path)
    assert not list(tmp_path.rglob("trial-*"))


def test_a_network_that_cannot_be_built_is_told_in_a_line(
    dataset: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_training(monkeypatch, UserError("xception: cannot get ImageNet weights"))
    with pytest.raises(UserError, match=r"^xception: cannot get ImageNet weights$"):
        _search(dataset, split, "random", tmp_path)


@pytest.mark.parametrize(
    ("name", "changed"),
    [("max_trials", "trials"), ("tune_epochs", "epochs"), ("executions_per_trial", "executions")],
)
def test_numbers_below_one(
    dataset: ImageDataset, split: Split, tmp_path: Path, name: str, changed: str
) -> None:
    with pytest.raises(UserError, match=f"^{name} is 0: give at least 1$"):
        _search(dataset, split, "random", tmp_path, **{changed: 0})


def test_an_unknown_algorithm(dataset: ImageDataset, split: Split, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'gird' is not an algorithm; give random, bayesian"):
        _search(dataset, split, "gird", tmp_path)


@pytest.mark.parametrize(
    "changed", [{"seed": 1}, {"executions": 2}, {"epochs": EPOCHS + 1}], ids=str
)
def test_a_trial_of_other_settings_is_not_recalled(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    trainings: Trainings,
    changed: dict[str, int],
) -> None:
    _search(dataset, split, "grid", tmp_path, trials=2)
    trainings.runs.clear()
    _search(dataset, split, "grid", tmp_path, trials=2, **changed)
    assert len(trainings.runs) == 2 * changed.get("executions", 1)


def test_a_trial_of_other_data_is_not_recalled(
    dataset: ImageDataset, split: Split, by_name: Split, tmp_path: Path, trainings: Trainings
) -> None:
    _search(dataset, split, "grid", tmp_path, trials=2)
    _search(dataset, by_name, "grid", tmp_path, trials=2)
    assert len(trainings.runs) == 4


def test_more_trials_than_before_run_only_the_new_ones(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings
) -> None:
    first = _search(dataset, split, "random", tmp_path, trials=4)
    again = _search(dataset, split, "random", tmp_path, trials=6)
    assert walk_of(again)[:4] == walk_of(first)
    assert len(trainings.runs) == 6


# One process each, killed in the middle of a training. TensorFlow is imported once and not
# started before the fork.
KILLED = """
import os, runpy, signal, sys
from pathlib import Path
from components.shared.data.dataset import ImageDataset, Split
from components.tune import trial as training

data, split, root, here = sys.argv[1:]
test = runpy.run_path(here)
dataset = ImageDataset(data)
parts = Split.open(split, dataset)

def dying(log):
    trainings = test["Trainings"](diverging=(0.1,))
    def fit(*arguments, **options):
        with log.open("a") as file:
            print("training", file=file)
        if len(trainings.runs) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return trainings(*arguments, **options)
    return fit

for algorithm in test["ALGORITHMS"]:
    state = Path(root, algorithm)
    state.mkdir()
    child = os.fork()
    if not child:
        training.fit = dying(state / "log")
        training.keras.backend.clear_session = lambda: None  # would start TensorFlow
        test["_search"](dataset, parts, algorithm, state)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(algorithm, os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture(scope="module")
def killed(
    dataset: ImageDataset, split: Split, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, int]]:
    """Folder with the state of a killed search of each algorithm, and how each ended."""
    root = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", KILLED, dataset.folder, dataset.folder.parent / "split", root]
    done = subprocess.run(
        [*map(str, command), __file__], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ends = [line.split() for line in done.stdout.splitlines()]
    return root, {line[0]: int(line[1]) for line in ends if line[0] in ALGORITHMS}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_killed_search_goes_on_where_it_was(
    dataset: ImageDataset,
    split: Split,
    tmp_path: Path,
    killed: tuple[Path, dict[str, int]],
    trainings: Trainings,
    capsys: pytest.CaptureFixture,
    algorithm: str,
) -> None:
    root, ends = killed
    assert ends[algorithm] == -signal.SIGKILL
    state = root / algorithm
    assert (state / "log").read_text().count("training") == 7  # the seventh was killed
    assert len(list(state.rglob("trial-*.json"))) == 6

    trainings.diverging = (0.1,)
    unbroken = _search(dataset, split, algorithm, tmp_path)
    trainings.runs.clear()
    capsys.readouterr()
    resumed = _search(dataset, split, algorithm, state)

    assert walk_of(resumed) == walk_of(unbroken)
    assert len(trainings.runs) == len(unbroken) - 6
    finished = {(t.values, t.epochs) for t in unbroken[:6]}
    assert not finished & {(values, epochs) for values, epochs, _ in trainings.runs}
    assert capsys.readouterr().out.count("finished before the run was resumed") == 6


def test_a_record_beside_its_place_is_no_record(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings
) -> None:
    _search(dataset, split, "grid", tmp_path, trials=1)
    (record,) = tmp_path.rglob("trial-*.json")
    half = record.with_name(f".{record.name}.{os.getpid()}")
    half.write_text(record.read_text()[:20])
    record.unlink()
    done = _search(dataset, split, "grid", tmp_path, trials=1)
    assert len(trainings.runs) == 2
    assert json.loads(record.read_text())["accuracies"] == list(done[0].accuracies)


def _trial(**changed: Any) -> Trial:
    facts = {
        "values": Hyperparameters(),
        "epochs": 5,
        "accuracies": (),
        "losses": (),
        "seconds": 1.0,
    }
    return Trial(**facts | changed)


def test_equal_accuracy_is_decided_by_the_loss() -> None:
    low, high = (
        _trial(values=Hyperparameters(dropout=dropout), accuracies=(0.9,), losses=(loss,))
        for dropout, loss in ((0.2, 0.3), (0.4, 0.5))
    )
    failed = _trial(failure="the loss is not a number")
    assert best_trial([failed, high, low]) is low


@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_every_trial_is_shown(
    dataset: ImageDataset, split: Split, tmp_path: Path, trainings: Trainings, algorithm: str
) -> None:
    trainings.diverging = (0.1, 0.01)
    output, report, state = tmp_path / "trials", tmp_path / "report.html", tmp_path / "state"
    trials = trials_of(dataset, split, algorithm, state, executions=2)
    values, done = tune(trials, split, output=output, report=report)
    assert values == best_trial(done).values
    assert any(trial.failure for trial in done)

    rows = list(csv.DictReader((output / "trials.csv").read_text().splitlines()))
    assert len(rows) == len(done)
    for number, (row, trial) in enumerate(zip(rows, done, strict=True), start=1):
        assert row["trial"] == str(number)
        assert float(row["learning_rate"]) == trial.values.learning_rate
        assert row["augmentation"] == str(trial.values.augmentation)
        assert row["failure"] == trial.failure
        assert row["val_accuracy"] == ("" if trial.score is None else str(trial.score))

    html = report.read_text()
    assert html.count("<tr><td") == len(done)
    assert html.count("the loss is not a number at 0.") == sum(1 for t in done if t.failure)
    assert html.count("<b>best</b>") == 1
    assert '<svg role="img"' in html
    for outside in ("http://", "https://", "<script src", "<link"):
        assert outside not in html
    assert len(html) < 2_000_000
    assert not list(state.iterdir()) if state.exists() else True


def test_a_failure_is_escaped_in_the_report(
    dataset: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Trainings()

    def hostile(*arguments: Any) -> Fit:
        if not plain.runs:
            plain.runs.append(arguments)  # type: ignore[arg-type]
            raise DivergedError("<script>alert(1)</script>")
        return plain(*arguments)

    monkeypatch.setattr(training, "fit", hostile)
    report = tmp_path / "report.html"
    trials = trials_of(dataset, split, "grid", tmp_path / "s", trials=2, epochs=1)
    tune(trials, split, output=tmp_path / "t", report=report)
    assert "<script>alert" not in report.read_text()
    assert "&lt;script&gt;alert" in report.read_text()


def test_csv_keeps_failures_with_commas_in_one_cell() -> None:
    failed = _trial(failure='one, "two"')
    (row,) = csv.DictReader(io.StringIO(trials_csv([failed])))
    assert row["failure"] == 'one, "two"'
    assert row["val_accuracy"] == row["val_loss"] == ""
