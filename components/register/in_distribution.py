"""The check that an image looks like a brain MRI slice: fitted, calibrated, and put in the graph.

A small network tells the dataset's slices from made-up strangers by a few hundred plain features:
where an image is bright and where it varies, its histogram, its colour and its detail. It judges
looks alone; that an image passes says nothing of what it shows.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from components.register.strangers import draw_strangers
from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import SIZE

METHOD = (
    "A small neural network that tells the training images from made-up photographs, documents, "
    "noise and bent slices by brightness, texture, colour and detail gives the probability that "
    "an image is no brain MRI slice; the limit is one half, or more where it takes more for 99% of "
    "the validation images to stay within."
)
QUANTILE = 0.99

_MAX_SLICES, _MAX_STRANGERS = 4000, 1500
_STRANGERS_PER_SLICE = 8  # so that a tiny dataset takes no longer than it deserves
_SLICES_TO_BEND = 250
_BATCH = 64

_STEP = 2  # every second pixel of every second row says as much, in a quarter of the time
_SIDE = SIZE // _STEP
_GRID, _CELL = 15, _SIDE // 15
_SHADES = 8
_WHITE = 3 * 255  # the sum of an image's channels where it is brightest

_HIDDEN = (64, 32)
_WEIGHT_DECAY = 1.0
_UPDATES, _MAX_EPOCHS, _ROWS_PER_UPDATE = 1200, 30, 200


@dataclass(frozen=True, eq=False)
class InDistributionCheck:
    """A fitted check. The score is P(no brain MRI slice), 0..1; greater is stranger.

    Attributes:
        weights: Of each layer of the network, float32 [inputs, outputs]; the first takes the
            features as they are.
        biases: Of each layer, float32 [outputs].
        limit: An image is flagged where its score is greater, 0..1.
        validation_flagged: Share of the validation images that are, 0..1.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    limit: float
    validation_flagged: float

    def score(self, images: tf.Tensor) -> tf.Tensor:
        """Scores images, in TensorFlow operations that can go into a graph.

        Args:
            images: uint8 [n, 150, 150, 3].

        Returns:
            float32 [n].
        """
        return _score(self.weights, self.biases, images)

    def flagged(self, dataset: ImageDataset, positions: np.ndarray) -> float:
        """Returns which share of some of a dataset's images is flagged, 0..1.

        Args:
            dataset: The images.
            positions: Which of them, at least one.
        """
        batches = (images for _, images in dataset.batches(positions, _BATCH))
        return float(np.mean(np.concatenate([self.score(b).numpy() for b in batches]) > self.limit))


def fit_check(dataset: ImageDataset, split: Split, seed: int = 0) -> InDistributionCheck:
    """Fits the check on the train part and sets its limit on the validation part.

    Takes some 4,000 training images and 1,500 strangers at most, however large the dataset is,
    and reads them a batch at a time.

    Args:
        dataset: The images.
        split: Its parts.
        seed: Decides which images are taken, the strangers and the network's first weights.

    Returns:
        The check.
    """
    rng = np.random.default_rng(seed)
    train = rng.permutation(split.part("train"))[:_MAX_SLICES]
    strangers = draw_strangers(
        dataset.read(train[:_SLICES_TO_BEND]),
        min(_MAX_STRANGERS, _STRANGERS_PER_SLICE * len(train)),
        seed,
    )
    weights, biases = _fit_network(
        _features_of(images for _, images in dataset.batches(train, _BATCH)),
        _features_of(_stacked(strangers)),
        seed,
    )
    scores = np.concatenate(
        [
            _score(weights, biases, images).numpy()
            for _, images in dataset.batches(split.part("validation"), _BATCH)
        ]
    )
    # Below one half the network itself rather sees a slice, whatever validation would allow.
    limit = max(0.5, float(np.quantile(scores, QUANTILE, method="higher")))
    return InDistributionCheck(weights, biases, limit, float(np.mean(scores > limit)))


