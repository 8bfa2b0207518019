"""Augmentation of many models' batches at once: each model by its own knobs."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

SIZE = 150
_REACH = 7  # pixels that a blur reaches to each side


def augment(
    key: jax.Array, images: jax.Array, rows: jax.Array, knobs: Mapping[str, jax.Array]
) -> jax.Array:
    """Varies images as `StrongAugmentation` does, and in other ways that knobs turn on.

    Args:
        key: Of what is drawn.
        images: uint8 [n, 150, 150], grey.
        rows: Which of them, int32 [models, batch].
        knobs: Of each model, see `recipes.KNOBS`; float32 [models] each.

    Returns:
        float32 [models, batch, 150, 150], whole numbers 0..255.
    """
    draw = _Draw(key, rows.shape)
    knob = {name: value[:, None] for name, value in knobs.items()}
    varied = _view(draw, images, rows, knob)
    varied = _amplitudes_mixed(draw, varied, knob)
    varied = _tone(draw, varied, knob)
    varied = _blurred(draw, varied, knob)
    varied = varied + draw.normal(SIZE, SIZE) * _each(knob["noise"] * draw(0, 1))
    return jnp.clip(jnp.round(varied * 255), 0, 255)


class _Draw:
    """Draws a number for each image of each model."""

    def __init__(self, key: jax.Array, shape: tuple[int, ...]) -> None:
        self._key, self._shape, self._count = key, shape, 0

    def _next(self) -> jax.Array:
        self._count += 1
        return jax.random.fold_in(self._key, self._count)

    def __call__(self, low: float, high: float) -> jax.Array:
        return jax.random.uniform(self._next(), self._shape, minval=low, maxval=high)

    def normal(self, *shape: int) -> jax.Array:
        return jax.random.normal(self._next(), self._shape + shape)


def _each(values: jax.Array) -> jax.Array:
    """Spreads a number of each image over its pixels."""
    return values[:, :, None, None]


def _view(
    draw: _Draw, images: jax.Array, rows: jax.Array, knob: Mapping[str, jax.Array]
) -> jax.Array:
    """Flips, turns, zooms, stretches, shifts and bends, in one resampling; 0..1."""
    most = jnp.where(draw(0, 1) < knob["any_angle"], jnp.pi, jnp.pi / 9)
    angle = most * draw(-1, 1)
    zoom = 1 / (1 + knob["zoom"] * draw(-1, 1) - knob["smaller"] * draw(0, 1))
    stretch = jnp.exp(knob["stretch"] * draw(-1, 1))
    mirrored = jnp.where(draw(0, 1) < 0.5, -1.0, 1.0)
    overturned = jnp.where(draw(0, 1) < knob["upside_down"], -1.0, 1.0)
    cos, sin = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
    # Rows of the matrix that tells for each place in the result where it lies in the image.
    x_x, x_y = cos * mirrored * stretch, -sin * overturned * stretch
    y_x, y_y = sin * mirrored / stretch, cos * overturned / stretch
    middle = (SIZE - 1) / 2
    x_0 = middle - (x_x + x_y) * middle + knob["shift"] * draw(-1, 1) * SIZE
    y_0 = middle - (y_x + y_y) * middle + knob["shift"] * draw(-1, 1) * SIZE
    places = jnp.arange(SIZE, dtype=jnp.float32)
    across, down = places[None, None, None, :], places[None, None, :, None]
    x = _each(x_x) * across + _each(x_y) * down + _each(x_0)
    y = _each(y_x) * across + _each(y_y) * down + _each(y_0)
    x = x + _each(knob["bend"]) * _smooth(draw.normal(5, 5))
    y = y + _each(knob["bend"]) * _smooth(draw.normal(5, 5))
    return _sampled(images, rows, x, y) / 255


def _smooth(corners: jax.Array) -> jax.Array:
    """Spreads coarse grids [models, batch, n, n] over whole images, linearly."""
    count = corners.shape[-1]
    at = np.linspace(0, count - 1, SIZE)
    below = np.minimum(at.astype(int), count - 2)
    weights = np.zeros((SIZE, count), np.float32)
    weights[np.arange(SIZE), below] = 1 - (at - below)
    weights[np.arange(SIZE), below + 1] = at - below
    return jnp.einsum("yi,mbij,xj->mbyx", weights, corners, weights)


def _sampled(images: jax.Array, rows: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Looks pixels up at places between them; 0 outside."""
    pixels = images.reshape(-1)
    left, top = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    right_share, low_share = x - left, y - top

    def at(row: jax.Array, column: jax.Array) -> jax.Array:
        inside = (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE)
        place = jnp.clip(row, 0, SIZE - 1) * SIZE + jnp.clip(column, 0, SIZE - 1)
        found = pixels[_each(rows) * SIZE * SIZE + place]
        return jnp.where(inside, found.astype(jnp.float32), 0)

    def along(row: jax.Array) -> jax.Array:
        return (1 - right_share) * at(row, left) + right_share * at(row, left + 1)

    return (1 - low_share) * along(top) + low_share * along(top + 1)


