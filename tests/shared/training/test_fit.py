import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.data.dataset import ImageDataset, Split
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.recipe import AS_PUBLISHED, FOR_UNSEEN, Recipe
from components.shared.training import fit as fitting
from components.shared.training.fit import DivergedError, Epoch, Fit, fit
from tests.shared.training.conftest import tiny_network

ALL_ON = Hyperparameters("reference", 0.01, 0.4, 128, augmentation=True)
PLAIN = Hyperparameters("reference", 0.01, 0.2, augmentation=False)
# What is trained is tiny all the same; its recipe has a schedule, averages and weights.
UNSEEN = Hyperparameters("compact", 0.01, 0.2)
ROOT = Path(__file__).parents[3]
ARCHITECTURES = ("reference", "compact")

# A process for each architecture, which dies in the middle of an epoch: of 3 reads an epoch (2 of
# training, 1 of validation) the 8th is of training in epoch 3. TensorFlow is imported once and not
# started before the fork.
KILLED = """
import os, runpy, signal, sys
from pathlib import Path
from components.shared.data.dataset import ImageDataset, Split
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.training.fit import fit

class Dying(ImageDataset):
    reads = 0

    def read(self, *arguments):
        Dying.reads += 1
        if Dying.reads == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(*arguments)

data, split, root, conftest, *architectures = sys.argv[1:]
tiny_network = runpy.run_path(conftest)["tiny_network"]

for architecture in architectures:
    child = os.fork()
    if not child:
        os.dup2(os.open(Path(root, f"{architecture}.log"), os.O_WRONLY | os.O_CREAT), 1)
        dataset = Dying(data)
        training = Training(network=Hyperparameters(architecture, 0.01, 0.4), epochs=5, seed=1)
        state, network = Path(root, architecture), tiny_network(architecture)
        fit(dataset, Split.open(split, dataset), training, state=state, network=network)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(architecture, os.waitstatus_to_exitcode(status), flush=True)
"""


def _fit(
    dataset: ImageDataset,
    split: Split,
    network: Hyperparameters,
    epochs: int,
    state: Path | None = None,
    recipe: Recipe | None = None,
    **told: int,
) -> Fit:
    training = Training(network=network, epochs=epochs, **told)
    tiny = tiny_network(network.architecture)
    tiny = replace(tiny, recipe=recipe or tiny.recipe)
    return fit(dataset, split, training, state=state, network=tiny)


def _same(one: Fit, other: Fit) -> bool:
    pairs = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _figures(fitted: Fit) -> list[tuple[float, ...]]:
    return [(e.loss, e.accuracy, e.val_loss, e.val_accuracy) for e in fitted.history]


@pytest.fixture(scope="module")
def killed(
    dataset: ImageDataset, split: Split, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, int]]:
    """Folder with the state of a killed training of each architecture, and how each ended."""
    root = tmp_path_factory.mktemp("killed")
    folders = [dataset.folder, dataset.folder.parent / "split", root]
    conftest = Path(__file__).with_name("conftest.py")
    command = [sys.executable, "-c", KILLED, *folders, conftest, *ARCHITECTURES]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=True
    )
    ends = (line.split() for line in done.stdout.splitlines())
    return root, {architecture: int(status) for architecture, status in ends}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_killed_run_ends_where_the_unbroken_one_does(
    dataset: ImageDataset,
    split: Split,
    killed: tuple[Path, dict[str, int]],
    capsys: pytest.CaptureFixture,
    architecture: str,
) -> None:
    values = Hyperparameters(architecture, 0.01, 0.4)
    root, ends = killed
    state = root / architecture
    assert ends[architecture] == -signal.SIGKILL
    assert (root / f"{architecture}.log").read_text().count(" epochs ") == 2

    unbroken = _fit(dataset, split, values, 5, seed=1)
    capsys.readouterr()
    resumed = _fit(dataset, split, values, 5, seed=1, state=state)

    assert "resumed after epoch 2" in capsys.readouterr().out
    assert _figures(resumed) == _figures(unbroken)
    assert resumed.best.epoch == unbroken.best.epoch
    assert _same(resumed, unbroken)


def test_the_seed_decides(dataset: ImageDataset, split: Split) -> None:
    first = _fit(dataset, split, ALL_ON, 2, seed=4)
    keras.utils.set_random_seed(77)
    assert _same(first, _fit(dataset, split, ALL_ON, 2, seed=4))
    assert not _same(first, _fit(dataset, split, ALL_ON, 2, seed=5))


def test_keeping_state_changes_nothing(dataset: ImageDataset, split: Split, tmp_path: Path) -> None:
    kept = _fit(dataset, split, PLAIN, 2, state=tmp_path / "state")
    assert _same(kept, _fit(dataset, split, PLAIN, 2))
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["checkpoint.npz"]


def test_a_finished_run_trains_no_more(dataset: ImageDataset, split: Split, tmp_path: Path) -> None:
    first = _fit(dataset, split, PLAIN, 2, state=tmp_path)
    again = _fit(dataset, split, PLAIN, 2, state=tmp_path)
    assert again.history == first.history
    assert _same(first, again)


