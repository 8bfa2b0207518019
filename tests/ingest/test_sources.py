"""Sources: what is listed, what must not be read, and what is said of what cannot be opened."""

import errno
import io
import os
import random
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.ingest import sources
from components.ingest.sources import open_source, sample_options, source_fingerprint
from components.shared.data.classes import HEALTHY, TUMOR
from components.shared.errors import UserError
from components.shared.images.decode import MAX_BYTES

Writer = Callable[[Path, dict[str, bytes]], Path]


def problems(uri: Path | str) -> dict[str, str | None]:
    with open_source(str(uri)) as source:
        return {file.path: file.problem for file in source.files}


def refused(uri: Path | str, version: str = "") -> str:
    with pytest.raises(UserError) as caught, open_source(str(uri), version):
        pass
    assert "\n" not in str(caught.value)
    assert str(uri) in str(caught.value)
    return str(caught.value)


def with_entry(
    path: Path, change: Callable[[zipfile.ZipInfo], None], content: bytes = b"x"
) -> Path:
    entry = zipfile.ZipInfo("Healthy/a.png")
    entry.compress_type = zipfile.ZIP_DEFLATED
    change(entry)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, content)
    return path


def test_a_folder_and_a_zip_list_the_same(
    tmp_path: Path, as_folder: Writer, as_zip: Writer, image_files: dict[str, bytes]
) -> None:
    files = {**image_files, "data/metadata.csv": b"a,b", "Brain_Tumour/deep/down/x.png": b"x"}
    listed = []
    for source in (as_folder(tmp_path / "folder", files), as_zip(tmp_path / "a.zip", files)):
        with open_source(str(source)) as opened:
            listed.append([(f.path, f.label, f.size, f.problem, f.read()) for f in opened.files])
    assert listed[0] == listed[1]
    assert len(listed[0]) == len(image_files) + 1
    assert [entry[:2] for entry in listed[0]] == sorted(
        (entry[:2] for entry in listed[0]), key=lambda entry: (entry[1], entry[0])
    )


def test_junk_is_not_listed(tmp_path: Path, as_folder: Writer, as_zip: Writer) -> None:
    files = {
        name: b"x"
        for name in (
            "Healthy/a.png",
            "Healthy/.DS_Store",
            "Healthy/Thumbs.db",
            "Healthy/desktop.ini",
            "__MACOSX/Healthy/._a.png",
            ".git/Healthy/a.png",
            "Healthy/.hidden/a.png",
            "Healthy/a.png:Zone.Identifier",
            "Healthy/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
            "Healthy/$RECYCLE.BIN/b.png",
            "labels.csv",
        )
    }
    for uri in (as_folder(tmp_path / "folder", files), as_zip(tmp_path / "a.zip", files)):
        with open_source(str(uri)) as source:
            assert [file.path for file in source.files] == ["Healthy/a.png"]
            assert source.left_out == {
                "hidden (begins with a dot)": 3,
                "Thumbs.db": 1,
                "desktop.ini": 1,
                "__MACOSX": 1,
                "Zone.Identifier": 1,
                "@eaDir": 1,
                "$RECYCLE.BIN": 1,
                "in no class folder": 1,
            }


@pytest.mark.parametrize(
    "name",
    [
        "../Healthy/a.png",
        "Healthy/../../a.png",
        "Healthy/../Healthy/a.png",
        "/Healthy/a.png",
        "//host/Healthy/a.png",
        "C:/Healthy/a.png",
        "x/Healthy/b\\..\\..\\a.png",
    ],
)
def test_names_that_lead_out_of_the_archive(tmp_path: Path, as_zip: Writer, name: str) -> None:
    found = problems(as_zip(tmp_path / "a.zip", {name: b"x"}))
    assert list(found.values()) == ["a path that leads out of the archive"]


def test_a_zip_whose_folders_are_separated_as_in_windows(tmp_path: Path, as_zip: Writer) -> None:
    files = {"Healthy\\a.png": b"a", "x\\Brain Tumor\\b.png": b"b", "Healthy\\": b""}
    path = as_zip(tmp_path / "a.zip", {**files, "Healthy/a.png": b"again"})
    with open_source(str(path)) as source:
        assert [(file.path, file.label, file.problem, file.read()) for file in source.files] == [
            ("x/Brain Tumor/b.png", TUMOR, None, b"b"),
            ("Healthy/a.png", HEALTHY, None, b"a"),
            ("Healthy/a.png", HEALTHY, "a second file of this name", b"again"),
        ]


