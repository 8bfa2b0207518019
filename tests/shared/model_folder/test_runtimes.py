"""OpenVINO and TensorFlow give what Keras gives, for every network, and run nothing else."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import openvino
import pytest
import tensorflow as tf
from keras.export import ExportArchive

from components.shared.errors import UserError
from components.shared.images.decode import SHAPE
from components.shared.model_folder.runtimes import every_runtime, load
from components.shared.model_folder.runtimes.openvino import OpenVinoRuntime
from components.shared.model_folder.runtimes.runtime import Runtime
from components.shared.model_folder.runtimes.tensorflow import TensorFlowRuntime
from components.shared.networks.average import averaged
from components.shared.networks.compact import compact_cnn
from components.shared.networks.efficientnet import efficientnet
from components.shared.networks.gradcam import gradcam
from components.shared.networks.reference import head, reference_cnn

IMAGES = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
SIGNATURE = [tf.TensorSpec((None, *SHAPE), tf.uint8, name="images")]

both = pytest.mark.parametrize("runtime", [OpenVinoRuntime, TensorFlowRuntime])


def xception_untrained() -> keras.Model:
    """Xception without ImageNet's weights, which are out of reach here."""
    backbone = keras.applications.Xception(include_top=False, weights=None, input_shape=SHAPE)
    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            keras.layers.Flatten(),
            *head(0.2, 64),
        ]
    )


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "compact": compact_cnn,
    "efficientnet": efficientnet,
    "reference": reference_cnn,
    "xception": xception_untrained,
    "average": lambda: averaged([decided(compact_cnn()), decided(compact_cnn())], mirrored=True),
}


def decided(model: keras.Model) -> keras.Model:
    """Gives a network weights that decide, and normalizations that keep signals alive."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "normalization" in weight.path or "_bn" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([rng.normal(0, 0.05, kernel.shape), bias])
    return model


def save(folder: Path, answer: Callable, explain: Callable) -> Path:
    """Writes a SavedModel of two functions from images to outputs."""
    archive = ExportArchive()
    archive.add_endpoint("serving_default", answer, input_signature=SIGNATURE)
    archive.add_endpoint("explain", explain, input_signature=SIGNATURE)
    archive.write_out(str(folder), verbose=False)
    return folder


def with_heatmap(answer: Callable) -> Callable:
    return lambda images: {
        **answer(images),
        "heatmap": tf.cast(images[:, ::30, ::30, 0], tf.float32) / 255,
    }


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_answers_and_explains_as_keras_does(network: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = decided(NETWORKS[network]())
    explained = gradcam(model)

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability_healthy": model(images, training=False)[:, 0]}

    def explain(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probability, heatmap, *_ = explained(images)
        return {"probability_healthy": probability, "heatmap": heatmap}

    folder = save(tmp_path / "model", answer, explain)
    probability, heatmap, *_ = (value.numpy() for value in explained(IMAGES))
    assert heatmap.max() == pytest.approx(1)
    for runtime in every_runtime(folder):
        found = runtime.explain(IMAGES)
        np.testing.assert_allclose(found["heatmap"], heatmap, atol=1e-4, err_msg=runtime.name)
        for outputs in (found, runtime.classify(IMAGES)):
            np.testing.assert_allclose(outputs["probability_healthy"], probability, atol=1e-5)
        assert runtime.outputs == {"probability_healthy"}


def test_heat_maps_of_gradients_still_work(tmp_path: Path) -> None:
    """So versions explained until heat maps became a forward graph."""
    model = decided(compact_cnn())
    kernel, bias = model.layers[-1].kernel, model.layers[-1].bias
    maps = next(layer for layer in reversed(model.layers) if len(layer.output.shape) == 4)
    features_of = keras.Model(model.inputs[0], maps.output)
    decide = keras.Model(maps.output, model.layers[-1].input)

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability_healthy": model(images, training=False)[:, 0]}

    def explain(images: tf.Tensor) -> dict[str, tf.Tensor]:
        features = features_of(images, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(features)
            logits = decide(features, training=False) @ kernel + bias
            evidence = tf.where(logits > 0, logits, -logits)
        places = tf.reduce_sum(tape.gradient(evidence, features) * features, axis=-1)
        peak = tf.reduce_max(tf.nn.relu(places), axis=(1, 2), keepdims=True)
        heatmap = tf.math.divide_no_nan(tf.nn.relu(places), peak)
        return {"probability_healthy": tf.sigmoid(logits)[:, 0], "heatmap": heatmap}

    folder = save(tmp_path / "model", answer, explain)
    expected = TensorFlowRuntime(folder).explain(IMAGES)
    found = OpenVinoRuntime(folder).explain(IMAGES)
    assert expected["heatmap"].max() == 1
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("axes", [[], [2], [-2], [1, -1], [3, 2, 1]])
def test_axes_are_reversed_alike(axes: list[int], tmp_path: Path) -> None:
    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        bytes_, numbers = tf.reverse(images, axes), tf.cast(images, tf.float32) / 255
        both = (
            tf.cast(bytes_[:, :2, :3, :], tf.float32) / 255 + tf.reverse(numbers, axes)[:, :2, :3]
        )
        return {"probability_healthy": both[:, 0, 0, 0] / 2, "features": tf.reshape(both, (-1, 18))}

    folder = save(tmp_path / "model", answer, with_heatmap(answer))
    found, expected = (
        OpenVinoRuntime(folder).classify(IMAGES),
        TensorFlowRuntime(folder).classify(IMAGES),
    )
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)


def test_openvino_comes_first(tmp_path: Path) -> None:
    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability_healthy": tf.cast(images[:, 0, 0, 0], tf.float32) / 255}

    folder = save(tmp_path / "model", answer, with_heatmap(answer))
    assert isinstance(load(folder), OpenVinoRuntime)
    assert [runtime.name for runtime in every_runtime(folder)] == ["OpenVINO", "TensorFlow"]


def test_openvino_answers_once_while_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that both give the first answer of a process can wait for each other for ever."""

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability_healthy": tf.cast(images[:, 0, 0, 0], tf.float32) / 255}

    folder = save(tmp_path / "model", answer, with_heatmap(answer))
    infer, by = openvino.InferRequest.infer, []

    def told(request: openvino.InferRequest, *given: Any, **options: Any) -> Any:
        by.append(threading.current_thread())
        return infer(request, *given, **options)

    monkeypatch.setattr(openvino.InferRequest, "infer", told)
    load(folder, cpus=2)
    assert by == [threading.main_thread()]