def test_the_best_epoch_is_kept(dataset: ImageDataset, split: Split) -> None:
    fitted = _fit(dataset, split, PLAIN, 4)
    expected = max(fitted.history, key=lambda e: (e.val_accuracy, -e.val_loss))
    assert fitted.best == expected
    shorter = _fit(dataset, split, PLAIN, fitted.best.epoch)
    assert _same(fitted, shorter)
    images = dataset.read(split.part("validation"))
    answers = fitted.model.predict(images, verbose=0)[:, 0] > 0.5
    accuracy = np.mean(answers == dataset.labels[split.part("validation")])
    assert accuracy == pytest.approx(fitted.best.val_accuracy, abs=0.1)


def test_the_last_epochs_are_averaged(
    dataset: ImageDataset, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    after: list[list[np.ndarray]] = []
    add = fitting._Progress.add

    def noting(self: fitting._Progress, epoch: Epoch) -> None:
        after.append(self.model.get_weights())
        add(self, epoch)

    monkeypatch.setattr(fitting._Progress, "add", noting)
    recipe = replace(FOR_UNSEEN, averaged_epochs=0.5, refit_head=False)
    fitted = _fit(dataset, split, UNSEEN, 6, recipe=recipe)
    assert len(after) == 6
    assert fitted.averaged_epochs == 3
    for kept, *last in zip(fitted.model.get_weights(), *after[-3:], strict=True):
        np.testing.assert_allclose(kept, np.mean(last, axis=0), atol=1e-5)
    # Its figures are the average's, not the last epoch's.
    assert fitted.best.epoch == 6
    assert fitted.best.val_loss != fitted.history[-1].val_loss
    indices = split.part("validation")
    probability = fitted.model.predict(dataset.read(indices), verbose=0)[:, 0]
    accuracy = np.mean((probability > 0.5) == dataset.labels[indices])
    assert fitted.best.val_accuracy == pytest.approx(accuracy)


def test_a_run_stopped_before_the_average_keeps_its_best(
    dataset: ImageDataset, split: Split
) -> None:
    still = replace(PLAIN, learning_rate=1e-12)
    recipe = replace(AS_PUBLISHED, averaged_epochs=0.3)
    fitted = _fit(dataset, split, still, 30, patience=2, recipe=recipe)
    assert len(fitted.history) == fitted.best.epoch + 2
    assert fitted.averaged_epochs == 0


def test_the_part_that_is_held_out_is_never_read(
    dataset: ImageDataset, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[int] = set()
    plain = ImageDataset.read

    def spying(self: ImageDataset, indices: np.ndarray) -> np.ndarray:
        read.update(np.asarray(indices).tolist())
        return plain(self, indices)

    monkeypatch.setattr(ImageDataset, "read", spying)
    _fit(dataset, split, PLAIN, 1)
    assert read == {*split.train, *split.validation}


def test_it_stops_early(dataset: ImageDataset, split: Split) -> None:
    # At this rate nothing is learned that shows, so the first epochs are as good as any.
    still = Hyperparameters("reference", 1e-12, augmentation=False)
    fitted = _fit(dataset, split, still, 30, patience=2)
    assert len(fitted.history) == fitted.best.epoch + 2 < 30


def test_a_resumed_run_stops_where_the_unbroken_one_stops(
    dataset: ImageDataset, split: Split, tmp_path: Path
) -> None:
    still = Hyperparameters("reference", 1e-12, augmentation=False)
    fitted = _fit(dataset, split, still, 30, patience=2, state=tmp_path)
    again = _fit(dataset, split, still, 30, patience=2, state=tmp_path)
    assert again.history == fitted.history


@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_a_loss_that_is_no_number_is_told(
    dataset: ImageDataset, split: Split, tmp_path: Path, rate: float
) -> None:
    with pytest.raises(DivergedError, match=r"in epoch \d+ at learning rate"):
        _fit(dataset, split, replace(PLAIN, learning_rate=rate), 5, state=tmp_path)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_precision_stays_out_of_the_final_model(
    dataset: ImageDataset, split: Split, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr(fitting, "precision", lambda _: policy)
    fitted = _fit(dataset, split, PLAIN, 1)
    assert fitted.precision == policy
    assert keras.config.dtype_policy().name == "float32"
    assert {layer.dtype_policy.name for layer in fitted.model.layers} == {"float32"}
    assert {v.dtype for v in fitted.model.weights} == {"float32"}


def test_augmentation_is_no_part_of_the_final_model(dataset: ImageDataset, split: Split) -> None:
    fitted = _fit(dataset, split, ALL_ON, 1)
    assert type(fitted.model.layers[0]).__name__ == "Rescaling"
    assert fitted.model.name == "tiny"


def test_the_checkpoint_is_data_and_no_code(
    dataset: ImageDataset, split: Split, tmp_path: Path
) -> None:
    fitted = _fit(dataset, split, PLAIN, 1, state=tmp_path)
    with np.load(tmp_path / "checkpoint.npz", allow_pickle=False) as saved:
        record = json.loads(str(saved["record"]))
    assert record[0]["val_loss"] == fitted.best.val_loss


def _epoch(number: int, accuracy: float, loss: float) -> Epoch:
    return Epoch(number, 0.0, 0.0, loss, accuracy, 0.0)


def test_which_epoch_is_better() -> None:
    worse = _epoch(1, 0.8, 0.3)
    assert worse.better_than(None)
    assert _epoch(2, 0.9, 0.5).better_than(worse)
    assert not _epoch(2, 0.7, 0.1).better_than(worse)
    assert _epoch(2, 0.8, 0.2).better_than(worse)
    assert not _epoch(2, 0.8, 0.4).better_than(worse)
    assert not _epoch(2, 0.8, 0.3).better_than(worse)  # of equals the first stays
