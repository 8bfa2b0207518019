"""Zip archives whose entries come one after the other, so that memory does not grow with them.

`zipfile` makes an object of about a kilobyte for each entry before it shows the first. Here the
central directory is read as a stream, and `zipfile` reads the entries.
"""

import os
import struct
import zipfile
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_END, _LOCATOR, _END64 = (
    struct.Struct("<4s4H2LH"),
    struct.Struct("<4sLQL"),
    struct.Struct("<4sQ2H2L4Q"),
)
_HEADER = struct.Struct("<4s6H3L5H2L")
_PACKED = struct.Struct("<QQL3HQ")
_LOCAL_HEADER = 30  # bytes before the name
_BUFFER = 2**18
_UTF8 = 0x800  # flag


class Entry(NamedTuple):
    """A line of the central directory.

    Attributes:
        name: As it stands there, decoded.
        size: Bytes, unpacked.
        packed: Bytes in the archive.
        crc: CRC-32 of the unpacked bytes.
        flags: General purpose flags.
        method: Of compression.
        mode: Of Unix, as far as the archive has it.
        offset: Of the local header in the file.
    """

    name: str
    size: int
    packed: int
    crc: int
    flags: int
    method: int
    mode: int
    offset: int

    @property
    def path(self) -> str:
        """The name as people mean it, with forward slashes."""
        name = self.name
        if not self.flags & _UTF8 and not name.isascii():
            # Info-ZIP's zip and macOS write UTF-8 and do not say so.
            with suppress(UnicodeDecodeError):
                name = name.encode("cp437").decode()
        # Programs end a name at a NUL; old ones of Windows separate folders by backslashes.
        return name.partition("\0")[0].replace("\\", "/")

    def as_bytes(self) -> bytes:
        """Returns the entry as bytes, of which `from_bytes` makes it again."""
        return _PACKED.pack(*self[1:]) + self.name.encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Entry":
        """Returns the entry of which `as_bytes` made the bytes."""
        return cls(content[_PACKED.size :].decode(), *_PACKED.unpack_from(content))


class _Unlisted(zipfile.ZipFile):
    """An archive that is opened without its entries."""

    def _RealGetContents(self) -> None:  # noqa: N802  # the name is zipfile's
        """Makes no object for each entry."""


class ZipArchive:
    """An archive, read by any number of threads."""

    def __init__(self, path: Path) -> None:
        """Finds the central directory.

        Args:
            path: The archive.

        Raises:
            zipfile.BadZipFile: It is none.
            OSError: It cannot be read.
        """
        self._path = path
        self._archive = _Unlisted(path)
        self._offsets = array("Q")  # of all entries
        self._sorted: np.ndarray | None = None
        try:
            with open(path, "rb") as file:
                self._start, self._stop, self._before = _directory(file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._archive.close()

    def entries(self) -> Iterator[Entry]:
        """Yields the entries in the directory's order.

        Raises:
            zipfile.BadZipFile: The directory is damaged.
            UnicodeDecodeError: A name says that it is UTF-8 and is not.
        """
        self._offsets = array("Q")
        with open(self._path, "rb", buffering=_BUFFER) as file:
            file.seek(self._start)
            left = self._stop - self._start
            while left > 0:
                entry, length = _entry(file, self._before)
                left -= length
                if left < 0:
                    raise zipfile.BadZipFile("an entry leaves its central directory")
                self._offsets.append(entry.offset)
                yield entry
        self._sorted = np.sort(np.frombuffer(self._offsets, dtype=np.uint64))

    def read(self, entry: Entry, max_bytes: int) -> bytes:
        """Returns the content of an entry, checked against its CRC-32 where it is read whole.

        Args:
            entry: One that is stored or deflated.
            max_bytes: Bytes to return at most.

        Raises:
            zipfile.BadZipFile: It is damaged, or shares bytes with another entry.
            zlib.error: Likewise.
        """
        self._check_overlap(entry)
        info = zipfile.ZipInfo(entry.name)
        info.file_size, info.compress_size, info.CRC = entry.size, entry.packed, entry.crc
        info.flag_bits, info.compress_type = entry.flags, entry.method
        info.header_offset = entry.offset
        with self._archive.open(info) as content:
            return content.read(max_bytes)

    def _check_overlap(self, entry: Entry) -> None:
        """Refuses what begins in another entry: a bomb unpacks the same bytes many times."""
        offsets = self._sorted if self._sorted is not None else np.empty(0, np.uint64)
        first = np.searchsorted(offsets, np.uint64(entry.offset), "left")
        after = np.searchsorted(offsets, np.uint64(entry.offset), "right")
        limit = int(offsets[after]) if after < len(offsets) else self._start
        end = entry.offset + _LOCAL_HEADER + len(entry.name) + entry.packed
        if after - first > 1 or end > limit:
            raise zipfile.BadZipFile("it shares bytes with another entry")


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """Returns where the central directory begins and ends, and how many bytes precede the zip."""
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise zipfile.BadZipFile("it has no end-of-central-directory record")
    _, disk, first_disk, _, _, length, offset, _ = _END.unpack_from(tail, at)
    stop = tail_start + at
    file.seek(max(0, stop - _LOCATOR.size))
    locator = file.read(_LOCATOR.size)
    if locator.startswith(b"PK\6\7") and len(locator) == _LOCATOR.size:
        stop -= _LOCATOR.size + _END64.size
        file.seek(max(0, stop))
        record = file.read(_END64.size)
        if not record.startswith(b"PK\6\6"):
            raise zipfile.BadZipFile("its zip64 end-of-central-directory record is missing")
        _, _, _, _, disk, first_disk, _, _, length, offset = _END64.unpack(record)
    if disk or first_disk:
        raise zipfile.BadZipFile("it spans several files")
    before = stop - length - offset
    if stop - length < 0 or before < 0:
        raise zipfile.BadZipFile("its central directory lies outside of it")
    return stop - length, stop, before


def _entry(file: BinaryIO, before: int) -> tuple[Entry, int]:
    """Reads the next entry; returns it and its length in bytes."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(b"PK\1\2"):
        raise zipfile.BadZipFile("its central directory is damaged")
    _, _, _, flags, method, _, _, crc, packed, size, *rest_of_header = _HEADER.unpack(header)
    name_length, extra_length, comment_length, _, _, attributes, offset = rest_of_header
    length = name_length + extra_length + comment_length
    rest = file.read(length)
    if len(rest) < length:
        raise zipfile.BadZipFile("its central directory is cut off")
    if 0xFFFFFFFF in (size, packed, offset):
        extra = rest[name_length : name_length + extra_length]
        size, packed, offset = _zip64(extra, size, packed, offset)
    name = rest[:name_length].decode("utf-8" if flags & _UTF8 else "cp437")
    entry = Entry(
        name=name,
        size=size,
        packed=packed,
        crc=crc,
        flags=flags,
        method=method,
        mode=attributes >> 16,
        offset=before + offset,
    )
    return entry, _HEADER.size + length


def _zip64(extra: bytes, *values: int) -> Iterator[int]:
    """Yields values with those that do not fit 32 bits taken from the extra field."""
    large = b""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            large = extra[at + 4 : at + 4 + length]
            break
        at += 4 + length
    for value in values:
        if value == 0xFFFFFFFF:
            if len(large) < 8:
                raise zipfile.BadZipFile("a zip64 field is cut off")
            (value,) = struct.unpack_from("<Q", large)
            large = large[8:]
        yield value
