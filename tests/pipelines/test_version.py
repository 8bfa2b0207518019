import subprocess
from pathlib import Path

import pytest

from components.shared.errors import UserError
from pipelines import version


def _git(folder: Path, *arguments: str) -> str:
    named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *named, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_revision_is_that_of_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BRAIN_TUMOR_REVISION", raising=False)
    module = tmp_path / "version.py"
    module.write_text("")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", module.name)
    _git(tmp_path, "commit", "--quiet", "--message", "First")
    monkeypatch.setattr(version, "__file__", str(module))
    head = _git(tmp_path, "rev-parse", "HEAD")[:12]

    assert version.git_revision() == head
    module.write_text("changed")
    assert version.git_revision() == f"{head}-dirty"


def test_in_the_image_the_revision_is_that_which_it_was_built_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BRAIN_TUMOR_REVISION", "0123456789abcdef0123456789abcdef01234567")
    assert version.git_revision() == "0123456789ab"


def test_where_neither_is_known_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAIN_TUMOR_REVISION", "")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    with pytest.raises(UserError, match="no git revision to name the version by"):
        version.git_revision()
