"""The logistic regression that a last layer is fitted by; it needs no TensorFlow."""

import numpy as np
from sklearn.linear_model import LogisticRegression

_SLIGHT = 0.01  # penalty on a slope that nothing else bounds where the classes are apart
PENALTY = 1.0  # on the weights of standardized features, beside the mean log loss


def penalized_fit(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, kernel: np.ndarray
) -> tuple[np.ndarray, float]:
    """Fits the weights of a last layer again.

    The logits keep their standard deviation, so that the answers are as sure as before.

    Args:
        features: What the layer sees, float64 [n, features].
        labels: 0 or 1, both present, int [n].
        weights: What each image counts for, float [n].
        kernel: The layer's weights so far, float [features].

    Returns:
        Its new weights, float64 [features], and bias.
    """
    variances = features.var(axis=0)
    scale = np.sqrt(variances + 1e-3 * variances.mean() + 1e-12)  # some features never vary
    regression = LogisticRegression(C=1 / (PENALTY * len(labels)), max_iter=1000)
    regression.fit(features / scale, labels, sample_weight=weights)
    fitted = regression.coef_[0] / scale
    factor = (features @ kernel).std() / (features @ fitted).std()
    return factor * fitted, float(factor * regression.intercept_[0])


def centring_offset(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Finds what to add to logits so that they are as often too high as too low.

    It is the intercept of Platt's scaling over its slope; the slope is left to the temperature.

    Args:
        logits: Of images that the network has not learned from, float [n].
        labels: 0 or 1, both present, int [n].
        weights: What each image counts for, float [n].

    Returns:
        The offset; 0 where greater logits do not speak for label 1.
    """
    scale = float(logits.std()) or 1.0
    regression = LogisticRegression(C=1 / (_SLIGHT * len(labels)), max_iter=1000)
    regression.fit(logits[:, None] / scale, labels, sample_weight=weights)
    slope = regression.coef_[0, 0] / scale
    return float(regression.intercept_[0] / slope) if slope > 0 else 0.0
