"""Temperature scaling: one number, fitted on validation, makes probabilities mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, logit

from components.shared.data.classes import TUMOR
from components.shared.data.groups import group_weights

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
PRIOR_DEVIATION = 0.2  # of the temperature's logarithm
_DOUBT = np.finfo(np.float64).eps  # the least; a probability of exactly 1 has no logit


def fit_temperature(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> float:
    """Finds by which number to divide the logits.

    It is the one of least log loss plus a normal prior on its logarithm, which holds it near 1
    while there is little to go by: a few right answers make no certainty. Groups of near-duplicates
    count alike, because a group tells about as much as one image.

    Args:
        labels: int [n], 0 Brain Tumor, 1 Healthy. Of the validation part.
        scores: P(Brain Tumor), float [n] within 0..1.
        groups: Duplicate group of each image, int [n].

    Returns:
        The temperature, 0.05 to 20; above 1 where the scores are too sure.
    """
    weights = group_weights(groups, 1)
    right = np.where(labels == TUMOR, 1.0, -1.0) * _logits(scores)

    def loss(log_temperature: float) -> float:
        unlikely = -float(weights @ log_expit(right / np.exp(log_temperature)))
        return unlikely + (log_temperature / PRIOR_DEVIATION) ** 2 / 2

    found = minimize_scalar(
        loss, bounds=np.log([MIN_TEMPERATURE, MAX_TEMPERATURE]), method="bounded"
    )
    return float(np.exp(found.x))


def calibrate(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Divides logits by a temperature; the order of the scores stays.

    Args:
        scores: P(Brain Tumor), float [n] within 0..1.
        temperature: As fitted.

    Returns:
        P(Brain Tumor), float64 [n] within 0..1.
    """
    return expit(_logits(scores) / temperature)


def _logits(scores: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.asarray(scores, np.float64), _DOUBT, 1 - _DOUBT))
