import keras
import numpy as np
from keras import layers

from components.images import SHAPE
from components.model import PARAMETERS, reference_cnn


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
