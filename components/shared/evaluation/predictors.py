"""The predictors that stand beside each other wherever something is measured.

The table is `Compared`: a field of it is a predictor, and its annotation says how people call it.
"""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from components.shared.reports import palette
from components.shared.strict import Strict

T = TypeVar("T")


@dataclass(frozen=True)
class PredictorKind:
    """How people see a predictor.

    Attributes:
        name: Within a sentence.
        title: Over a column, and in a legend.
        meaning: In the model card, which explains what a floor is.
        color: Of its lines.
    """

    name: str
    title: str
    meaning: str
    color: str


class Compared(Strict, Generic[T]):
    """Something of the model, and the same of the two baselines that it has to beat."""

    model: Annotated[T, PredictorKind("model", "model", "this model", palette.ACCENT)]
    metadata_floor: Annotated[
        T,
        PredictorKind(
            "metadata-only baseline", "metadata only", "baseline: size, mode, format", palette.GREY
        ),
    ]
    nearest_neighbour_floor: Annotated[
        T,
        PredictorKind(
            "1-NN baseline", "1-NN on 32x32", "baseline: nearest neighbour", palette.GREY_DARK
        ),
    ]

    def of(self, predictor: str) -> T:
        """Returns what is of a predictor, by its name in `PREDICTORS`."""
        found: T = getattr(self, predictor)
        return found


PREDICTORS: dict[str, PredictorKind] = {
    name: next(fact for fact in field.metadata if isinstance(fact, PredictorKind))
    for name, field in Compared.model_fields.items()
}
MODEL = "model"
FLOORS = {name: kind for name, kind in PREDICTORS.items() if name != MODEL}
