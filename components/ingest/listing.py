"""The list of a source's files: in order, and on disk, so that memory does not grow with it."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple, overload

from typing_extensions import override

# Names of files that are no UTF-8 come back as they were.
_ERRORS = "surrogatepass"
_LARGEST = 2**63 - 1  # SQLite's greatest integer; a hostile zip claims more
_COLUMNS = "name, place, path, label, size, stamp, problem, patient, site, sequence, type, plane"


class Found(NamedTuple):
    """What a listing found, before it is known whether it belongs to a class.

    Attributes:
        name: Relative, with forward slashes, otherwise as it is.
        size: Bytes, as the source declares them.
        stamp: Changes when the content does: a checksum, or a time of change.
        problem: Why it must not be read, or None.
        place: What the source's reader needs besides the name.
        is_folder: Whether it is or may be a folder, of which nothing is known.
    """

    name: str
    size: int = 0
    stamp: str = ""
    problem: str | None = None
    place: bytes = b""
    is_folder: bool = False


class Listed(NamedTuple):
    """What a listing found and what is known of it.

    Attributes:
        found: What the source says.
        path: As in `SourceFile`, and so are the others.
        label: See there.
        patient: See there.
        site: See there.
        sequence: See there.
        type: See there.
        plane: See there.
    """

    found: Found
    path: str
    label: int | None
    patient: str | None = None
    site: str | None = None
    sequence: str | None = None
    type: str | None = None
    plane: str | None = None


Reader = Callable[[str, bytes], bytes]
"""Returns the content of a file, from its name and its place."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file in a class folder, or a folder that is not read.

    Attributes:
        path: Inside the source, with forward slashes.
        label: Class index, from the nearest class folder above it; None for a folder with a
            problem that lies in no class folder.
        size: Bytes, as the source declares them.
        stamp: Changes when the content does: a checksum, or a time of change.
        read: Returns the content, never more than the largest allowed size plus one byte. It
            raises a UserError where not the file but the store that holds it is at fault.
        problem: Why the file must not be read, or None.
        patient: As the source's labels name him or her, who must stay unnamed in all that is
            written; None where unknown.
        site: Where it was taken, None where unknown.
        sequence: Such as FLAIR, None where unknown.
        type: Of the tumour, such as glioma, None where unknown.
        plane: Such as axial, None where unknown.
        source: Name of the source that it is from, where there are several.
    """

    path: str
    label: int | None
    size: int
    stamp: str
    read: Callable[[], bytes]
    problem: str | None = None
    patient: str | None = None
    site: str | None = None
    sequence: str | None = None
    type: str | None = None
    plane: str | None = None
    source: str | None = None


class Files(Sequence[SourceFile]):
    """Files by class, then by path; those with a problem and no class come first.

    SQLite sorts them, and keeps what is more than a few MB in a temporary file that goes with it.
    """

    def __init__(self, listed: Iterable[Listed], read: Reader) -> None:
        """Takes in and sorts what was found.

        Args:
            listed: The files, in any order.
            read: Reads one of them.

        Raises:
            sqlite3.Error: The disk is full.
        """
        self._read = read
        self._database = sqlite3.connect("", isolation_level=None)
        run = self._database.execute
        run("PRAGMA journal_mode = OFF")
        run(f"CREATE TABLE found ({_COLUMNS})")
        run("BEGIN")
        self._database.executemany(
            f"INSERT INTO found VALUES ({', '.join('?' * (_COLUMNS.count(',') + 1))})",
            map(_row, listed),
        )
        run(
            f"CREATE TABLE files AS SELECT {_COLUMNS}, "
            "row_number() OVER (PARTITION BY name ORDER BY rowid) > 1 AS again "
            "FROM found ORDER BY label, path, rowid"
        )
        run("COMMIT")
        run("DROP TABLE found")
        run("UPDATE files SET problem = 'a second file of this name' WHERE again")
        (self._count,) = run("SELECT count(*) FROM files").fetchone()

    def close(self) -> None:
        """Gives the temporary file back."""
        self._database.close()

    @cached_property
    def counts(self) -> dict[int | None, int]:
        """How many files there are of each class, in their order."""
        rows = self._database.execute(
            "SELECT label, count(*) FROM files GROUP BY label ORDER BY label"
        )
        return dict(rows.fetchall())

    @override
    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SourceFile, ...]: ...
    @override
    def __getitem__(self, index: int | slice) -> SourceFile | tuple[SourceFile, ...]:
        if isinstance(index, slice):
            chosen = range(self._count)[index]
            if chosen.step != 1:
                return tuple(self[i] for i in chosen)
            return tuple(self.between(chosen.start, chosen.stop))
        at = range(self._count)[index]
        return next(self.between(at, at + 1))

    @override
    def __iter__(self) -> Iterator[SourceFile]:
        return self.between(0, self._count)

    def between(self, start: int, stop: int) -> Iterator[SourceFile]:
        """Yields the files from one position to another, without a copy of the list."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM files WHERE rowid > ? AND rowid <= ? ORDER BY rowid",
            (start, stop),
        )
        for name, place, path, label, size, stamp, *known in rows:
            read = partial(self._read, name.decode(errors=_ERRORS), place)
            yield SourceFile(path, label, size, stamp, read, *known)


class JoinedFiles(Sequence[SourceFile]):
    """The files of several sources: by class, then by source, then by path.

    A path begins with the name of its source.
    """

    def __init__(self, files: "Mapping[str, Files | JoinedFiles]") -> None:
        """Takes the files of each source, by the source's name."""
        self.counts: dict[int | None, int] = {}
        # Positions here, source, its files, and the first of them.
        self._runs: list[tuple[range, str, Files | JoinedFiles, int]] = []
        begun = dict.fromkeys(files, 0)
        labels = {label for of_source in files.values() for label in of_source.counts}
        for label in sorted(labels, key=lambda label: -1 if label is None else label):
            for name, of_source in files.items():
                if count := of_source.counts.get(label, 0):
                    here = range(len(self), len(self) + count)
                    self._runs.append((here, name, of_source, begun[name]))
                    self.counts[label] = self.counts.get(label, 0) + count
                    begun[name] += count

    @override
    def __len__(self) -> int:
        return self._runs[-1][0].stop if self._runs else 0

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SourceFile, ...]: ...
    @override
    def __getitem__(self, index: int | slice) -> SourceFile | tuple[SourceFile, ...]:
        if isinstance(index, slice):
            chosen = range(len(self))[index]
            if chosen.step != 1:
                return tuple(self[i] for i in chosen)
            return tuple(self.between(chosen.start, chosen.stop))
        at = range(len(self))[index]
        return next(self.between(at, at + 1))

    @override
    def __iter__(self) -> Iterator[SourceFile]:
        return self.between(0, len(self))

    def between(self, start: int, stop: int) -> Iterator[SourceFile]:
        """Yields the files from one position to another, without a copy of the list."""
        for here, name, files, begin in self._runs:
            first, last = max(start, here.start), min(stop, here.stop)
            if first < last:
                moved = begin - here.start
                for file in files.between(first + moved, last + moved):
                    yield replace(file, path=f"{name}/{file.path}", source=name)


def _row(listed: Listed) -> tuple[object, ...]:
    found, path, label, *known = listed
    name, size = found.name.encode(errors=_ERRORS), min(found.size, _LARGEST)
    return name, found.place, path, label, size, found.stamp, found.problem, *known