def written(path: str) -> Callable:
    return lambda: tf.io.write_file(path, "written")


def called(path: str) -> Callable:
    return lambda: tf.py_function(lambda: Path(path).write_text("written"), [], [])


def read(path: str) -> Callable:
    return lambda: tf.io.read_file(path)


def printed(path: str) -> Callable:
    return lambda: tf.print("written", output_stream=f"file://{path}")


@pytest.mark.parametrize("hostile", [written, called, read, printed])
def test_openvino_runs_no_operation_that_reaches_out(hostile: Callable, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    attack = hostile(str(victim))

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        reached = attack()
        with tf.control_dependencies([] if reached is None else [reached]):
            probability = tf.cast(images[:, 0, 0, 0], tf.float32) / 255
        if hostile is read:
            probability += tf.cast(tf.strings.length(reached), tf.float32)
        return {"probability_healthy": probability}

    folder = save(tmp_path / "model", answer, with_heatmap(answer))
    victim.unlink(missing_ok=True)
    with suppress(UserError):  # most operations it does not know; others it leaves out
        runtime = OpenVinoRuntime(folder)
        runtime.classify(IMAGES)
        runtime.explain(IMAGES)
    assert not victim.exists()


@both
def test_what_is_no_saved_model_is_told(runtime: type[Runtime], tmp_path: Path) -> None:
    for content in (b"", b"\x12\x03no!", b"\xff" * 1000):
        (tmp_path / "saved_model.pb").write_bytes(content)
        with pytest.raises(UserError, match=r"cannot load the SavedModel|has no signature"):
            runtime(tmp_path)


@both
@pytest.mark.parametrize("damage", ["no-weights", "other-weights"])
def test_missing_weights_are_told(runtime: type[Runtime], damage: str, tmp_path: Path) -> None:
    scale = tf.Variable(np.full((64, 64), 0.5, np.float32))

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.cast(images[:, 0, 0, 0], tf.float32)
        return {"probability_healthy": pixels * tf.reduce_mean(scale)}

    folder = save(tmp_path / "model", answer, with_heatmap(answer))
    for file in (folder / "variables").iterdir():
        if damage == "no-weights":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot load the SavedModel"):
        runtime(folder)


@both
def test_other_signatures_are_told(runtime: type[Runtime], tmp_path: Path) -> None:
    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability": tf.cast(images[:, 0, 0, 0], tf.float32)}

    folder = save(tmp_path / "model", answer, with_heatmap(answer))
    with pytest.raises(UserError, match="does not map images to probability_healthy"):
        runtime(folder)
