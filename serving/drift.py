"""Counts of the answers in the bins of the model's reference, from which drift is seen."""

from bisect import bisect_right
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from components.shared.model_folder.contract import FEATURES_COUNT
from components.shared.model_folder.drift_reference import (
    FEATURE,
    IN_DISTRIBUTION_SCORE,
    TUMOR_PROBABILITY,
)
from components.shared.model_folder.reader import ModelFolder
from serving.classifier import Prediction

LABELS = ("version", "digest", "quantity", "bin")
_VALUES = (
    TUMOR_PROBABILITY,
    IN_DISTRIBUTION_SCORE,
    *(f"{FEATURE}{number}" for number in range(1, FEATURES_COUNT + 1)),
)


class DriftCounts(Collector):
    """Counts answers by bin; of a model without a reference it counts and shows nothing.

    The counts are plain numbers that only the event loop changes. A hundred of Prometheus' own
    counters cost ten times as much for each answer: each has a lock.

    Attributes:
        counts: Of each quantity of the reference, of each of its bins.
    """

    def __init__(self, model: ModelFolder) -> None:
        """Begins at 0.

        Args:
            model: Which answers.
        """
        self._model = model
        self._positive = model.classes[model.positive]
        self._quantities = (
            [q for q in model.drift.quantities if q.of in _VALUES] if model.drift else []
        )
        self.counts = [[0] * len(quantity.bins) for quantity in self._quantities]
        self._places = [
            (_VALUES.index(quantity.of), quantity.edges, counts)
            for quantity, counts in zip(self._quantities, self.counts, strict=True)
        ]

    def add(self, answer: Prediction) -> None:
        """Counts an image, or each slice of a volume.

        Args:
            answer: For a file.
        """
        if not self._places:
            return
        for image in [slice for _, slice in answer.slices] or [answer]:
            values = (
                image.probabilities[self._positive],
                image.in_distribution_score,
                *(image.features or ()),
            )
            for place, edges, counts in self._places:
                if place < len(values) and (value := values[place]) is not None:
                    counts[bisect_right(edges, value)] += 1

    def collect(self) -> Iterator[Metric]:
        """Yields the counts and the reference; those of 0 too, so that an increase can be seen."""
        counted = CounterMetricFamily(
            "brain_tumor_drift_images",
            "Answered images and slices, by bins of the model's reference.",
            labels=LABELS,
        )
        reference = GaugeMetricFamily(
            "brain_tumor_drift_reference_images", "Images of the reference, by bin.", labels=LABELS
        )
        version, digest = str(self._model.version), self._model.digest
        for quantity, counts in zip(self._quantities, self.counts, strict=True):
            of_bins = zip(quantity.bins, counts, quantity.counts, strict=True)
            for name, here, there in of_bins:
                labels = (version, digest, quantity.name, name)
                counted.add_metric(labels, here)
                reference.add_metric(labels, there)
        yield from (counted, reference)
