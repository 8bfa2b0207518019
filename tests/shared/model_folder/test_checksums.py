"""SHA256SUMS: what is written verifies, and every kind of change is named."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import UserError
from components.shared.model_folder.checksums import verify, write_sums
from components.shared.model_folder.contract import SUMS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "data").write_bytes(b"weights")
    (tmp_path / "empty").mkdir()
    write_sums(tmp_path)
    return tmp_path


def test_what_is_written_verifies(folder: Path) -> None:
    verify(folder)
    files = [line.split("  ")[1] for line in (folder / SUMS).read_text().splitlines()]
    assert files == ["saved_model.pb", "variables/data"]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_sha256sum_reads_it(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "variables/data").write_bytes(b"Weights"), "variables/data has changed"),
        (lambda f: (f / "saved_model.pb").unlink(), "saved_model.pb is missing"),
        (lambda f: (f / "variables/more").write_bytes(b""), "variables/more is extra"),
        (
            lambda f: (f / SUMS).unlink(),
            r"SUMS \(No such file or directory\), so .*; give that",
        ),
        (lambda f: (f / SUMS).write_bytes(b"\xff\xfe"), "cannot read SHA256SUMS"),
        (lambda f: (f / SUMS).write_text("no digest"), "line 1 is malformed"),
        (lambda f: (f / SUMS).write_text(""), "is extra"),
        (lambda f: (f / "link").symlink_to(f / "saved_model.pb"), "link is a link"),
        (lambda f: (f / "loop").symlink_to(f), "loop is a link"),
        (lambda f: _replaced(f / SUMS).symlink_to("saved_model.pb"), "SHA256SUMS is a link"),
        (lambda f: os.mkfifo(_replaced(f / SUMS)), "SHA256SUMS is a link or no regular file"),
        (lambda f: os.truncate(f / SUMS, 3 * 2**30), "SHA256SUMS has 3,221,225,472 bytes"),
        (lambda f: os.mkfifo(f / "pipe"), "pipe is a link or no regular file"),
        (lambda f: (f / "/".join("d" * 100)).mkdir(parents=True), "50 folders in each other"),
        (lambda f: [(f / str(i)).touch() for i in range(10_001)], "more than 10,000 files"),
        (lambda f: os.truncate(f / "saved_model.pb", 2**43), "2,147,483,648 bytes"),
        (lambda f: (f / "two\nlines").write_bytes(b""), r"'two\\nlines' is extra"),
        (lambda f: (f / "a\x1b[31m").write_bytes(b""), r"'a\\x1b\[31m' is extra"),
        (lambda f: Path(os.fsdecode(bytes(f / "x") + b"\xff")).touch(), r"'x\\udcff' is extra"),
    ],
)
def test_every_change_is_named(folder: Path, harm: Callable[[Path], object], message: str) -> None:
    harm(folder)
    with pytest.raises(UserError, match=message) as caught:
        verify(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["../secret", "variables/../../secret", "/etc/passwd", ".."])
def test_a_path_that_leads_outside_is_never_read(folder: Path, file: str) -> None:
    (folder.parent / "secret").write_bytes(b"")
    with (folder / SUMS).open("a") as sums:
        sums.write("0" * 64 + f"  {file}\n")
    with pytest.raises(UserError, match="line 3 is malformed"):
        verify(folder)


def _replaced(path: Path) -> Path:
    path.unlink()
    return path


@settings(deadline=None, derandomize=True, max_examples=50)
@given(content=st.binary(min_size=1, max_size=200), data=st.data())
def test_any_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / "file").write_bytes(content)
    write_sums(folder)
    place = data.draw(st.integers(0, len(content) * 8 - 1))
    flipped = bytearray(content)
    flipped[place // 8] ^= 1 << place % 8
    (folder / "file").write_bytes(flipped)
    with pytest.raises(UserError, match="file has changed"):
        verify(folder)
