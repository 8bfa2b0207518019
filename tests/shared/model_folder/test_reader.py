"""A model's folder is checked before anything in it is believed."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.checksums import write_sums
from components.shared.model_folder.reader import open_model_folder


def test_it_says_what_the_model_says(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    model = open_model_folder(str(folder))
    assert model.path == folder
    assert (model.name, model.version, model.threshold) == ("brain-tumor", 7, 0.25)
    assert model.classes == ("Brain Tumor", "Healthy")
    assert model.positive == 0
    assert model.unsure is None, "as in versions older than that"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["Healthy", "Brain Tumor"]}, "different classes"),
        ({"labels": "Healthy"}, r"labels\.json: content"),
        ({"labels": ["Brain Tumor"]}, r"labels\.json: 1"),
        ({"version": 0}, r"metadata\.json: version"),
        ({"threshold": 1.5}, r"metadata\.json: threshold"),
        ({"threshold": None}, r"metadata\.json: threshold"),
        ({"unsure": {"low": 0.2, "high": 1.5}}, r"metadata\.json: unsure\.high"),
        ({"unsure": {"low": 0.5, "high": 0.2}}, r"unsure: .*low 0\.5 is above high 0\.2"),
        ({"unsure": {"low": 0.3, "high": 0.9}}, "threshold does not lie within the range"),
        ({"positive_class": "Healthy"}, "positive class"),
        ({"positive_class": "Cat"}, "positive class"),
        (
            {"labels": ["Healthy"] * 2, "classes": ["Healthy"] * 2, "positive_class": "Healthy"},
            "po",
        ),
        ({"labels": ["a\nb", "Healthy"]}, r"labels\.json: 0"),
        ({"name": "brain\ntumor"}, r"metadata\.json: name"),
        ({"name": "../x"}, r"metadata\.json: name"),
        ({"version": 10**30}, r"metadata\.json: version"),
    ],
)
def test_bad_descriptions_are_named(
    make_folder: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_model_folder(make_folder(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["saved_model.pb", "labels.json", "metadata.json"])
def test_a_file_that_was_never_there_is_named(make_folder: Callable[..., Path], file: str) -> None:
    folder = make_folder()
    (folder / file).unlink()
    write_sums(folder)
    with pytest.raises(UserError, match=file):
        open_model_folder(folder)


def test_digests_come_first(make_folder: Callable[..., Path]) -> None:
    folder = make_folder(version="not a number")
    (folder / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(UserError, match=r"saved_model\.pb has changed"):
        open_model_folder(folder)


@pytest.mark.parametrize("name", ["none", "n" * 5000])
def test_a_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        open_model_folder(tmp_path / name)


@pytest.mark.parametrize("file", ["labels.json", "metadata.json", "model_card.md"])
def test_a_description_without_end_is_not_read(make_folder: Callable[..., Path], file: str) -> None:
    folder = make_folder()
    os.truncate(folder / file, 2**30)
    write_sums(folder)
    with pytest.raises(UserError, match=f"{file} has 1,073,741,824 bytes"):
        open_model_folder(folder)


@pytest.mark.parametrize("front", ["", "---\ntags: [a]\n---\n"])
def test_people_read_a_card_without_its_front_matter(
    make_folder: Callable[..., Path], front: str
) -> None:
    folder = make_folder()
    (folder / "model_card.md").write_text(f"{front}# brain-tumor\n\n---\n")
    write_sums(folder)
    assert open_model_folder(folder).card == "# brain-tumor\n\n---\n"


def _linked(source: Path, folder: Path) -> Path:
    """Links each entry, as kserve_storage does for what lies on a volume."""
    folder.mkdir()
    for entry in source.iterdir():
        (folder / entry.name).symlink_to(entry)
    return folder


def test_what_kserve_links_is_read(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    source = make_folder()
    linked = _linked(source, tmp_path / "linked")
    assert open_model_folder(linked) == open_model_folder(source)
    (source / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(UserError, match=r"saved_model\.pb has changed"):
        open_model_folder(linked)


@pytest.mark.parametrize("name", ["saved_model.pb", "metadata.json", "SHA256SUMS", "more"])
@pytest.mark.parametrize("target", ["elsewhere", "nowhere", "itself", "file"])
def test_links_that_lead_elsewhere_are_not_followed(
    make_folder: Callable[..., Path], tmp_path: Path, name: str, target: str
) -> None:
    source = make_folder()
    linked, secret = _linked(source, tmp_path / "linked"), tmp_path / "secret"
    secret.write_text("of someone else")
    place = linked / name
    place.unlink(missing_ok=True)
    if target == "file":
        place.write_bytes(b"")
    else:
        place.symlink_to({"elsewhere": secret, "nowhere": tmp_path / "x", "itself": place}[target])
    with pytest.raises(UserError) as caught:
        open_model_folder(linked)
    assert "\n" not in str(caught.value)
    assert "someone else" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder()

    def digest(file: object, name: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("hashlib.file_digest", digest)
    with pytest.raises(UserError, match=r"labels\.json: cannot read: Input/output error"):
        open_model_folder(folder)
