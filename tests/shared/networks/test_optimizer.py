import keras
import numpy as np
import pytest
import tensorflow as tf

from components.shared.networks.optimizer import FusedAdam

SHAPES = ((6, 5), (5,), (3, 3, 2, 4), ())


def _moved(optimizer: keras.optimizers.Optimizer, dtype: str = "float32") -> list[np.ndarray]:
    """Returns variables and moments after steps along the same gradients."""
    rng = np.random.default_rng(11)
    variables = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in SHAPES]
    optimizer.build(variables)
    apply = tf.function(lambda gradients: optimizer.apply(gradients))
    for step in range(12):
        scale = 10.0 ** (step % 4 - 3)
        gradients = [tf.cast(scale * rng.normal(size=shape), dtype) for shape in SHAPES]
        apply(gradients)
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("rate", [0.0001, 0.001, 0.01])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_adam(rate: float, dtype: str) -> None:
    fused = _moved(FusedAdam(rate), dtype)
    plain = _moved(keras.optimizers.Adam(rate), dtype)
    for one, other in zip(fused, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6, rtol=0)


def test_it_is_saved_and_loaded() -> None:
    config = keras.optimizers.serialize(FusedAdam(0.02, beta_1=0.8))
    again = keras.optimizers.deserialize(config)
    assert type(again) is FusedAdam
    assert float(again.learning_rate) == pytest.approx(0.02)
    assert again.beta_1 == 0.8
