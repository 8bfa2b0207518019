"""A registered model's folder, made by hand: what serving may rely on, and no more."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.checksums import write_sums

METADATA = {
    "name": "brain-tumor",
    "version": 7,
    "classes": ["Brain Tumor", "Healthy"],
    "positive_class": "Brain Tumor",
    "threshold": 0.25,
    "more": "of no interest here",
}


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes a folder whose digests fit, whatever its content."""

    def make(labels: Any = METADATA["classes"], **changes: Any) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"")
        (folder / "labels.json").write_text(json.dumps(labels))
        (folder / "metadata.json").write_text(json.dumps(METADATA | changes))
        write_sums(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that says P(Healthy) = brightness, of version 7 and threshold 0.25."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("model")
    module = tf.Module()
    module.scale = tf.Variable(1 / 255)

    @tf.function(input_signature=[tf.TensorSpec((None, 150, 150, 3), tf.uint8, name="images")])
    def answer(images: Any) -> dict[str, Any]:
        light = tf.reduce_mean(tf.cast(images, tf.float32), axis=(1, 2, 3))
        return {"probability_healthy": light * module.scale}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": answer})
    (folder / "labels.json").write_text(json.dumps(METADATA["classes"]))
    (folder / "metadata.json").write_text(json.dumps(METADATA))
    write_sums(folder)
    return folder
