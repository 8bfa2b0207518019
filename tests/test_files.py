"""Writing a file: all of it or nothing."""

from pathlib import Path

import pytest

from components.files import write_atomically


def test_text_and_bytes(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "text", "größer\n")
    write_atomically(tmp_path / "bytes", b"\0\1")
    assert (tmp_path / "new" / "text").read_bytes() == "größer\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\0\1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "new"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, "old and long")
    with file.open() as reader:
        write_atomically(file, "new")
        assert reader.read() == "old and long"
    assert file.read_text() == "new"


def test_what_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "\udcff")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
