"""The part of a version's metadata that a predictor reads.

It imports nothing of the training, so that the predictor's image needs nothing of it.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

Word = Annotated[
    str,
    Field(pattern=r"^[^\p{C}]{1,100}$"),  # no character that does not print
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100}),  # which has no \p
]


class InDistributionLimit(BaseModel):
    """Where the check ends that tells brain MRI slices from other images."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    score_limit: float = Field(
        ge=0, le=1, description="an image is flagged where its in_distribution_score is greater"
    )


class UnsureRange(BaseModel):
    """Between which probabilities of the positive class the answer is unsure."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    low: float = Field(ge=0, le=1, description="unsure from this probability on")
    high: float = Field(ge=0, le=1, description="and below this one")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


# float32 is the precision that evaluation measures in.
Precision = Literal["float32", "bfloat16"]


class LowerPrecision(BaseModel):
    """In which precision a version is served, if not in float32."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Literal["bfloat16"] = Field(
        description="on CPUs that multiply it; others serve the version in float32"
    )


class Served(BaseModel):
    """The part that an answer needs; a predictor reads no more, so later fields do not stop it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    version: int = Field(ge=1, lt=10**9)
    classes: tuple[Word, Word]
    positive_class: Word
    threshold: float = Field(
        ge=0, le=1, description="the answer is the positive class where its probability reaches it"
    )
    in_distribution: InDistributionLimit | None = None
    unsure: UnsureRange | None = None
    lower_precision: LowerPrecision | None = None

    @property
    def precision(self) -> Precision:
        """In which numbers the network is computed."""
        return self.lower_precision.name if self.lower_precision else "float32"

    @model_validator(mode="after")
    def _threshold_is_unsure(self) -> Self:
        if self.unsure and not self.unsure.low <= self.threshold <= self.unsure.high:
            raise ValueError("the threshold does not lie within the range that is unsure")
        return self
