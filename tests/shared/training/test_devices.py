"""Several devices train as one does; here they are virtual ones of the CPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.shared.data.dataset import ImageDataset, Split

ROOT = Path(__file__).parents[3]

# TensorFlow takes virtual devices only before it starts, so a process of its own has them. Each
# network has dropout and batch normalization, compact's recipe augmentation, clipping and averages;
# the parts of a batch are of different sizes. Images are on disk, or, where there is room, on the
# devices.
TRAINED = """
import json, runpy, sys
from pathlib import Path

import numpy as np
import tensorflow as tf

two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)

from components.shared.data.dataset import ImageDataset, Split
from components.shared.networks.hyperparameters import Hyperparameters, Training
from components.shared.training import fit as fitting, hardware

data, split, output, conftest = sys.argv[1:]
tiny_network = runpy.run_path(conftest)["tiny_network"]
dataset = ImageDataset(data)
split = Split.open(split, dataset)
hardware._cpu_multiplies_bfloat16 = lambda: False
ROOM = 10**12
BOTH = ("/device:CPU:0", "/device:CPU:1")

def train(name, architecture, devices, bytes_free=0, epochs=1, state=None):
    hardware.devices = lambda: devices
    hardware.free_memory = lambda device: bytes_free
    values = Hyperparameters(architecture, 0.001, 0.4, augmentation=architecture == "compact")
    training = Training(network=values, epochs=epochs, seed=1, batch_size=10)
    fitted = fitting.fit(dataset, split, training, state=state, network=tiny_network(architecture))
    curve = [[e.loss, e.accuracy, e.val_loss, e.val_accuracy] for e in fitted.history]
    curve.append([fitted.best.val_loss, fitted.best.val_accuracy])
    Path(output, f"{name}.json").write_text(json.dumps(curve))
    np.savez(Path(output, f"{name}.npz"), *fitted.model.get_weights())

train("reference-one", "reference", BOTH[:1], ROOM)
train("reference-both", "reference", BOTH)
train("compact-one", "compact", (), epochs=2)
train("compact-both", "compact", BOTH, epochs=2)

add = fitting._Progress.add

def dying(self, epoch):
    add(self, epoch)
    raise KeyboardInterrupt

fitting._Progress.add, state = dying, Path(output, "state")
try:
    train("", "compact", BOTH, ROOM, 2, state)
except KeyboardInterrupt:
    fitting._Progress.add = add
train("compact-resumed", "compact", BOTH, ROOM, 2, state)
"""


@pytest.fixture(scope="module")
def trained(dataset: ImageDataset, split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the curve and the weights of each training."""
    assert len(split.train) == 36  # batches of 9, which two devices cannot halve
    output = tmp_path_factory.mktemp("trained")
    conftest = Path(__file__).with_name("conftest.py")
    arguments = [dataset.folder, dataset.folder.parent / "split", output, conftest]
    command = [sys.executable, "-W", "error", "-c", TRAINED, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resumed after epoch 1" in done.stdout
    return output


def _curve(trained: Path, name: str) -> list[Any]:
    curve = json.loads((trained / f"{name}.json").read_text())
    return [figure for epoch in curve for figure in epoch]


def _same_weights(trained: Path, one: str, other: str) -> bool:
    with np.load(trained / f"{one}.npz") as a, np.load(trained / f"{other}.npz") as b:
        return a.files == b.files and all(np.array_equal(a[name], b[name]) for name in a.files)


@pytest.mark.parametrize("architecture", ["compact", "reference"])
def test_two_devices_have_the_curve_of_one(trained: Path, architecture: str) -> None:
    one, both = (_curve(trained, f"{architecture}-{name}") for name in ("one", "both"))
    np.testing.assert_allclose(both, one, rtol=1e-4)
    assert not _same_weights(trained, f"{architecture}-one", f"{architecture}-both")  # two did it


def test_images_on_the_devices_and_a_kill_change_nothing(trained: Path) -> None:
    assert _curve(trained, "compact-resumed") == _curve(trained, "compact-both")
    assert _same_weights(trained, "compact-both", "compact-resumed")
