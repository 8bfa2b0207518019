"""The classifier on a model whose answer is plain to see: the image's brightness."""

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.shared.errors import UserError
from components.shared.images.decode import ImageError
from components.shared.model_folder.checksums import write_sums
from serving.classifier import Classifier, Prediction, find_files

_ROOT = Path(__file__).parents[2]


def _image(brightness: int, kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, brightness).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def classifier(model_folder: Path) -> Classifier:
    return Classifier(model_folder)


def test_importing_it_is_light() -> None:
    code = (
        "import sys, serving.classifier\n"
        "heavy = {'tensorflow', 'keras', 'components.register', 'kfp'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)


def test_the_threshold_of_the_model_decides(classifier: Classifier) -> None:
    images = np.zeros((3, 150, 150, 3), np.uint8)
    images[0], images[1], images[2] = 51, 178, 204  # P(Healthy) 0.2, 0.698, 0.8
    sick, doubtful, healthy = classifier.classify(images)
    assert sick.label == doubtful.label == "Brain Tumor"
    assert healthy.label == "Healthy"
    assert sick.probability == pytest.approx(0.8, abs=1e-5)
    assert doubtful.probability == pytest.approx(1 - 178 / 255, abs=1e-5)
    assert healthy.probability == pytest.approx(0.8, abs=1e-5)
    assert list(healthy.probabilities) == ["Brain Tumor", "Healthy"]
    assert sum(healthy.probabilities.values()) == pytest.approx(1)
    assert (healthy.threshold, healthy.model_version) == (0.25, 7)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_changes_nothing(classifier: Classifier, batch_size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 150, 150, 3), dtype=np.uint8)
    found = [p.probabilities["Healthy"] for p in classifier.classify(images, batch_size)]
    np.testing.assert_allclose(found, images.mean((1, 2, 3)) / 255, atol=1e-5)


def test_what_is_no_number_is_no_answer(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"probability_healthy": np.array([0.5, np.nan], np.float32)}
    monkeypatch.setattr(classifier.runtime, "classify", lambda images: broken)
    with pytest.raises(RuntimeError, match="not a number"):
        classifier.classify(np.zeros((2, 150, 150, 3), np.uint8))


def test_a_heat_map_comes_with_its_prediction(classifier: Classifier) -> None:
    images = np.zeros((2, 150, 150, 3), np.uint8)
    images[1] = 204
    (dark, cold), (light, warm) = classifier.explain(images)
    assert (dark.label, light.label) == ("Brain Tumor", "Healthy")
    assert cold.max() == 0
    np.testing.assert_allclose(warm, 0.8, atol=1e-5)


def test_no_images_no_predictions(classifier: Classifier) -> None:
    assert classifier.classify(np.empty((0, 150, 150, 3), np.uint8)) == []
    assert list(classifier.classify_files([])) == []


@pytest.mark.parametrize(
    ("images", "batch_size"),
    [
        (np.zeros((1, 150, 150, 3), np.float32), 1),
        (np.zeros((150, 150, 3), np.uint8), 1),
        (np.zeros((1, 150, 150, 1), np.uint8), 1),
        (np.zeros((1, 150, 150, 3), np.uint8), 0),
    ],
)
def test_other_arrays_are_refused(
    classifier: Classifier, images: np.ndarray, batch_size: int
) -> None:
    with pytest.raises(ValueError, match=r"not uint8|at least 1"):
        classifier.classify(images, batch_size)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_files_keep_their_order_and_bad_ones_their_reason(
    classifier: Classifier, tmp_path: Path, batch_size: int
) -> None:
    folder = tmp_path / "scans"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "b.png").write_bytes(_image(255))
    (folder / "a.jpg").write_bytes(_image(0, "JPEG"))
    (folder / "c.tif").write_bytes(b"no image")
    (folder / "deep" / "er" / "d.tif").write_bytes(_image(255, "TIFF"))
    (folder / "deep" / "e.png").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "link.png").symlink_to(folder / "b.png")
    (folder / "loop").symlink_to(folder)
    single = tmp_path / "single.png"
    single.write_bytes(_image(0))

    found = list(
        classifier.classify_files([single, str(folder), tmp_path / "none.png"], batch_size)
    )
    assert [path for path, _ in found] == [
        single,
        folder / "a.jpg",
        folder / "b.png",
        folder / "c.tif",
        folder / "deep" / "e.png",
        folder / "deep" / "er" / "d.tif",
        tmp_path / "none.png",
    ]
    shown = [r.label if isinstance(r, Prediction) else r.reason for _, r in found]
    assert shown == [
        "Brain Tumor", "Brain Tumor", "Healthy", "format", "empty", "Healthy", "unreadable",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_read_is_told(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    ((path, result),) = classifier.classify_files([tmp_path])
    assert path == tmp_path / "locked"
    assert str(result) == "unreadable: a folder that cannot be read"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(classifier: Classifier, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert list(find_files([tmp_path])) == []
    ((_, result),) = classifier.classify_files([tmp_path / "pipe"])
    assert isinstance(result, ImageError)


def test_a_huge_file_is_not_read_whole(classifier: Classifier, tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no room
    ((_, result),) = classifier.classify_files([tmp_path])
    assert isinstance(result, ImageError)
    assert result.reason == "too-large"


def test_it_reads_ahead_no_further_than_one_batch(classifier: Classifier, tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i:02}.png").write_bytes(_image(255))
    taken = []

    def paths():
        for path in sorted(tmp_path.iterdir()):
            taken.append(path)
            yield path

    results = classifier.classify_files(paths(), batch_size=4)
    next(results)
    assert len(taken) <= 8
    results.close()


def test_a_damaged_model_is_never_loaded(model_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model_folder.rglob("*"):
        target = copy / path.relative_to(model_folder)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(path.read_bytes())
    (copy / "saved_model.pb").write_bytes(b"harm" + (copy / "saved_model.pb").read_bytes())
    with pytest.raises(UserError, match=r"saved_model\.pb has changed"):
        Classifier(copy)
    write_sums(copy)  # now the digests fit, and still it is no SavedModel
    with pytest.raises(UserError, match="cannot load the SavedModel") as caught:
        Classifier(copy)
    assert "\n" not in str(caught.value)


def test_a_model_of_another_signature_is_refused(make_folder: Callable[..., Path]) -> None:
    import tensorflow as tf

    folder = make_folder()
    holder = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def other(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x}

    tf.saved_model.save(holder, str(folder), signatures={"serving_default": other})
    write_sums(folder)
    with pytest.raises(UserError, match="does not map images to probability_healthy"):
        Classifier(folder)
