"""A model's folder is checked before anything in it is believed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.checksums import write_sums
from components.errors import UserError
from serving.model_folder import open_model_folder


def test_it_says_what_the_model_says(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    model = open_model_folder(str(folder))
    assert model.path == folder
    assert (model.name, model.version, model.threshold) == ("brain-tumor", 7, 0.25)
    assert model.classes == ("Brain Tumor", "Healthy")
    assert model.positive == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["Healthy", "Brain Tumor"]}, "different classes"),
        ({"labels": "Healthy"}, r"labels\.json: content"),
        ({"labels": ["Brain Tumor"]}, r"labels\.json: 1"),
        ({"version": 0}, r"metadata\.json: version"),
        ({"threshold": 1.5}, r"metadata\.json: threshold"),
        ({"threshold": None}, r"metadata\.json: threshold"),
        ({"positive_class": "Healthy"}, "positive class"),
        ({"positive_class": "Cat"}, "positive class"),
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


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        open_model_folder(tmp_path / "none")
