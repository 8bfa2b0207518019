"""Stored samples of a grey DICOM -> what a viewer shows of them first (PS3.3 C.7.6.16, C.11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.shared.images import deep
from components.shared.images.decode import ImageError
from components.shared.images.dicom_elements import Elements

_MAX_ENTRIES = 65_536


@dataclass(frozen=True)
class Table:
    """A look-up table.

    Attributes:
        first: The value that its first entry is for; smaller ones get it too, and greater ones the
            last.
        entries: uint8 or uint16 [n].
        bits: Of an entry.
    """

    first: int
    entries: np.ndarray
    bits: int

    @classmethod
    def of(cls, elements: Elements, prefix: str, is_signed: bool) -> "Table | None":
        """Returns the table of some elements.

        Args:
            elements: They hold it.
            prefix: Of the keywords of its description and of its entries.
            is_signed: The values that it is for may be negative.

        Raises:
            ImageError: It is broken.
        """
        description = elements.words(f"{prefix}Descriptor")[:3]
        entries = elements.content(f"{prefix}Data")
        if len(description) < 3 or not entries:
            return None
        count, bits = int(description[0]) or _MAX_ENTRIES, int(description[2])
        # DCMTK's conversion of implicit files says unsigned of every table.
        if is_signed or elements.type_of(f"{prefix}Descriptor") == "SS":
            description = description.view(np.int16)
        first = int(description[1])
        read = elements.words(f"{prefix}Data")
        if len(read) < count:  # two in a word
            read = np.frombuffer(entries, np.uint8)
        if len(read) < count or not 1 <= bits <= 16:
            raise ImageError("unreadable", "a look-up table of the DICOM is broken")
        return cls(first, read[:count], bits)

    def of_values(self, values: np.ndarray) -> np.ndarray:
        """Returns the entry of each value, of any shape."""
        place = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[place.astype(np.int64)]

    def grey(self, values: np.ndarray) -> np.ndarray:
        """Returns the same of 0 to 255, float64."""
        return self.of_values(values) * (255 / (2**self.bits - 1))


@dataclass(frozen=True)
class Window:
    """The part of the values that is shown from black to white.

    Attributes:
        centre: Its middle.
        width: Of it, greater than 0.
        function: Empty, `LINEAR`, `LINEAR_EXACT` or `SIGMOID`.
    """

    centre: float
    width: float
    function: str = ""

    def grey(self, values: np.ndarray) -> np.ndarray:
        """Returns the grey of each value, float64 of any shape; 0 is black and 255 white."""
        if self.function == "SIGMOID":
            return 255 / (1 + np.exp(-4 * (values - self.centre) / self.width))
        if self.function == "LINEAR_EXACT":
            return ((values - self.centre) / self.width + 0.5) * 255
        if self.width <= 1:
            return np.where(values > self.centre - 0.5, 255.0, 0.0)
        return ((values - self.centre + 0.5) / (self.width - 1) + 0.5) * 255


@dataclass(frozen=True)
class Display:
    """What the file says of the values of a frame.

    Attributes:
        modality: Stored values -> those of the modality, by a table.
        slope: By a line, where there is no table.
        intercept: Likewise.
        shown: Values of the modality -> greys; None where the file leaves that open.
    """

    modality: Table | None = None
    slope: float = 1.0
    intercept: float = 0.0
    shown: Table | Window | None = None

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Returns the values of the modality: of any shape; as stored where these are the same."""
        if self.modality:
            return self.modality.of_values(stored)
        if (self.slope, self.intercept) == (1, 0):
            return stored
        with np.errstate(all="ignore"):  # a slope may lead beyond all numbers
            return stored.astype(np.float64) * self.slope + self.intercept

    def greys(self, stored: np.ndarray) -> np.ndarray:
        """Returns what is shown: uint8 [height, width].

        Args:
            stored: [height, width].
        """
        assert self.shown
        greys = np.empty(stored.shape, np.uint8)
        for part in deep.parts(len(stored)):
            with np.errstate(all="ignore"):
                shown = self.shown.grey(self.values(stored[part]).astype(np.float64))
            greys[part] = np.rint(np.clip(np.nan_to_num(shown), 0, 255))
        return greys


def display(sources: Sequence[Elements], is_signed: bool) -> Display:
    """Returns what a file says of the values of a frame.

    Of several windows the first counts. A table for display comes before a window. What is broken
    counts as missing.

    Args:
        sources: Where that may be said, what says it more closely first.
        is_signed: Stored values may be negative.

    Raises:
        ImageError: A table is broken.
    """
    line: dict[str, float] = {}
    modality: Table | None = None
    shown: list[Table | Window] = []
    for each in sources:
        for keyword in ("RescaleSlope", "RescaleIntercept"):
            for number in each.numbers(keyword)[:1]:
                line.setdefault(keyword, number)
        for item in each.items("ModalityLUTSequence")[:1]:
            modality = modality or Table.of(item, "LUT", is_signed)
    slope, intercept = line.get("RescaleSlope", 1.0), line.get("RescaleIntercept", 0.0)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        slope, intercept = 1.0, 0.0
    for each in sources:
        for item in each.items("VOILUTSequence")[:1]:
            may_be_negative = modality is None and (is_signed or intercept < 0)
            if table := Table.of(item, "LUT", may_be_negative):
                shown.append(table)
        shown.extend(_window(each))
    return Display(modality, slope, intercept, next(iter(shown), None))


def _window(elements: Elements) -> list[Window]:
    """Returns the first window of some elements, if they have one that can be."""
    function = elements.text("VOILUTFunction")
    least = 0 if function in ("LINEAR_EXACT", "SIGMOID") else 1
    ends = elements.numbers("WindowCenter")[:1] + elements.numbers("WindowWidth")[:1]
    if len(ends) < 2 or not np.isfinite(ends).all():
        return []
    centre, width = ends
    return [Window(centre, width, function)] if width >= least and width > 0 else []
