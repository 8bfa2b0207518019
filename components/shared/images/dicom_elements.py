"""Elements of a DICOM: pydicom reads them, and no more of them than is allowed.

pydicom trusts what it reads, and quotes it in warnings and logs. Both are silenced here.
"""

import io
import logging
import struct
import warnings
import zlib

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_sequence
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from components.shared.images.decode import ImageError

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False  # nor do the loggers below it
warnings.filterwarnings("ignore", module=r"pydicom\b")

_PREAMBLE, _MAGIC = 128, b"DICM"
_MAX_READS = 500_000  # of pydicom, which needs two or three for an element
_MAX_VALUE = 2**20  # bytes, of pixels and sequences apart


class Elements:
    """Elements of a file, or of an item of one of its sequences."""

    def __init__(self, dataset: Dataset, reads: "_Reads") -> None:
        """Args: dataset: As pydicom has read it; reads: how often the file may still be read."""
        self.dataset = dataset
        self._reads = reads
        self._items: dict[str, list[Elements]] = {}

    def __contains__(self, keyword: str) -> bool:
        """Tells whether there is such an element."""
        return keyword in self.dataset

    @property
    def is_cut_off(self) -> bool:
        """Whether the file ends within an element."""
        return self._reads.is_cut_off

    def numbers(self, keyword: str) -> list[float]:
        """Returns the numbers of an element: an empty element has none.

        Raises:
            ImageError: It is longer than any such element.
        """
        self.content(keyword)
        try:
            value = self.dataset[keyword].value
            return [float(each) for each in (value if isinstance(value, MultiValue) else [value])]
        except Exception:  # it may be missing, or anything
            return []

    def number(self, keyword: str, default: int | None = None) -> int:
        """Returns the first whole number of an element.

        Raises:
            ImageError: As for `numbers`, or there is neither a number nor a default.
        """
        first = next(iter(self.numbers(keyword)), default)
        if first is None or first != int(first):
            raise ImageError("unreadable", f"the DICOM does not say its {keyword}")
        return int(first)

    def text(self, keyword: str) -> str:
        """Returns the content of an element as text of one byte a character, without filling.

        Raises:
            ImageError: It is longer than any such element.
        """
        return self.content(keyword).decode("latin-1").strip("\0 ")

    def words(self, keyword: str) -> np.ndarray:
        """Returns the content of an element as numbers of 16 bits, uint16 [n].

        Raises:
            ImageError: It is longer than any such element.
        """
        content = self.content(keyword)
        element = self._raw(keyword)
        order = "<" if element is None or element.is_little_endian else ">"
        return np.frombuffer(content[: len(content) // 2 * 2], f"{order}u2").astype(np.uint16)

    def content(self, keyword: str) -> bytes:
        """Returns the content of an element that has not been read as numbers before.

        Raises:
            ImageError: It is longer than any such element.
        """
        element = self._raw(keyword)
        content = (element.value or b"") if element else b""
        if len(content) > _MAX_VALUE:
            raise ImageError("too-much-work", f"the {keyword} of the DICOM is very long")
        return content

    def items(self, keyword: str) -> "list[Elements]":
        """Returns the items of a sequence: none where there is no such sequence.

        Raises:
            Exception: It is broken, or holds very much.
        """
        if keyword not in self._items:
            self._items[keyword] = self._parsed(keyword)
        return self._items[keyword]

    def _parsed(self, keyword: str) -> "list[Elements]":
        if keyword not in self.dataset:
            return []
        element = self._raw(keyword)
        if element is None:  # of a length that is not told, so that it has been parsed
            found = self.dataset[keyword].value
        else:
            content = element.value or b""
            is_implicit = element.is_implicit_VR or element.VR == "UN"
            found = read_sequence(
                _Counted(content, self._reads),
                is_implicit,
                element.is_little_endian,
                len(content),
                "iso8859",
            )
        return [Elements(item, self._reads) for item in found]

    def _raw(self, keyword: str) -> RawDataElement | None:
        if keyword not in self.dataset:
            return None
        element = self.dataset.get_item(keyword)
        return element if isinstance(element, RawDataElement) else None

    def type_of(self, keyword: str) -> str:
        """Returns the type of an element, such as `SS`, that has not been read as numbers before.

        Empty where the file does not say it.
        """
        element = self._raw(keyword)
        return (element.VR or "") if element else ""


class _Reads:
    """How often a file may still be read, and whether it ended too early."""

    left = _MAX_READS
    is_cut_off = False

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ImageError("too-much-work", "the DICOM has very many elements")


class _Counted(io.BytesIO):
    """Bytes that cannot be read without end."""

    def __init__(self, content: bytes, reads: _Reads) -> None:
        super().__init__(content)
        self._reads = reads

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads.count()
        content = super().read(size)
        # At the end of a whole file nothing is left, and so pydicom gets nothing.
        self._reads.is_cut_off |= bool(content) and len(content) < (size or 0)
        return content


def parsed(data: bytes, wanted: list[str], max_bytes: int) -> tuple[Elements, uid.UID]:
    """Parses a file.

    Args:
        data: Its bytes, with or without the first 132 that tell a DICOM.
        wanted: Keywords of the elements to keep.
        max_bytes: That may be unpacked of a deflated file.

    Returns:
        Its elements, and how its pixels are stored.

    Raises:
        Exception: It is broken, or holds more than is allowed.
    """
    reads = _Reads()
    stream = _Counted(data, reads)
    if data[_PREAMBLE : _PREAMBLE + 4] == _MAGIC:
        stream.seek(_PREAMBLE + 4)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    syntax = meta.get("TransferSyntaxUID") or _guessed(data[stream.tell() :][:6])
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        stream = _Counted(_inflated(data[stream.tell() :], max_bytes), reads)
    dataset = read_dataset(
        stream,
        syntax == uid.ImplicitVRLittleEndian,
        syntax != uid.ExplicitVRBigEndian,
        specific_tags=[Tag(keyword) for keyword in wanted],
    )
    if reads.left < 0:
        raise ImageError("too-much-work", "the DICOM has very many elements")
    # pydicom steps over what is not wanted, and past the end where the file lacks the rest.
    reads.is_cut_off |= stream.tell() > stream.getbuffer().nbytes
    return Elements(dataset, reads), uid.UID(syntax)


def _guessed(head: bytes) -> uid.UID:
    """Returns how a file is written that does not say so, by the beginning of its first element."""
    if not (head[4:6].isalpha() and head[4:6].isupper()):
        return uid.ImplicitVRLittleEndian
    (group,) = struct.unpack_from("<H", head)
    return uid.ExplicitVRLittleEndian if group < 0x100 else uid.ExplicitVRBigEndian


def _inflated(packed: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = inflater.decompress(packed, max_bytes + 1)
    if len(unpacked) > max_bytes:
        raise ImageError("too-large", f"the DICOM unpacks to more than {max_bytes:,} bytes")
    if not inflater.eof:
        raise ImageError("unreadable", "the deflated DICOM is cut off")
    return unpacked
