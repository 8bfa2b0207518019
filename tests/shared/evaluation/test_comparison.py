import numpy as np

from components.shared.evaluation.comparison import Lead, leads, sentences
from components.shared.evaluation.metrics import MEASURES, with_intervals
from components.shared.evaluation.predictors import PREDICTORS
from components.shared.evaluation.results import PartResult


def part(model, metadata, neighbour):
    scores = [
        with_intervals(np.array(values), np.array([values, values]), np.arange(2), np.arange(2))
        for values in (model, metadata, neighbour)
    ]
    return PartResult(
        images=2,
        groups=2,
        tumor=1,
        healthy=1,
        twins_in_training=0,
        confusion=((1, 0), (0, 1)),
        model=scores[0],
        metadata_floor=scores[1],
        nearest_neighbour_floor=scores[2],
    )


def test_a_lower_brier_score_is_a_lead():
    model, floor = [0.9] * 6 + [0.1, 0.1], [0.8] * 6 + [0.2, 0.2]
    samples = np.array([[model, model], [floor, floor], [floor, floor]])
    found = leads(part(model, floor, floor), dict(zip(PREDICTORS, samples, strict=True)))
    assert len(found) == 16
    assert all(lead.value > 0 and 0 < lead.low <= lead.high for lead in found)
    assert sentences(found) == (
        [],
        [
            "beats the metadata-only baseline in all eight measures",
            "beats the 1-NN baseline in all eight measures",
        ],
    )


def test_says_plainly_where_the_model_does_not_beat_a_floor():
    behind = [Lead("metadata_floor", measure, -0.1, -0.2, 0.1) for measure in MEASURES]
    unsure = Lead("nearest_neighbour_floor", "accuracy", 0.1, -0.1, 0.2)
    equal = Lead("nearest_neighbour_floor", "auroc", 0.0, 0.0, 0.0)
    assert sentences([*behind, unsure, equal]) == (
        [
            "does not beat the metadata-only baseline in any of the eight measures",
            "does not beat the 1-NN baseline in AUROC",
            "leads the 1-NN baseline in accuracy, but chance alone may explain it",
        ],
        [],
    )