def features(images: tf.Tensor) -> tf.Tensor:
    """Computes what the check looks at.

    Args:
        images: uint8 [n, 150, 150, 3].

    Returns:
        float32 [n, 460]: the mean and the deviation of brightness in each cell of a 15x15 grid,
        square roots of the histogram's 8 shares, and the logarithms of colour and detail.
    """
    # images[:, ::2, ::2], which TensorFlow does three times slower than this.
    pairs = tf.reshape(images, (-1, _SIDE, _STEP, _SIDE, _STEP * 3))
    sampled = tf.cast(pairs[:, :, 0, :, :3], tf.float32)
    red, green, blue = tf.unstack(sampled, axis=-1)
    total = red + green + blue  # whole numbers: the histogram's edges are the same everywhere
    grey = total / _WHITE
    cells = tf.reshape(grey, (-1, _GRID, _CELL, _GRID, _CELL))
    means = tf.reduce_mean(cells, axis=(2, 4), keepdims=True)
    deviations = tf.sqrt(tf.reduce_mean((cells - means) ** 2, axis=(2, 4)))
    at_least = [
        tf.reduce_mean(tf.cast(total >= shade * _WHITE / _SHADES, tf.float32), axis=(1, 2))
        for shade in range(_SHADES + 1)
    ]
    ends = zip(at_least[:-1], [*at_least[1:-1], tf.zeros_like(at_least[0])], strict=True)
    histogram = tf.stack([low - high for low, high in ends], axis=1)
    brightest = tf.maximum(tf.maximum(red, green), blue)
    darkest = tf.minimum(tf.minimum(red, green), blue)
    colour = tf.reduce_mean(brightest - darkest, axis=(1, 2)) / 255
    detail = tf.reduce_mean(tf.abs(grey[:, 1:] - grey[:, :-1]), axis=(1, 2))
    return tf.concat(
        [
            tf.reshape(means, (-1, _GRID**2)),
            tf.reshape(deviations, (-1, _GRID**2)),
            tf.sqrt(histogram),
            tf.math.log(tf.stack([colour, detail], axis=1) + 0.01),
        ],
        axis=1,
    )


def _score(
    weights: tuple[np.ndarray, ...], biases: tuple[np.ndarray, ...], images: tf.Tensor
) -> tf.Tensor:
    hidden = features(images)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        hidden = tf.nn.relu(hidden @ weight + bias)
    return tf.sigmoid(hidden @ weights[-1] + biases[-1])[:, 0]


def _features_of(batches: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the features of all images, float32 [n, 460]; holds one batch of pixels at once."""
    return np.concatenate([features(images).numpy() for images in batches])


def _stacked(images: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    rest = iter(images)
    while batch := list(islice(rest, _BATCH)):
        yield np.stack(batch)


def _fit_network(
    slices: np.ndarray, strangers: np.ndarray, seed: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Fits the network on features; returns its weights and biases, the scaling in the first."""
    rows = np.concatenate([_flipped(slices), _flipped(strangers)])
    stranger = np.repeat([0, 1], [4 * len(slices), 4 * len(strangers)])
    scaler = StandardScaler().fit(rows)
    # About the same time for any dataset but a tiny one, which learns no more after some epochs.
    epochs = min(_MAX_EPOCHS, round(_UPDATES / math.ceil(len(rows) / _ROWS_PER_UPDATE)))
    network = MLPClassifier(
        _HIDDEN,
        alpha=_WEIGHT_DECAY,
        batch_size=min(_ROWS_PER_UPDATE, len(rows)),
        max_iter=epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped on purpose
        network.fit(scaler.transform(rows), stranger)
    first = network.coefs_[0] / scaler.scale_[:, None]
    weights = (first, *network.coefs_[1:])
    biases = (network.intercepts_[0] - scaler.mean_ @ first, *network.intercepts_[1:])
    return (
        tuple(weight.astype(np.float32) for weight in weights),
        tuple(bias.astype(np.float32) for bias in biases),
    )


def _flipped(rows: np.ndarray) -> np.ndarray:
    """Returns the features of images and of their mirror images: float32 [n, f] -> [4n, f]."""
    grids, rest = rows[:, : 2 * _GRID**2].reshape(-1, 2, _GRID, _GRID), rows[:, 2 * _GRID**2 :]
    return np.concatenate(
        [
            np.concatenate([np.flip(grids, axes).reshape(len(rows), -1), rest], axis=1)
            for axes in ((), (2,), (3,), (2, 3))
        ]
    )
