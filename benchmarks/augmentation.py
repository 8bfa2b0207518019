"""Augmentation that was tried for other hospitals' images and is no part of the product."""

import tensorflow as tf

from components.shared.images.decode import SHAPE
from components.shared.networks.augment import StrongAugmentation

_LOW = SHAPE[0] // 18  # frequencies up to a ninth of the highest one
_GRID = 4  # numbers a side that a bias field is spread from


class OtherTones(StrongAugmentation):
    """The default's augmentation, and other tones before the default's own.

    Args:
        seed: Of what it draws.
        inverted: Share of the images whose tones are reversed inside the head, 0..1.
        mixed: Share of the images that get some of another's amplitudes at low frequencies, 0..1.
        bias_field: Deviation of the logarithm of a smooth field that multiplies each image.
    """

    def __init__(  # noqa: D107
        self, seed: int, inverted: float = 0.0, mixed: float = 0.0, bias_field: float = 0.0
    ) -> None:
        super().__init__(seed)
        self.inverted = inverted
        self.mixed = mixed
        self.bias_field = bias_field

    def _tone(self, images: tf.Tensor) -> tf.Tensor:
        images = self._with_bias_field(self._invert(self._mix(images)))
        return super()._tone(images)

    def _mix(self, images: tf.Tensor) -> tf.Tensor:
        """Mixes low amplitudes with those of the next image of the batch; phases stay."""
        if not self.mixed:
            return images
        draw = self._drawing((tf.shape(images)[0], 1, 1))
        share = tf.where(draw(0, 1) < self.mixed, draw(0, 1), 0.0)
        spectrum = tf.signal.rfft2d(images[..., 0])
        amplitude = tf.abs(spectrum)
        down = tf.minimum(tf.range(SHAPE[0]), SHAPE[0] - tf.range(SHAPE[0]))[:, None]
        low = (down <= _LOW) & (tf.range(SHAPE[1] // 2 + 1) <= _LOW)
        other = tf.roll(amplitude, 1, axis=0)
        wanted = amplitude + share * tf.cast(low, tf.float32) * (other - amplitude)
        factor = wanted / tf.maximum(amplitude, 1e-6)
        changed = tf.signal.irfft2d(spectrum * tf.cast(factor, tf.complex64), SHAPE[:2])
        return tf.clip_by_value(changed, 0.0, 1.0)[..., None]

    def _invert(self, images: tf.Tensor) -> tf.Tensor:
        """Reverses the tones of some; the background stays dark."""
        if not self.inverted:
            return images
        draw = self._drawing((tf.shape(images)[0], 1, 1, 1))
        inverse = (1 - images) * tf.clip_by_value(images * 10, 0.0, 1.0)
        return tf.where(draw(0, 1) < self.inverted, inverse, images)

    def _with_bias_field(self, images: tf.Tensor) -> tf.Tensor:
        """Multiplies by a smooth field, as a coil near one side of the head does."""
        if not self.bias_field:
            return images
        count = tf.shape(images)[0]
        coarse = tf.random.stateless_normal((count, _GRID, _GRID, 1), self._seed())
        return images * tf.exp(self.bias_field * tf.image.resize(coarse, SHAPE[:2]))
