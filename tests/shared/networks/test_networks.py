import importlib
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from components.shared.errors import UserError
from components.shared.images.decode import SHAPE
from components.shared.networks import table
from components.shared.networks.compact import compact_cnn
from components.shared.networks.gradcam import gradcam
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.reference import PARAMETERS, REFERENCE, reference_cnn
from components.shared.networks.table import ARCHITECTURES, network


def _reference() -> keras.Model:
    """The architecture as it was published: ReLU in the convolutions, before the pooling."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(32, (3, 3), padding="same", activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), padding="same", activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(64, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def _count(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_it_computes_what_the_reference_architecture_computes() -> None:
    keras.utils.set_random_seed(5)
    model, reference = reference_cnn(), _reference()
    rng = np.random.default_rng(5)
    for layer in reference.layers:
        if isinstance(layer, layers.BatchNormalization):  # not the zeros and ones of a new one
            layer.set_weights([rng.uniform(0.5, 1, w.shape) for w in layer.get_weights()])
    model.set_weights(reference.get_weights())
    images = rng.integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    expected = reference.predict(images / np.float32(255), verbose=0)
    answers = model.predict(images, verbose=0)
    assert answers.shape == (4, 1)
    assert answers.dtype == np.float32
    assert len(np.unique(expected)) == 4
    assert 0.01 < expected.min() < expected.max() < 0.99
    np.testing.assert_allclose(answers, expected, atol=1e-6, rtol=0)


def test_the_parameters_are_counted() -> None:
    model = reference_cnn()
    assert model.count_params() == PARAMETERS == 11_243_457
    assert _count(model.non_trainable_weights) == 384
    assert _count(_reference().weights) == PARAMETERS


def test_dense_and_dropout_are_settable() -> None:
    model = reference_cnn(dropout=0.5, dense=64)
    assert [layer.units for layer in model.layers if isinstance(layer, layers.Dense)] == [64, 32, 1]
    assert {layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)} == {0.5}


def test_the_probability_is_float32_under_any_policy() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = reference_cnn()
    finally:
        keras.config.set_dtype_policy(before)
    assert model.outputs[0].dtype == "float32"
    assert model.inputs[0].dtype == "uint8"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


IMAGES = np.random.default_rng(1).integers(0, 256, (3, *SHAPE), dtype=np.uint8)


def test_one_table_names_them_all() -> None:
    files = Path(table.__file__).parent.glob("*.py")
    assert set(ARCHITECTURES) == {f.stem for f in files if "\nNETWORK = " in f.read_text()}
    assert Hyperparameters().architecture in ARCHITECTURES


@pytest.mark.parametrize(
    "values",
    [Hyperparameters(), Hyperparameters("efficientnet"), REFERENCE],
    ids=lambda v: v.architecture,
)
def test_each_is_of_the_kind_that_the_steps_expect(values: Hyperparameters) -> None:
    model = network(values.architecture).build(values)
    assert model.name == values.architecture
    assert (model.input_shape, model.output_shape) == ((None, *SHAPE), (None, 1))
    assert model.inputs[0].dtype == "uint8"
    assert model.layers[-1].activation is keras.activations.sigmoid
    assert model.predict(IMAGES, verbose=0).shape == (3, 1)
    told = (Path(__file__).parents[3] / "docs/model.md").read_text(encoding="utf-8")
    assert f"| `{values.architecture}` | {model.count_params():,} |" in told


def test_efficientnet_keeps_its_first_blocks() -> None:
    model = network("efficientnet").build(Hyperparameters("efficientnet"))
    kept = [layer for layer in model.layers if layer.weights and not layer.trainable]
    # The stem, two convolutions of the first block and three of each of the next four.
    assert len(kept) == 1 + 2 + 4 * 3
    assert kept == [layer for layer in model.layers if layer.weights][: len(kept)]


def test_an_architecture_that_is_none() -> None:
    with pytest.raises(
        UserError, match="'vgg' is not an architecture; give one of compact, efficientnet"
    ):
        network("vgg").build(Hyperparameters("vgg"))


def test_compact_is_small_and_blind_to_colour() -> None:
    model = compact_cnn(dropout=0.3)
    assert model.count_params() < 1_000_000
    assert [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)] == [0.3]
    answers = model.predict(IMAGES, verbose=0)
    assert len(np.unique(answers)) == 3
    np.testing.assert_allclose(model.predict(IMAGES[..., ::-1], verbose=0), answers, atol=1e-6)


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    module = importlib.import_module("keras.src.applications.xception")
    monkeypatch.setattr(module, "WEIGHTS_PATH_NO_TOP", "http://127.0.0.1:9/xception.h5")


def test_xception_takes_its_weights_from_a_file(tmp_path: Path, no_downloads: None) -> None:
    file = str(tmp_path / "xception.weights.h5")
    keras.utils.set_random_seed(2)
    backbone = keras.applications.Xception(include_top=False, weights=None, input_shape=SHAPE)
    backbone.save_weights(file)
    model = network("xception").build(
        Hyperparameters("xception", dense=16, pretrained_weights=file)
    )
    assert (model.input_shape, model.output_shape) == ((None, *SHAPE), (None, 1))
    kept = next(layer for layer in model.layers if layer.name == "xception")
    for found, expected in zip(kept.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not kept.trainable_weights
    assert len(model.trainable_weights) == 3 * 2 + 2 * 2  # three dense layers, two normalizations
    probability, heat, *_ = gradcam(model)(IMAGES)
    np.testing.assert_allclose(probability, model.predict(IMAGES, verbose=0)[:, 0], atol=1e-5)
    assert heat.shape[0] == 3


@pytest.mark.parametrize("content", [None, b"no weights at all"], ids=["missing", "damaged"])
def test_weights_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "xception.weights.h5"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(
        UserError, match=r"xception: cannot get ImageNet weights from /.*give"
    ) as error:
        network("xception").build(Hyperparameters("xception", pretrained_weights=str(file)))
    assert "\n" not in str(error.value)


def test_weights_that_cannot_be_downloaded(no_downloads: None) -> None:
    with pytest.raises(
        UserError, match=r"from keras\.applications: .*; give pretrained_weights the file"
    ) as error:
        network("xception").build(Hyperparameters("xception"))
    assert "\n" not in str(error.value)
