"""The optimizers: gradients come added up over the devices, and Adam's update is one kernel."""

from typing import Any

import keras
import tensorflow as tf


class _OfAddedGradients:
    """Takes gradients that are added up over the devices already, so that clipping sees all.

    Keras adds them up after it has clipped each device's.
    """

    def _all_reduce_sum_gradients(self, pairs: Any) -> Any:
        return pairs


class AdamW(_OfAddedGradients, keras.optimizers.AdamW):
    """Keras' AdamW."""


@keras.saving.register_keras_serializable(package="brain_tumor")
class FusedAdam(_OfAddedGradients, keras.optimizers.Adam):
    """Adam, the same formula, as one pass over each variable instead of about ten.

    The first dense layer of the reference's network holds 11.2 M weights; passing over them is a
    quarter of a training step on a CPU.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable and its moments.

        Args:
            gradient: Of the variable's shape, any float dtype.
            variable: float32.
            learning_rate: Scalar.
        """
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )


def _handle(variable: keras.Variable | tf.Variable) -> tf.Tensor:
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle
