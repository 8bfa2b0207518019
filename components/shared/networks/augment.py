"""Augmentation, computed with the batch on the device; what a model trains on, never part of it."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from keras import layers

from components.shared.images.decode import SHAPE


def reference_augmentation(seed: int) -> layers.Layer:
    """Makes the reference implementation's.

    Rotation by up to 20 degrees, shifts and zoom by up to 20%, shear, horizontal flip; what comes
    into view is filled with the nearest pixel.

    Args:
        seed: Of what it draws.
    """
    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            layers.RandomFlip("horizontal", seed=seed),
            layers.RandomRotation(20 / 360, fill_mode="nearest", seed=seed + 1),
            layers.RandomTranslation(0.2, 0.2, fill_mode="nearest", seed=seed + 2),
            layers.RandomZoom(0.2, fill_mode="nearest", seed=seed + 3),
            layers.RandomShear(0.2, 0.2, fill_mode="nearest", seed=seed + 4),
        ],
        name="augmentation",
    )


class StrongAugmentation(layers.Layer):
    """What changes a scan's look and never its diagnosis, each image in its own way.

    Flips, rotation, zoom, stretch and shift in one resampling, so that pixels are interpolated
    once; then gamma, contrast, brightness, blur and noise. Images become grey: colour is of the
    file and not of the brain. Most are turned by up to 20 degrees, as heads lie; a few by any
    angle, as files come. Heads become up to 25% larger and down to half as large, as fields of view
    differ. Some can be blurred, as if the scan had fewer pixels.

    Args:
        seed: Of what it draws.
        any_angle: Share of the images turned by any angle, 0..1.
        smaller: How much smaller a head may become beyond a zoom of 25% in both directions, 0..1.
        stretch: Logarithm of the greatest stretch of one side against the mean of both.
        shift: Greatest shift in each direction, in sides of the image.
        blurred: Share of the images blurred, 0..1.
    """

    def __init__(  # noqa: D107
        self,
        seed: int,
        any_angle: float = 0.15,
        smaller: float = 0.25,
        stretch: float = 0.1,
        shift: float = 0.12,
        blurred: float = 0.0,
    ) -> None:
        super().__init__(name="augmentation", dtype="float32")
        self.random = keras.random.SeedGenerator(seed)
        self.any_angle = any_angle
        self.smaller = smaller
        self.stretch = stretch
        self.shift = shift
        self.blurred = blurred

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Varies a batch.

        Args:
            images: uint8 [n, 150, 150, 3].
            training: Whether to vary at all.

        Returns:
            uint8 [n, 150, 150, 3], the three channels alike.
        """
        if not training:
            return images
        # By slices, which takes a third of the time of a mean over three numbers.
        colours = [tf.cast(images[..., n : n + 1], tf.float32) for n in range(SHAPE[2])]
        grey = tf.add_n(colours) / (SHAPE[2] * 255)
        varied = self._with_noise(self._blur(self._tone(self._view(grey))))
        # What a file could hold: the model never sees another kind of number than it is served.
        pixels = tf.saturate_cast(tf.round(varied * 255), tf.uint8)
        return tf.repeat(pixels, 3, axis=-1)

    def _view(self, images: tf.Tensor) -> tf.Tensor:
        """Flips, turns, zooms, stretches and shifts."""
        height, width = SHAPE[:2]
        count = tf.shape(images)[0]
        draw = self._drawing(count)
        most = tf.where(draw(0, 1) < self.any_angle, math.pi, math.radians(20))
        angle = most * draw(-1, 1)
        zoom = 1 / (1 + draw(-0.25, 0.25) - draw(0, self.smaller))
        stretch = tf.exp(draw(-self.stretch, self.stretch))
        mirrored = tf.where(draw(0, 1) < 0.5, -1.0, 1.0)
        cos, sin = zoom * tf.cos(angle), zoom * tf.sin(angle)
        # Rows of the matrix that tells for each place in the result where it lies in the image.
        x_x, x_y = cos * mirrored * stretch, -sin * stretch
        y_x, y_y = sin * mirrored / stretch, cos / stretch
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        x_0 = middle_x - x_x * middle_x - x_y * middle_y + draw(-self.shift, self.shift) * width
        y_0 = middle_y - y_x * middle_x - y_y * middle_y + draw(-self.shift, self.shift) * height
        none = tf.zeros_like(angle)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=tf.stack([x_x, x_y, x_0, y_x, y_y, y_0, none, none], axis=1),
            output_shape=[height, width],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )

    def _tone(self, images: tf.Tensor) -> tf.Tensor:
        """Changes gamma, contrast and brightness; 0..1 may be left."""
        draw = self._drawing((tf.shape(images)[0], 1, 1, 1))
        # The same as `tf.pow`, but for the last digit, in a fifth of the time.
        gamma = tf.exp(draw(-0.35, 0.35))
        images = tf.exp(gamma * tf.math.log(tf.maximum(images, 1e-4)))
        contrast = tf.exp(draw(-0.3, 0.3))
        return images * contrast + (0.3 - 0.3 * contrast + draw(-0.06, 0.06))

    def _blur(self, images: tf.Tensor) -> tf.Tensor:
        """Blurs some by a normal distribution of up to 1.5 pixels."""
        if not self.blurred:
            return images
        draw = self._drawing((tf.shape(images)[0], 1, 1))
        deviation = tf.where(draw(0, 1) < self.blurred, draw(0, 1.5), 0.0)
        places = tf.range(SHAPE[0], dtype=tf.float32)
        apart = tf.square(places[:, None] - places)
        # Row i says what pixel i is made of: of itself alone where the deviation is 0.
        mixing = tf.nn.softmax(-apart / (2 * tf.square(deviation) + 1e-3))
        images = tf.matmul(tf.matmul(mixing, images[..., 0]), mixing, transpose_b=True)
        return images[..., None]

    def _with_noise(self, images: tf.Tensor) -> tf.Tensor:
        draw = self._drawing((tf.shape(images)[0], 1, 1, 1))
        return images + normal(tf.shape(images), self._seed()) * draw(0.0, 0.05)

    def _drawing(self, shape: tuple | tf.Tensor) -> Callable[[float, float], tf.Tensor]:
        """Returns what draws uniform numbers of a shape."""
        if not isinstance(shape, tuple):
            shape = (shape,)
        return lambda low, high: tf.random.stateless_uniform(shape, self._seed(), low, high)

    def _seed(self) -> tf.Tensor:
        return tf.cast(self.random.next(), tf.int32)


def normal(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws what `tf.random.stateless_normal` draws on a CPU, in half of the time.

    That goes number by number. Here its method, Box and Muller's of two uniform numbers each, is a
    few operations on all of them; only the last digits differ.

    Args:
        shape: Of an even number of elements.
        seed: int32 [2].

    Returns:
        Of mean 0 and variance 1, float32 of that shape.
    """
    pairs = tf.reshape(tf.random.stateless_uniform(shape, seed), (-1, 2))
    # Real and imaginary parts lie side by side in memory, as the two of a pair do.
    uniform = tf.bitcast(pairs, tf.complex64)
    radius = tf.sqrt(-2 * tf.math.log(tf.maximum(tf.math.real(uniform), 1e-7)))
    angle = 2 * math.pi * tf.math.imag(uniform)
    drawn = tf.complex(radius * tf.sin(angle), radius * tf.cos(angle))
    return tf.reshape(tf.bitcast(drawn, tf.float32), shape)
