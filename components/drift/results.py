"""What a comparison found: `drift.json` of the drift step."""

from pathlib import Path

from pydantic import AwareDatetime, Field, FiniteFloat

from components.shared.storage.files import read_json, write_atomically
from components.shared.strict import Strict

RESULT = "drift.json"


class Compared(Strict):
    """One quantity: served images against those of the reference."""

    name: str
    bins: tuple[str, ...]
    edges: tuple[FiniteFloat, ...]
    reference: tuple[int, ...] = Field(description="images in each bin")
    served: tuple[FiniteFloat, ...]
    psi: FiniteFloat = Field(ge=0, description="population stability index")
    low: FiniteFloat = Field(ge=0, description="of its 95% interval")
    high: FiniteFloat = Field(ge=0)
    by_chance: FiniteFloat = Field(ge=0, description="the index where nothing changed, on average")
    p_value: FiniteFloat = Field(ge=0, le=1, description="of the two-sample test, by itself")
    adjusted_p_value: FiniteFloat = Field(ge=0, le=1, description="Holm's, of all tests together")
    drifted: bool


class Drift(Strict):
    """What was found, and by which rule."""

    version: int
    digest: str
    begin: AwareDatetime
    end: AwareDatetime
    served_images: FiniteFloat = Field(description="Prometheus' estimate")
    served_hours: int = Field(description="in which images were served")
    reference_images: int
    reference_groups: int
    psi_limit: FiniteFloat
    false_alarms: FiniteFloat
    undecided: str = Field(description="why nothing can be said; empty where it can")
    quantities: tuple[Compared, ...]
    left_out: tuple[str, ...] = Field((), description="quantities counted in too few hours")

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the quantities that drifted."""
        return tuple(quantity.name for quantity in self.quantities if quantity.drifted)

    @property
    def verdict(self) -> str:
        """For people, in a line."""
        if self.undecided:
            return f"undecided: {self.undecided}"
        if self.drifted:
            said = f"drift in {', '.join(self.drifted)}"
        else:
            count = len(self.quantities)
            said = f"no drift in {count} {'quantity' if count == 1 else 'quantities'}"
        if self.left_out:
            said += f"; counted in too few hours: {', '.join(self.left_out)}"
        return said

    def metrics(self) -> dict[str, float]:
        """Returns what KFP's UI shows as metrics."""
        return {
            "served_images": self.served_images,
            "drifted": len(self.drifted),
            **{f"psi_{quantity.name}": quantity.psi for quantity in self.quantities},
        }

    @classmethod
    def open(cls, folder: str | Path) -> "Drift":
        """Reads what the drift step wrote."""
        return read_json(Path(folder, RESULT), cls, "run the drift step again")

    def write(self, folder: str | Path) -> None:
        """Writes it into a folder."""
        write_atomically(Path(folder, RESULT), self.model_dump_json(indent=1) + "\n")
