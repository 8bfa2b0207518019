"""The figures that count, again without pictures that the dataset files under both classes."""

from typing import NamedTuple

from components.shared.evaluation.metrics import MEASURES, Interval, Scores
from components.shared.evaluation.predictors import MODEL, PREDICTORS, Compared

_Cell = tuple[str, str]  # a value and its interval


class WithoutContradicted(NamedTuple):
    """What `contradicted.html.j2` shows."""

    left_out: int
    images: int
    groups: int
    error_at_90: _Cell
    rows: list[tuple[str, _Cell, list[_Cell]]]


def shown_without_contradicted(
    left_out: int,
    images: int,
    groups: int,
    errors: tuple[Interval | None, Interval],
    as_labelled: Compared[Scores],
    without: Compared[Scores],
) -> WithoutContradicted:
    """Puts figures as labelled beside those without contradicted pictures, for people.

    Args:
        left_out: Images that are contradicted.
        images: The others.
        groups: Of these.
        errors: Among the surest 90%, as labelled and without.
        as_labelled: The predictors on all images.
        without: The same without those left out.
    """
    accuracy = MEASURES["accuracy"]
    texts = ["{} ({})".format(*accuracy.texts(error)) if error else "-" for error in errors]
    rows = [
        (
            measure.title,
            measure.texts(as_labelled.of(MODEL).of(name)),
            [measure.texts(without.of(predictor).of(name)) for predictor in PREDICTORS],
        )
        for name, measure in MEASURES.items()
    ]
    return WithoutContradicted(left_out, images, groups, (texts[0], texts[1]), rows)
