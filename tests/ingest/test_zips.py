"""The streamed central directory says what `zipfile` says, and takes no memory for an entry."""

import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.ingest.sources import open_source
from components.ingest.zips import Entry, ZipArchive

Writer = Callable[[Path, dict[str, bytes]], Path]
MOST = 2**20


def read(path: Path) -> list[tuple[Entry, bytes]]:
    with closing(ZipArchive(path)) as archive:
        return [(entry, archive.read(entry, MOST)) for entry in list(archive.entries())]


def read_by_zipfile(path: Path) -> list[tuple[Entry, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(of_zipfile(info), archive.read(info)) for info in archive.infolist()]


def of_zipfile(info: zipfile.ZipInfo) -> Entry:
    return Entry(
        name=info.orig_filename,
        size=info.file_size,
        packed=info.compress_size,
        crc=info.CRC,
        flags=info.flag_bits,
        method=info.compress_type,
        mode=info.external_attr >> 16,
        offset=info.header_offset,
    )


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    files=st.dictionaries(names, st.binary(max_size=300), max_size=5),
    comment=st.binary(max_size=200),
    before=st.binary(max_size=50),
    extra=st.sampled_from([b"", b"\x55\x54\x05\x00\x03abcd"]),
)
def test_it_says_what_zipfile_says(
    tmp_path: Path, files: dict[str, bytes], comment: bytes, before: bytes, extra: bytes
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = comment
        for number, (name, content) in enumerate(files.items()):
            info = zipfile.ZipInfo(name)
            info.extra, info.comment = extra, comment[:9]
            archive.writestr(info, content, 8 * (number % 2))
    path.write_bytes(before + path.read_bytes())
    expected = read_by_zipfile(path)
    assert read(path) == expected
    assert [Entry.from_bytes(entry.as_bytes()) for entry, _ in expected] == [e for e, _ in expected]


@settings(
    deadline=None,
    derandomize=True,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
@example(where=0.8125, value=2)  # a name that is a byte longer than its directory
def test_a_damaged_archive_lists_what_zipfile_lists_or_is_refused(
    tmp_path: Path, as_zip: Writer, where: float, value: int
) -> None:
    path = as_zip(tmp_path / "a.zip", {"Healthy/ä.png": b"x" * 9, "b": b"y" * 9})
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] = value
    path.write_bytes(data)
    try:
        with zipfile.ZipFile(path) as archive:
            expected = [of_zipfile(info) for info in archive.infolist()]
    except (ValueError, NotImplementedError, zipfile.BadZipFile):
        return
    # Lines that go on beyond the directory are refused, where zipfile takes what there is.
    with suppress(zipfile.BadZipFile), closing(ZipArchive(path)) as archive:
        assert list(archive.entries()) == expected


def test_names_of_dos(tmp_path: Path, as_zip: Writer) -> None:
    path = as_zip(tmp_path / "a.zip", {"Healthy/X.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"Healthy/X", b"Healthy/\x84"))
    assert read(path) == read_by_zipfile(path)
    assert read(path)[0][0].name == "Healthy/ä.png"


def test_beyond_4_gib(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with open(path, "wb") as file:
        file.seek(5 * 2**30)  # which takes no space
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("Healthy/a.png", b"a")
            archive.writestr("Healthy/b.png", b"b" * 99, zipfile.ZIP_DEFLATED)
    assert read(path)[1][0].offset > 5 * 2**30
    assert read(path) == read_by_zipfile(path)


def test_entries_that_share_bytes_are_not_read(tmp_path: Path, as_zip: Writer) -> None:
    files = {f"Healthy/{name}.png": b"stored" * 20 for name in "abc"}
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    whole = path.read_bytes()
    with closing(ZipArchive(path)) as archive:
        first, second, _ = archive.entries()
    line = whole.index(b"PK\1\2")
    second_line = whole.index(b"PK\1\2", line + 1)

    def faults(at: int, value: int) -> list[str | None]:
        data = bytearray(whole)
        data[at : at + 4] = value.to_bytes(4, "little")
        path.write_bytes(data)
        found: list[str | None] = []
        with open_source(str(path)) as source:
            for file in source.files:
                try:
                    file.read()
                except zipfile.BadZipFile as error:
                    found.append(str(error))
                else:
                    found.append(None)
        return found

    shared = "it shares bytes with another entry"
    # One begins where another does; one goes on over the next; both are made to seem whole.
    assert faults(second_line + 42, first.offset) == [shared, shared, None]
    assert faults(line + 20, first.packed + second.offset) == [shared, None, None]


def test_memory_does_not_grow_with_the_entries(tmp_path: Path, as_zip: Writer) -> None:
    def peak(count: int) -> int:
        content = {f"Healthy/patient {i % 9}/slice {i:07d}.png": b"" for i in range(count)}
        path = as_zip(tmp_path / f"{count}.zip", content)
        del content
        tracemalloc.start()
        with open_source(str(path)) as source:
            assert len(source.files) == count
            source.fingerprint()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # what is imported or kept once
    assert peak(7_000) - peak(2_000) < 5_000 * 40  # bytes; an object each would be 20 times that


@pytest.mark.parametrize("cut", [1, 10, 21, 30, 60])
def test_what_ends_too_early(tmp_path: Path, as_zip: Writer, cut: int) -> None:
    path = as_zip(tmp_path / "a.zip", {"Healthy/a.png": b"x"})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(zipfile.BadZipFile):
        read(path)
