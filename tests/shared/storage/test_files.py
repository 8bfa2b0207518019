"""Writing a file: all of it or nothing. Reading JSON: what it should be, or a line why not."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from components.shared.errors import UserError
from components.shared.storage.files import read_json, write_atomically, written_atomically


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


class Note(BaseModel):
    text: str


def test_json_is_read_or_its_fault_is_told(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    with pytest.raises(UserError, match=r"note\.json: cannot read: .*; write it"):
        read_json(path, Note, "write it")
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"note\.json: cannot read: .*; write it"):
        read_json(path, Note, "write it")
    path.write_text('{"text": 1}')
    with pytest.raises(UserError, match=r"note\.json: text: .*; write it"):
        read_json(path, Note, "write it")
    path.write_text('{"text": "ä"}')
    assert read_json(path, Note, "write it").text == "ä"


def test_what_cannot_be_written_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for write in (
        lambda: write_atomically(tmp_path / "folder", "text"),
        lambda: _write_lines(tmp_path / "folder"),
    ):
        with pytest.raises(IsADirectoryError) as error:
            write()
        assert error.value.filename == str(tmp_path / "folder")
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_is_not_written_to_its_end_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("before")
    lines = (f"{2 / number}\n" for number in (2, 1, 0))
    with pytest.raises(ZeroDivisionError), written_atomically(tmp_path / "a.csv") as file:
        file.writelines(lines)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    _write_lines(tmp_path / "new" / "a.csv")
    assert (tmp_path / "new" / "a.csv").read_bytes() == "ä\n".encode()


def _write_lines(path: Path) -> None:
    with written_atomically(path) as file:
        file.write("ä\n")
