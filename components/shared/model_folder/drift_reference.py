"""What the answers were like for images that the model had not seen: `drift.json`.

The predictor counts its answers in the same bins, so that what it is asked can be compared with
what it was measured on.
"""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

# What is known of every answer.
TUMOR_PROBABILITY = "tumor_probability"
IN_DISTRIBUTION_SCORE = "in_distribution_score"
FEATURE = "feature_"  # and a number, from 1 on

MAX_QUANTITIES, MAX_BINS, MAX_BLOCKS = 40, 20, 1000
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
_BinName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,99}$")]
_Count = Annotated[int, Field(ge=0, le=10**9)]


class Quantity(BaseModel):
    """Bins of a value that is known of every answer, and how many images were in each."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: _Name
    of: _Name = Field(description="the value, such as tumor_probability; two may share one")
    bins: tuple[_BinName, ...] = Field(min_length=2, max_length=MAX_BINS)
    edges: tuple[FiniteFloat, ...] = Field(
        description="between the bins, the least first; a value on an edge is in the bin after it"
    )
    blocks: tuple[tuple[_Count, ...], ...] = Field(
        min_length=2,
        max_length=MAX_BLOCKS,
        description="images in each bin, for each of some blocks that divide no group",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.bins)) != len(self.bins):
            raise ValueError("each bin has a name of its own")
        if len(self.edges) != len(self.bins) - 1:
            raise ValueError("there is an edge between each two bins")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("each edge is greater than the one before it")
        if any(len(block) != len(self.bins) for block in self.blocks):
            raise ValueError("a block has a count for each bin")
        if sum(any(block) for block in self.blocks) < 2:
            raise ValueError("at least two blocks hold images")
        return self

    @property
    def counts(self) -> tuple[int, ...]:
        """Images in each bin, of all blocks."""
        return tuple(map(sum, zip(*self.blocks, strict=True)))


class DriftReference(BaseModel):
    """How the answers for the held-out images are spread."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    images: int = Field(ge=1, description="held-out images")
    groups: int = Field(ge=1, description="near-duplicates and one patient's images are one")
    quantities: tuple[Quantity, ...] = Field(min_length=1, max_length=MAX_QUANTITIES)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if len({quantity.name for quantity in self.quantities}) != len(self.quantities):
            raise ValueError("each quantity is there once")
        return self