def test_what_such_a_zip_becomes_where_it_is_unpacked_here(
    tmp_path: Path, as_folder: Writer
) -> None:
    folder = as_folder(tmp_path / "folder", {"Healthy\\a.png": b"a"})
    with open_source(str(folder)) as source:
        assert [(file.label, file.read()) for file in source.files] == [(HEALTHY, b"a")]


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    def link(entry: zipfile.ZipInfo) -> None:
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    path = with_entry(tmp_path / "a.zip", link, b"/etc/passwd")
    assert problems(path) == {"Healthy/a.png": "a link"}


def test_an_encrypted_entry(tmp_path: Path) -> None:
    path = with_entry(tmp_path / "a.zip", lambda entry: None)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert problems(path) == {"Healthy/a.png": "encrypted"}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_what_can_be_unpacked_in_bounds(tmp_path: Path, method: int) -> None:
    path = with_entry(
        tmp_path / "a.zip", lambda entry: setattr(entry, "compress_type", method), bytes(10**6)
    )
    assert problems(path) == {"Healthy/a.png": "packed in a way other than deflate"}


def test_zip_bombs(tmp_path: Path, as_zip: Writer) -> None:
    """An image as large as any is none, though it is all black."""
    files = {"Healthy/a.png": bytes(MAX_BYTES), "Healthy/b.png": bytes(MAX_BYTES + 1)}
    found = problems(as_zip(tmp_path / "a.zip", files))
    assert found["Healthy/a.png"] is None
    assert (found["Healthy/b.png"] or "").startswith("too-large: 33,554,433 bytes")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("größe.png".encode(), "größe.png"),  # as Info-ZIP and macOS write it
        ("脳.png".encode(), "脳.png"),
        ("größe.png".encode("cp437"), "größe.png"),  # as old programs of Windows write it
    ],
)
def test_names_that_do_not_say_their_encoding(tmp_path: Path, written: bytes, read: str) -> None:
    same = "_" * len(written)
    path = with_entry(
        tmp_path / "a.zip", lambda entry: setattr(entry, "filename", f"Healthy/{same}")
    )
    path.write_bytes(path.read_bytes().replace(same.encode(), written))
    with open_source(str(path)) as source:
        assert [(file.path, file.read()) for file in source.files] == [(f"Healthy/{read}", b"x")]


def test_uncompressed_black_images_are_no_bomb(tmp_path: Path, as_zip: Writer) -> None:
    files = {f"Healthy/{number}.tif": bytes(4 * 2**20) for number in range(3)}
    assert set(problems(as_zip(tmp_path / "a.zip", files)).values()) == {None}


def test_many_small_bombs_together(
    tmp_path: Path, as_zip: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_MAX_SHRUNK_IN_ALL", 10 * 2**20)
    files = {f"Healthy/{number}.tif": bytes(4 * 2**20) for number in range(4)}
    found = list(problems(as_zip(tmp_path / "a.zip", files)).values())
    assert found[:2] == [None, None]
    assert [(problem or "").split(":")[0] for problem in found[2:]] == ["a zip bomb"] * 2


@pytest.mark.parametrize("declared", [10, 999, 2000])
def test_lying_sizes_and_checksums_end_in_an_error_or_in_few_bytes(
    tmp_path: Path, declared: int
) -> None:
    content = random.Random(0).randbytes(1000)
    path = with_entry(tmp_path / "a.zip", lambda entry: None, content)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, declared)
    path.write_bytes(data)
    with open_source(str(path)) as source:
        if declared > len(content):
            assert source.files[0].read() == content
        else:
            with pytest.raises(zipfile.BadZipFile):
                source.files[0].read()


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    path = with_entry(tmp_path / "a.zip", lambda entry: None, bytes(50 * 2**20))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 1000)
    path.write_bytes(data)
    with open_source(str(path)) as source:
        assert source.files[0].problem is None
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            source.files[0].read()


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = with_entry(tmp_path / "a.zip", lambda entry: None)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 16] ^= 1
    path.write_bytes(data)
    with open_source(str(path)) as source, pytest.raises(zipfile.BadZipFile, match="CRC"):
        source.files[0].read()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_come_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Healthy/a.png", b"first")
        archive.writestr("Healthy/a.png", b"second")
    with open_source(str(path)) as source:
        assert [file.problem for file in source.files] == [None, "a second file of this name"]
        assert source.files[0].read() == b"first"


