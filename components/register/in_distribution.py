"""The check that an image looks like a brain MRI slice: fitted, calibrated, and put in the graph.

It looks at what the network sees in any case: the means of its early maps in nine parts of the
image, and how colourful the image is. It judges looks alone; that an image passes says nothing of
what it shows.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from components.register.heads import vary
from components.register.strangers import draw_strangers
from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import SHAPE, SIZE
from components.shared.networks.features import with_features

METHOD = (
    "A linear classifier on the means of the network's early maps in nine parts of the image, and "
    "on colour, tells the training images and variants of them from made-up photographs, "
    "documents, noise, bent slices, head CT, radiographs, other body parts and ultrasound. It "
    "gives the probability that an image is not a brain MRI slice; the limit is one half, or more "
    "if it takes more for 97% of the training and validation images to stay within, each judged by "
    "a classifier that did not learn it. A dataset may hold some CT, so a flagged image of its own "
    "is not always a mistake."
)
QUANTILE = 0.97

_MAX_SLICES, _MAX_VARIANTS, _MAX_STRANGERS = 4000, 2500, 6000
_STRANGERS_PER_SLICE = 4  # so that a tiny dataset takes no longer than it deserves
_SLICES_TO_DRAW_FROM = 500
_BATCH = 64

_PARTS = 3  # a side
_STEP = 5  # every fifth pixel of every fifth row says as much of colour

_INVERSE_PENALTY, _MAX_ITERATIONS = 0.002, 300
_DOUBTFUL = 0.03  # of the slices: a dataset may hold some CT
_FOLDS = 3


@dataclass(frozen=True, eq=False)
class InDistributionCheck:
    """A fitted check. The score is P(no brain MRI slice), 0..1; greater is stranger.

    Attributes:
        weights: Of what it looks at, as it is, float32 [f].
        bias: Of the logit.
        limit: An image is flagged where its score is greater, 0..1.
        validation_flagged: Share of the validation images that are, 0..1.
    """

    weights: np.ndarray
    bias: float
    limit: float
    validation_flagged: float

    def score(self, images: tf.Tensor, early: tf.Tensor) -> tf.Tensor:
        """Scores images, in TensorFlow operations that can go into a graph.

        Args:
            images: uint8 [n, 150, 150, 3].
            early: The network's early maps for them, see `components.shared.networks.features`.

        Returns:
            float32 [n].
        """
        logits = tf.linalg.matvec(looks(images, early), self.weights) + self.bias
        return tf.sigmoid(logits)

    def flagged(self, model: keras.Model, dataset: ImageDataset, positions: np.ndarray) -> float:
        """Returns which share of some of a dataset's images is flagged, 0..1.

        Args:
            model: The one that it was fitted with.
            dataset: The images.
            positions: Which of them, at least one.
        """
        rows = _rows(looks_of(model), (images for _, images in dataset.batches(positions, _BATCH)))
        return float(np.mean(self._scores(rows) > self.limit))

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return tf.sigmoid(tf.linalg.matvec(rows, self.weights) + self.bias).numpy()


def fit_check(
    model: keras.Model, dataset: ImageDataset, split: Split, seed: int = 0
) -> InDistributionCheck:
    """Fits the check on the train part and sets its limit on that and the validation part.

    Takes some 4,000 training images, 2,500 variants of them and 6,000 strangers at most, however
    large the dataset is, and reads them a batch at a time. The strangest 3% of the slices are not
    learned: a dataset that was gathered from many places holds some CT.

    Args:
        model: Whose early maps it looks at.
        dataset: The images.
        split: Its parts.
        seed: Decides which images are taken, the variants and the strangers.

    Returns:
        The check.
    """
    rng = np.random.default_rng(seed)
    look = looks_of(model)
    train = rng.permutation(split.part("train"))[:_MAX_SLICES]
    varied = train[:_MAX_VARIANTS]
    count = min(_MAX_STRANGERS, _STRANGERS_PER_SLICE * len(train))
    drawn_from = dataset.read(train[:_SLICES_TO_DRAW_FROM])
    slices = _rows(look, (images for _, images in dataset.batches(train, _BATCH)))
    variants = _rows(look, _stacked(_variants(dataset, varied, rng)))
    strangers = _rows(look, _stacked(draw_strangers(drawn_from, count, seed)))
    positions = np.concatenate([train, varied])
    kept = _without_doubtful(np.concatenate([slices, variants]), strangers)
    known, groups = np.concatenate([slices, variants])[kept], dataset.groups[positions[kept]]
    weights, bias = _fit(known, strangers)
    check = InDistributionCheck(weights, bias, 0.5, 0.0)
    validation = check._scores(
        _rows(look, (images for _, images in dataset.batches(split.part("validation"), _BATCH)))
    )
    judged = _judged_by_others(slices, dataset.groups[train], known, groups, strangers)
    scores = np.concatenate([judged, validation])
    # Below one half the classifier itself rather sees a slice, whatever these would allow.
    limit = max(0.5, float(np.quantile(scores, QUANTILE, method="higher")))
    return InDistributionCheck(weights, bias, limit, float(np.mean(validation > limit)))


def looks(images: tf.Tensor, early: tf.Tensor) -> tf.Tensor:
    """Computes what the check looks at.

    Args:
        images: uint8 [n, 150, 150, 3].
        early: The network's early maps for them, [n, h, w, c].

    Returns:
        float32 [n, 9 * c + 1]: the mean of each map in each of 3x3 parts, and the logarithm of
        colour.
    """
    maps = tf.cast(early, tf.float32)
    window = [math.ceil(side / _PARTS) for side in maps.shape[1:3]]
    means = tf.nn.avg_pool2d(maps, window, window, "SAME")
    # images[:, ::5, ::5], which TensorFlow does slower than this.
    side = SIZE // _STEP
    steps = tf.reshape(images, (-1, side, _STEP, side, _STEP * SHAPE[2]))
    sampled = tf.cast(steps[:, :, 0, :, : SHAPE[2]], tf.float32)
    spread = tf.reduce_max(sampled, axis=-1) - tf.reduce_min(sampled, axis=-1)
    colour = tf.reduce_mean(spread, axis=(1, 2)) / 255
    return tf.concat(
        [
            tf.reshape(means, (-1, _PARTS * _PARTS * maps.shape[3])),
            tf.math.log(colour[:, None] + 0.01),
        ],
        axis=1,
    )


def looks_of(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function from images, uint8 [n, 150, 150, 3], to what the check looks at.

    Args:
        model: Whose early maps it looks at.
    """
    seen = with_features(model)
    early_of = keras.Model(seen.inputs[0], seen.outputs[2])  # and not the rest of the network

    def look(images: tf.Tensor) -> tf.Tensor:
        return looks(images, early_of(images, training=False))

    return tf.function(look, input_signature=[tf.TensorSpec((None, *SHAPE), tf.uint8)])


