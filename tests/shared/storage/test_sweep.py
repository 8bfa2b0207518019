"""Which unfinished work of a local folder is taken for a killed writer's."""

import os
import time
import uuid
from pathlib import Path

import pytest

from components.shared.storage import open_store
from components.shared.storage.store import STAGING, whole_folder

OLD = time.time() - 25 * 3600


def _make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("part")
    return path


def _age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (OLD, OLD), follow_symlinks=False)


def _staging() -> str:
    return f"{STAGING}{uuid.uuid4()}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "store" / "models"


def test_old_staging_goes_at_any_depth(home: Path) -> None:
    outside = _make(home.parents[1] / "outside" / "kept")
    _make(home / _staging() / "variables" / "x")
    _make(home / "_registry" / "claims" / _staging())
    (home / _staging()).symlink_to(outside.parent)
    _age(*home.rglob("*"), *outside.parents[1].rglob("*"))
    open_store(str(home.parent), "registry").sweep("models")
    assert [path for path in home.rglob("*") if path.name.startswith(STAGING)] == []
    assert outside.exists()


def test_what_may_have_a_live_writer_stays(home: Path) -> None:
    others = [
        _make(home / f"{STAGING}area" / "mine"),  # no writer makes such names
        _make(home / "1" / "saved_model.pb"),
    ]
    claim = home / "claims" / _staging()
    slow = home / _staging() / "variables" / "x"
    live = [_make(claim), _make(slow)]
    _age(*set(home.rglob("*")) - set(live))  # the folders were made long ago
    open_store(str(home.parent), "registry").sweep("models")
    assert all(path.exists() for path in (*others, *live))


def test_a_download_removes_what_a_killed_one_left_beside_it(tmp_path: Path) -> None:
    left = _make(tmp_path / _staging() / "saved_model.pb")
    _age(left, left.parent)
    with whole_folder(tmp_path / "model"):
        assert not left.parent.exists()
