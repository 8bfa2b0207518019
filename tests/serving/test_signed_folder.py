"""A version that has to be signed: whatever whoever writes to the store does to it is refused.

Each harm is followed by new digests, which is what a signature is there for.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.checksums import write_sums
from components.shared.model_folder.contract import SUMS
from components.shared.model_folder.reader import open_model_folder, settled
from components.shared.model_folder.signing import PUBLIC_KEY, Signer, Trust
from serving import cli
from tests.keys import write_keys

FILES = ["saved_model.pb", "metadata.json", "labels.json", "model_card.md", "smoke/0.png"]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(write_keys(tmp_path)[0])


@pytest.fixture
def trust(signer: Signer) -> Trust:
    assert signer.key
    trust = Trust.of(signer.key.with_suffix(".pub"), "", "", None)
    assert trust
    return trust


@pytest.fixture
def sign(make_folder: Callable[..., Path], signer: Signer) -> Callable[..., Path]:
    """Returns a function that writes a signed version into the folder `brain-tumor/7`."""

    def signed(version: int = 7, place: str = "brain-tumor/7", signer: Signer = signer) -> Path:
        made = make_folder(version=version)
        (made / "smoke").mkdir()
        (made / "smoke" / "0.png").write_bytes(b"image")
        write_sums(made)
        signer.sign(made)
        folder = made.parent / place
        folder.parent.mkdir(exist_ok=True)
        return made.rename(folder)

    return signed


def _read(folder: Path, trust: Trust | None, uri: str = "") -> int:
    with settled(folder, trust, uri) as checked:
        return open_model_folder(checked).version


def _refused(folder: Path, trust: Trust, message: str, uri: str = "") -> None:
    with pytest.raises(UserError, match=message) as caught:
        _read(folder, trust, uri)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(folder)), "the private copy is nobody's business"


def test_what_was_signed_is_read(sign: Callable[..., Path], trust: Trust) -> None:
    folder = sign()
    assert _read(folder, trust) == _read(folder, None) == 7


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 1] = b"!"
    file.write_bytes(content)


@pytest.mark.parametrize("file", [*FILES, SUMS])
def test_a_changed_file_is_named_even_if_its_digest_was_changed_too(
    sign: Callable[..., Path], trust: Trust, file: str
) -> None:
    folder = sign()
    _flip(folder / file)
    if file != SUMS:
        write_sums(folder)
    _refused(folder, trust, f"model.sig does not fit.*{file}")


def _rename(folder: Path) -> None:
    (folder / "smoke" / "0.png").rename(folder / "smoke" / "1.png")


def _swap(folder: Path) -> None:
    card, labels = folder / "model_card.md", folder / "labels.json"
    card.rename(folder / "x")
    labels.rename(card)
    (folder / "x").rename(labels)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "model_card.md").unlink(), r"Missing files.*model_card\.md"),
        (lambda f: (f / "more").touch(), "Extra files.*more"),
        (lambda f: (f / ".gitignore").touch(), r"Extra files.*\.gitignore"),
        (lambda f: (f / "two\nlines").touch(), "Extra files"),
        (_rename, r"smoke/1\.png"),
        (_swap, r"labels\.json"),
        (lambda f: (f / SUMS).unlink(), f"Missing files.*{SUMS}"),
    ],
    ids=["missing", "extra", "git", "two-lines", "renamed", "swapped", "no-sums"],
)
def test_files_that_come_go_or_change_places(
    sign: Callable[..., Path], trust: Trust, harm: Callable[[Path], object], message: str
) -> None:
    folder = sign()
    harm(folder)
    if (folder / SUMS).exists():
        write_sums(folder)
    _refused(folder, trust, message)


def _resign(folder: Path) -> None:
    (folder / "metadata.json").touch()
    Signer(write_keys(folder.parent, "mallory")[0]).sign(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "model.sig").unlink(), "is not signed"),
        (lambda f: (f / "model.sig").write_bytes(b""), "does not fit"),
        (lambda f: (f / "model.sig").write_bytes(b"\xff\xfe"), "does not fit"),
        (lambda f: (f / "model.sig").write_text("{}"), "does not fit"),
        (lambda f: (f / "model.sig").write_text("[" * 10_000), "does not fit"),
        (lambda f: os.truncate(f / "model.sig", 2**40), "2,147,483,648 bytes"),
        (lambda f: os.truncate(f / "model.sig", 2**21), "has 2,097,152 bytes"),
        (lambda f: _replaced(f / "model.sig").symlink_to(f / SUMS), "link or no regular file"),
        (lambda f: os.mkfifo(_replaced(f / "model.sig")), "link or no regular file"),
        (lambda f: _replaced(f / "model.sig").mkdir(), "is not signed"),
        (lambda f: os.mkfifo(f / "pipe"), "link or no regular file"),
        (lambda f: (f / "link").symlink_to("/etc"), "link or no regular file"),
        (_resign, "Key mismatch"),
    ],
)
def test_a_signature_that_is_none(
    sign: Callable[..., Path], trust: Trust, harm: Callable[[Path], object], message: str
) -> None:
    folder = sign()
    harm(folder)
    _refused(folder, trust, message)


def _replaced(path: Path) -> Path:
    path.unlink()
    return path


@pytest.mark.parametrize("byte", range(0, 1200, 60))
def test_no_byte_of_a_signature_can_be_changed(
    sign: Callable[..., Path], trust: Trust, byte: int
) -> None:
    folder = sign()
    signature = folder / "model.sig"
    content = bytearray(signature.read_bytes())
    content[byte] = ord("A") if content[byte] != ord("A") else ord("B")
    signature.write_bytes(content)
    _refused(folder, trust, "does not fit")


def test_an_older_signed_version_is_not_taken_for_a_newer_one(
    sign: Callable[..., Path], trust: Trust, tmp_path: Path
) -> None:
    older = sign(6)  # in the place of version 7
    _refused(older, trust, "signed as version 6, not as 7")
    fetched = older.rename(tmp_path / "models")
    _refused(fetched, trust, "signed as version 6, not as 7", "s3://models/brain-tumor/7/")
    assert _read(fetched, trust, "s3://models/brain-tumor/6/") == 6
    assert _read(fetched, trust) == 6


def _linked(folder: Path, linked: Path) -> Path:
    """Links each entry, as kserve_storage does for what lies on a volume."""
    linked.mkdir()
    for entry in folder.iterdir():
        (linked / entry.name).symlink_to(entry)
    return linked


def test_what_kserve_links_is_checked_where_it_lies(
    sign: Callable[..., Path], trust: Trust, tmp_path: Path
) -> None:
    folder = sign()
    assert _read(_linked(folder, tmp_path / "linked"), trust) == 7
    moved = folder.rename(folder.with_name("8"))
    _refused(_linked(moved, tmp_path / "other"), trust, "signed as version 7, not as 8")


def test_links_of_somebody_else_do_not_make_an_older_version_newer(
    sign: Callable[..., Path], trust: Trust, tmp_path: Path
) -> None:
    older = sign(6, "brain-tumor/6")
    replaced = _linked(older, older.with_name("7"))
    _refused(replaced, trust, "signed as version 6, not as 7")
    _refused(_linked(replaced, tmp_path / "models"), trust, "signed as version 6, not as 7")
    (older.with_name("8")).symlink_to(older)
    _refused(older.with_name("8"), trust, "signed as version 6, not as 8")


def test_what_was_checked_is_what_is_loaded(sign: Callable[..., Path], trust: Trust) -> None:
    folder = sign()
    with settled(folder, trust) as checked:
        shutil.rmtree(folder)  # whoever writes to the volume is fast
        assert open_model_folder(checked).version == 7
    assert not checked.exists()


def test_without_a_place_for_the_copy_it_says_so(
    sign: Callable[..., Path], trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(UserError, match="mount one at /tmp"):
        _read(sign(), trust)


@pytest.mark.parametrize("variable", ["BRAIN_TUMOR_SERVE_PUBLIC_KEY", PUBLIC_KEY])
def test_the_predictor_does_not_start(
    sign: Callable[..., Path],
    signer: Signer,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = sign()
    assert signer.key
    (folder / "model.sig").unlink()
    monkeypatch.setenv(variable, str(signer.key.with_suffix(".pub")))
    command = ["serving", str(folder), "--port", "0", "--grpc-port", "0"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {folder}: is not signed")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"PUBLIC_KEY": "/nowhere"},
        {"SIGNER_IDENTITY": "a@example.org"},
        {"STORAGE_URI_FILE": "/nowhere"},
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_used_starts_nothing(
    make_folder: Callable[..., Path], settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"BRAIN_TUMOR_SERVE_{name}", value)
    command = ["serving", str(make_folder()), "--port", "0", "--grpc-port", "0"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
