"""The stores that the contract is checked on, each empty."""

from pathlib import Path

import pytest

from components.shared.storage import Store, open_store


@pytest.fixture
def store(store_uri: str) -> Store:
    return open_store(store_uri, "registry")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of nested files, one of them empty."""
    folder = tmp_path / "model"
    for name, content in {
        "saved_model.pb": b"graph" * 1000,
        "variables/variables.data": bytes(range(256)) * 400,
        "assets/none": b"",
        "SHA256SUMS": b"sums",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