def test_links_and_pipes_in_a_folder(tmp_path: Path, as_folder: Writer) -> None:
    outside = as_folder(tmp_path / "outside", {"secret.png": b"x"})
    folder = as_folder(tmp_path / "folder", {"Healthy/a.png": b"a"}) / "Healthy"
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "dead.png").symlink_to(outside / "nothing.png")
    (folder / "deeper").symlink_to(outside, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe.png")
    assert problems(tmp_path / "folder") == {
        "Healthy/a.png": None,
        "Healthy/link.png": "a link",
        "Healthy/dead.png": "a link",
        "Healthy/pipe.png": "not a regular file",
        "Healthy/deeper": "a link to a folder; copy the folder in its place",
        "Healthy/loop": "a link to a folder; copy the folder in its place",
    }


def test_folders_that_are_not_read_are_named(
    tmp_path: Path, as_folder: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("Healthy/a.png", "Healthy/closed/b.png", "Brain Tumor/c.png", "other/closed/d.png")
    folder = as_folder(tmp_path / "folder", dict.fromkeys(files, b"x"))
    linked = as_folder(tmp_path / "elsewhere", {"e.png": b"x"})
    (folder / "more").mkdir()
    (folder / "more" / "Healthy").symlink_to(linked, target_is_directory=True)
    (folder / "Brain-Tumour").symlink_to(tmp_path / "gone", target_is_directory=True)
    (folder / "all").symlink_to(linked, target_is_directory=True)
    real = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:  # root may read what chmod 0 closes
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with open_source(str(folder)) as source:
        found = {file.path: (file.label, file.problem) for file in source.files}
    linked_folder = "a link to a folder; copy the folder in its place"
    assert found == {
        "Healthy/a.png": (HEALTHY, None),
        "Brain Tumor/c.png": (TUMOR, None),
        "Healthy/closed": (HEALTHY, "a folder that cannot be read: Permission denied"),
        "other/closed": (None, "a folder that cannot be read: Permission denied"),
        "more/Healthy": (HEALTHY, linked_folder),
        "all": (None, linked_folder),
        "Brain-Tumour": (TUMOR, "a link"),
    }


def test_a_file_that_cannot_be_looked_at(
    tmp_path: Path, as_folder: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = as_folder(tmp_path / "folder", {"Healthy/a.png": b"a", "Healthy/b.png": b"b"})
    real = os.scandir

    class Lost(os.PathLike[str]):
        name = "b.png"

        def is_dir(self, follow_symlinks: bool) -> bool:
            return False

        def stat(self, follow_symlinks: bool) -> os.stat_result:
            raise OSError(errno.EIO, os.strerror(errno.EIO), self.name)

        def __fspath__(self) -> str:
            return self.name

    @contextmanager
    def scandir(path: str) -> Iterator[Iterator[os.DirEntry[str] | Lost]]:
        with real(path) as entries:
            yield (Lost() if entry.name == "b.png" else entry for entry in entries)

    monkeypatch.setattr(os, "scandir", scandir)
    assert problems(folder) == {
        "Healthy/a.png": None,
        "Healthy/b.png": "unreadable: Input/output error",
    }


def test_a_file_that_becomes_a_link_is_not_followed(tmp_path: Path, as_folder: Writer) -> None:
    folder = as_folder(tmp_path / "folder", {"Healthy/a.png": b"a"})
    (tmp_path / "secret").write_text("secret")
    with open_source(str(folder)) as source:
        (folder / "Healthy/a.png").unlink()
        (folder / "Healthy/a.png").symlink_to(tmp_path / "secret")
        with pytest.raises(OSError, match=r"a\.png"):
            source.files[0].read()


def test_a_huge_file_is_not_read(tmp_path: Path, as_folder: Writer) -> None:
    folder = as_folder(tmp_path / "folder", {"Healthy/a.png": b"a"})
    os.truncate(folder / "Healthy/a.png", MAX_BYTES + 1)
    assert (problems(folder)["Healthy/a.png"] or "").startswith("too-large")


def test_names_that_do_not_fit_a_line_of_text(tmp_path: Path) -> None:
    folder = tmp_path / "folder" / "Healthy"
    folder.mkdir(parents=True)
    for name in (b"\xff\xfe.png", b"two\nlines\x1b[31m.png", "größe 脳.png".encode()):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(b"x")
    assert set(problems(tmp_path / "folder")) == {
        "Healthy/\\udcff\\udcfe.png",
        "Healthy/two\\nlines\\x1b[31m.png",
        "Healthy/größe 脳.png",
    }


@pytest.mark.parametrize(
    "uri",
    [
        "nowhere",
        "nowhere.zip",
        "file:///nowhere",
        "",
        "~nobody-of-this-name/data",
        "x" * 5000,
        "\0",
    ],
)
def test_no_such_place(uri: str) -> None:
    assert "no such file or folder; give a folder, a .zip file" in refused(uri)


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
def test_an_unknown_scheme(scheme: str) -> None:
    assert f"cannot read {scheme}://; give" in refused(f"{scheme}://host/data.zip")


def test_a_file_uri(tmp_path: Path, as_folder: Writer) -> None:
    folder = as_folder(tmp_path / "a b", {"Healthy/a.png": b"a"})
    encoded = str(folder).replace(" ", "%20")
    for uri in (f"file://{encoded}", f"file://localhost{encoded}", f"FILE://{encoded}"):
        assert list(problems(uri)) == ["Healthy/a.png"]


def test_a_scheme_in_capitals() -> None:
    with open_source("SAMPLE://?images=24&seed=1") as source:
        assert len(source.files) == 24 + 3
    assert source_fingerprint("KAGGLE://a/b", "3") == "3"
    with pytest.raises(UserError, match="s3:// is not a bucket name"), open_source("S3://x"):
        pass


def test_what_is_no_zip(tmp_path: Path, as_zip: Writer, image_files: dict[str, bytes]) -> None:
    whole = as_zip(tmp_path / "whole.zip", image_files).read_bytes()
    for content in (b"", b"PK", b"not a zip", whole[: len(whole) // 2], whole[:-30]):
        (tmp_path / "a.zip").write_bytes(content)
        assert "cannot read it as a zip" in refused(tmp_path / "a.zip")
    # A name that says UTF-8 and is not.
    broken = bytearray(as_zip(tmp_path / "name.zip", {"Healthy/ä.png": b"x"}).read_bytes())
    at = broken.rindex("ä".encode())
    broken[at : at + 2] = b"\xff\xff"
    (tmp_path / "name.zip").write_bytes(broken)
    assert "cannot read it as a zip" in refused(tmp_path / "name.zip")


@settings(
    deadline=None,
    derandomize=True,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
)
def test_damaged_zips_open_or_are_refused(
    tmp_path: Path, as_zip: Writer, changes: list[tuple[float, int]]
) -> None:
    path = as_zip(tmp_path / "a.zip", {"Healthy/a.png": b"x" * 50, "Brain Tumor/b.png": b"y" * 50})
    data = bytearray(path.read_bytes())
    for where, value in changes:
        data[int(where * len(data))] = value
    path.write_bytes(data)
    with suppress(UserError), open_source(str(path)) as source:
        for file in source.files:
            if not file.problem:
                with suppress(Exception):  # what ingest makes a quarantined file of
                    assert len(file.read()) <= MAX_BYTES + 1


def test_fingerprints(tmp_path: Path, as_folder: Writer, as_zip: Writer) -> None:
    files = {"Healthy/a.png": b"a", "Brain Tumor/b.png": b"b"}
    folder = as_folder(tmp_path / "folder", files)
    archive = as_zip(tmp_path / "a.zip", files)
    before = source_fingerprint(str(folder)), source_fingerprint(str(archive))
    assert before == (source_fingerprint(str(folder)), source_fingerprint(str(archive)))

    (folder / "Healthy/a.png").write_bytes(b"c")
    os.utime(folder / "Healthy/a.png", ns=(1, 1))
    as_zip(archive, {**files, "Healthy/a.png": b"c"})
    after = source_fingerprint(str(folder)), source_fingerprint(str(archive))
    assert before[0] != after[0]
    assert before[1] != after[1]

    (folder / "Healthy/a.png").rename(folder / "Healthy/renamed.png")
    assert source_fingerprint(str(folder)) not in (before[0], after[0])
    assert source_fingerprint("sample://", "3") == source_fingerprint("kaggle://a/b", "3") == "3"


def test_sample(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        with open_source("sample://?images=24&seed=3") as source:
            assert source.version
            contents.append([(file.path, file.label, file.read()) for file in source.files])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 24 + 3
    with open_source("sample://?images=24&seed=4") as source:
        assert [(f.path, f.label, f.read()) for f in source.files] != contents[0]


def test_sample_options() -> None:
    assert sample_options("sample://") == sample_options("sample://?") == {}
    assert sample_options("sample://?images=240&seed=0") == {"images": 240, "seed": 0}


@pytest.mark.parametrize(
    "query",
    [
        "?image=20",
        "?images=",
        "?images",
        "?images=many",
        "?images=-5",
        "?images=2.5",
        "?images=²",
        "?images=9999999999",
        "?seed=7&Seed=8",
        "240",
        "?images=20;seed=7",
        "[x",
    ],
)
def test_sample_options_that_there_are_not(query: str) -> None:
    assert "options are images and seed" in refused(f"sample://{query}")


def test_a_sample_that_is_too_small() -> None:
    with (
        pytest.raises(UserError, match="too small to split; ask for 20 or more"),
        open_source("sample://?images=19"),
    ):
        pass


def test_an_empty_zip_and_an_empty_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    (tmp_path / "folder").mkdir()
    assert problems(tmp_path / "a.zip") == problems(tmp_path / "folder") == {}
    assert io.BytesIO((tmp_path / "a.zip").read_bytes()).read(2) == b"PK"
