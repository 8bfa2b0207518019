"""What a model was worth on another source, made by hand."""

from typing import Any

from components.shared.evaluation.external import ExternalResult, Overlap
from components.shared.evaluation.metrics import MEASURES, Interval


def interval(value: float) -> Interval:
    return Interval(value=value, low=value - 0.05, high=value + 0.05)


def external_result(**changes: Any) -> ExternalResult:
    """Returns a result of 40 images in which every measure is 0.9."""
    made: dict[str, Any] = {
        "name": "other hospital",
        "source": "s3://bucket/other",
        "source_version": "",
        "dataset_digest": "a" * 64,
        "threshold": 0.5,
        "seed": 0,
        "bootstrap_samples": 100,
        "overlap": Overlap(checked=True, identical=1, near_duplicates=2, same_group=3),
        "unusable": 0,
        "images": 40,
        "groups": 30,
        "patients": 25,
        "tumor": 20,
        "healthy": 20,
        "scores": dict.fromkeys(MEASURES, interval(0.9)),
        "confusion": ((18, 2), (2, 18)),
        "commoner_class": 0.5,
        "mean_probability": 0.5,
        "sure_and_wrong": 1,
        "flagged": interval(0.1),
    }
    return ExternalResult(**made | changes)