def _rows(look: Callable[[tf.Tensor], tf.Tensor], batches: Iterable[np.ndarray]) -> np.ndarray:
    """Returns what the check looks at in all images; holds one batch of pixels at once."""
    return np.concatenate([look(images).numpy() for images in batches])


def _variants(
    dataset: ImageDataset, positions: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    for _, images in dataset.batches(positions, _BATCH):
        for image in images:
            varied = np.clip(vary(image, rng), 0, 255).astype(np.uint8)
            yield np.broadcast_to(varied[..., None], SHAPE)


def _stacked(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    rest = iter(images)
    while batch := list(islice(rest, _BATCH)):
        yield np.stack(batch)


def _fit(slices: np.ndarray, strangers: np.ndarray) -> tuple[np.ndarray, float]:
    """Fits the classifier; returns its weights, the scaling in them, and its bias."""
    rows = np.concatenate([slices, strangers])
    scaler = StandardScaler().fit(rows)
    classifier = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MAX_ITERATIONS)
    classifier.fit(scaler.transform(rows), np.repeat([0, 1], [len(slices), len(strangers)]))
    weights = classifier.coef_[0].astype(np.float64) / scaler.scale_
    bias = float(classifier.intercept_[0] - scaler.mean_ @ weights)
    return weights.astype(np.float32), bias


def _without_doubtful(slices: np.ndarray, strangers: np.ndarray) -> np.ndarray:
    """Returns which slices, bool [n], are not among those that look most like strangers."""
    weights, _ = _fit(slices, strangers)
    logits = slices @ weights
    return logits <= np.quantile(logits, 1 - _DOUBTFUL)


def _judged_by_others(
    slices: np.ndarray,
    groups: np.ndarray,
    known: np.ndarray,
    known_groups: np.ndarray,
    strangers: np.ndarray,
) -> np.ndarray:
    """Scores slices by classifiers that did not learn their groups, float [n].

    Args:
        slices: What the check looks at, [n, f].
        groups: Of each slice.
        known: Of the slices and variants to learn, [k, f].
        known_groups: Of each of these.
        strangers: To learn, [s, f].
    """
    folds = min(_FOLDS, len(np.unique(known_groups)))
    if folds < 2:
        return np.empty(0)
    scores = np.empty(len(slices))
    for _, held_out in GroupKFold(folds).split(slices, groups=groups):
        others = ~np.isin(known_groups, groups[held_out])
        weights, bias = _fit(known[others], strangers)
        scores[held_out] = tf.sigmoid(slices[held_out] @ weights + bias)
    return scores
