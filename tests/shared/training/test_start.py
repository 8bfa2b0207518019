"""A training that starts from a version's weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.model_folder.known_images import ImagesOfDataset
from components.shared.model_folder.weights import write_weights
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.networks.network import Network
from components.shared.networks.start import Start
from components.shared.training.fit import fit
from components.shared.training.start import held_out_seen
from components.shared.training.trainer import train, training_record
from tests.shared.training.conftest import tiny_cnn

# So small a rate that a training ends where it started.
STANDING = Hyperparameters("reference", 1e-12, 0.2, augmentation=False)


def start(folder: Path, digest: str = "a" * 64) -> Start:
    return Start(
        version="brain-tumor 7",
        digest=digest,
        split_digest="b" * 64,
        architecture="reference",
        dense=128,
        folder=folder,
    )


@pytest.fixture
def before(tmp_path: Path) -> keras.Model:
    """A network of weights that no seed below gives, kept as a version keeps them."""
    keras.utils.set_random_seed(99)
    model = tiny_cnn()
    write_weights(tmp_path, model.get_weights())
    return model


def test_it_starts_from_the_versions_weights(
    dataset: ImageDataset, split: Split, tiny: Network, tmp_path: Path, before: keras.Model
) -> None:
    training = Training(network=STANDING, epochs=1, seed=3, start=start(tmp_path))
    model = fit(dataset, split, training, network=tiny).model
    fresh = fit(dataset, split, replace(training, start=None), network=tiny).model
    moved = [v.path.rpartition("/")[2].startswith("moving") for v in model.weights]
    assert sum(moved) == 2  # of the normalization, which follow the images
    for found, kept, follows in zip(model.get_weights(), before.get_weights(), moved, strict=True):
        if not follows:
            np.testing.assert_allclose(found, kept, atol=1e-6)
    assert not np.allclose(model.get_weights()[0], fresh.get_weights()[0], atol=1e-3)


def test_the_record_says_where_it_started(
    dataset: ImageDataset, split: Split, tiny: Network, tmp_path: Path, before: keras.Model
) -> None:
    training = Training(network=STANDING, epochs=1, start=start(tmp_path))
    ImagesOfDataset.of(dataset).write(tmp_path)
    folders = {"output": tmp_path / "out", "report": tmp_path / "r.html", "state": tmp_path / "s"}
    fitted = train(dataset, split, training, network=tiny, **folders)
    record = training_record(dataset, split, training, fitted)
    assert (record.from_model, record.from_model_digest) == ("brain-tumor 7", "a" * 64)
    assert record.from_model_seen == len(split.held_out)
    kept = ImagesOfDataset.open(tmp_path / "out")  # for who registers and judges the model
    assert kept is not None
    assert kept.files == {image.sha256 for image in dataset.manifest.images}
    assert training.settings["from_model"] == "brain-tumor 7"
    assert "from_model" not in replace(training, start=None).settings
    assert "brain-tumor 7" in (tmp_path / "r.html").read_text()


def test_work_of_another_version_is_not_gone_on_with(tmp_path: Path) -> None:
    one, other, elsewhere = (
        Training(network=STANDING, epochs=1, start=version)
        for version in (start(tmp_path), start(tmp_path, "c" * 64), start(Path("/elsewhere")))
    )
    assert repr(one) != repr(other)
    assert repr(one) == repr(elsewhere)


def test_a_version_that_does_not_fit_is_one_line(tmp_path: Path, before: keras.Model) -> None:
    with pytest.raises(UserError, match="is the network reference, and compact is to be trained"):
        Training(network=Hyperparameters("compact"), epochs=1, start=start(tmp_path))


def test_another_size_is_one_line(
    dataset: ImageDataset, split: Split, tiny: Network, tmp_path: Path, before: keras.Model
) -> None:
    smaller = Training(network=replace(STANDING, dense=64), epochs=1, start=start(tmp_path))
    with pytest.raises(UserError, match=r"^from_model brain-tumor 7: .*weights, and the network"):
        fit(dataset, split, smaller, network=tiny)


@pytest.mark.parametrize(
    ("seen", "note"),
    [
        (None, "the training started from brain-tumor 7, which may have seen some of these"),
        (3, "the training started from brain-tumor 7, whose own dataset has copies of 3 of these"),
        (0, ""),
    ],
)
def test_held_out_images_that_the_start_may_have_seen_are_told(
    split: Split, make_training_record: Callable, seen: int | None, note: str
) -> None:
    started = {"from_model": "brain-tumor 7", "from_model_digest": "a" * 64}
    record = make_training_record(split, **started, from_model_seen=seen)
    assert record.start_note()[: len(note)] == note
    assert bool(record.start_note()) is bool(note)
    assert make_training_record(split).start_note() == ""


def test_copies_of_held_out_images_in_the_versions_dataset_are_counted(
    dataset: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = start(tmp_path)
    assert held_out_seen(dataset, split, version) is None  # it keeps nothing
    ImagesOfDataset.of(dataset).write(tmp_path)
    assert held_out_seen(dataset, split, version) == len(split.held_out)
    assert held_out_seen(dataset, split, replace(version, split_digest=split.digest())) == 0
    one = np.arange(len(dataset)) == split.held_out[0]  # of a group of two
    learned = np.arange(len(dataset)) == split.train[0]
    for copies, seen in ((one, 2), (learned, 0), (one | learned, 2)):
        monkeypatch.setattr(ImagesOfDataset, "find", lambda *_, copies=copies: (copies, ~one & one))
        assert held_out_seen(dataset, split, version) == seen