def _amplitudes_mixed(draw: _Draw, images: jax.Array, knob: Mapping[str, jax.Array]) -> jax.Array:
    """Gives half of the images some of another's amplitudes at low frequencies, its own phases."""
    spectrum = jnp.fft.rfft2(images)
    amplitude, phase = jnp.abs(spectrum), jnp.angle(spectrum)
    down = np.minimum(np.arange(SIZE), SIZE - np.arange(SIZE))[:, None]
    low = (down <= SIZE // 18) & (np.arange(SIZE // 2 + 1) <= SIZE // 18)
    mixed = _each(jnp.where(draw(0, 1) < 0.5, knob["fourier"] * draw(0, 1), 0)) * low
    amplitude = amplitude + mixed * (jnp.roll(amplitude, 1, axis=1) - amplitude)
    changed = jnp.fft.irfft2(amplitude * jnp.exp(1j * phase), (SIZE, SIZE))
    return jnp.where(_each(knob["fourier"]) > 0, jnp.clip(changed, 0, 1), images)


def _tone(draw: _Draw, images: jax.Array, knob: Mapping[str, jax.Array]) -> jax.Array:
    """Changes what is bright and what is dark; 0..1 may be left."""
    on = _each(draw(0, 1) < knob["inverted"])
    inverse = (1 - images) * jnp.clip(images / 0.1, 0, 1)  # the background stays dark
    images = jnp.where(on, inverse, images)
    # A monotonic curve of eight straight pieces.
    steps = jnp.exp(_last(knob["curve"]) * draw.normal(8))
    steps = steps / steps.sum(axis=-1, keepdims=True)
    curve = [_each(steps[..., n]) * jnp.clip(images * 8 - n, 0, 1) for n in range(8)]
    images = jnp.where(_each(knob["curve"]) > 0, sum(curve), images)
    waves = jnp.sin(2 * jnp.pi * _each(draw(0.5, 1.5)) * images) * images
    images = images + _each(knob["waves"] * draw(-1, 1)) * waves
    images = jnp.power(jnp.clip(images, 1e-4, 1), jnp.exp(_each(knob["gamma"] * draw(-1, 1))))
    images = images * jnp.exp(_each(knob["bias_field"]) * _smooth(draw.normal(4, 4)))
    images = images * _each(jnp.where(draw(0, 1) < 0.3, 1 - knob["dim"] * draw(0, 1), 1))
    contrast = jnp.exp(_each(knob["contrast"] * draw(-1, 1)))
    return (images - 0.3) * contrast + 0.3 + _each(knob["brightness"] * draw(-1, 1))


def _last(values: jax.Array) -> jax.Array:
    return values[:, :, None]


def _blurred(draw: _Draw, images: jax.Array, knob: Mapping[str, jax.Array]) -> jax.Array:
    """Blurs some by a normal distribution, as if fewer pixels had been taken."""
    deviation = jnp.where(draw(0, 1) < knob["blurred"], knob["blur"] * draw(0, 1), 0)
    weights = [jnp.exp(-(n**2) / (2 * deviation**2 + 1e-3)) for n in range(_REACH + 1)]
    total = weights[0] + 2 * sum(weights[1:])

    def along(axis: int) -> Callable[[jax.Array], jax.Array]:
        def blur(images: jax.Array) -> jax.Array:
            result = _each(weights[0] / total) * images
            for n in range(1, _REACH + 1):
                both = jnp.roll(images, n, axis) + jnp.roll(images, -n, axis)
                result = result + _each(weights[n] / total) * both
            return result

        return blur

    return along(3)(along(2)(images))
