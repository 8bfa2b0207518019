"""A registered model's folder, made by hand: whole in form, without a model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.shared.model_folder.checksums import write_sums

METADATA = {
    "name": "brain-tumor",
    "version": 7,
    "classes": ["Brain Tumor", "Healthy"],
    "positive_class": "Brain Tumor",
    "threshold": 0.25,
    "more": "of no interest here",
}
CARD = "# brain-tumor, version 7\n\nSays how bright an image is.\n"


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes a folder whose digests fit, whatever its content."""

    def make(labels: Any = METADATA["classes"], **changes: Any) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"")
        describe(folder, labels, METADATA | changes)
        return folder

    return make


def describe(folder: Path, labels: Any, metadata: dict[str, Any]) -> None:
    """Writes descriptions and digests into a folder."""
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "metadata.json").write_text(json.dumps(metadata))
    (folder / "model_card.md").write_text(CARD)
    write_sums(folder)
