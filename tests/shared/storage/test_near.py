from pathlib import Path

import pytest

from components.shared.storage.near import path_near


@pytest.mark.parametrize(
    ("missing", "meant"),
    [
        ("runs/registry/brain-tumr/1", "runs/registry/brain-tumor/1"),
        ("run/registri", "runs/registry"),
        ("runs/registry/brain-tumor/17", ""),
        ("elsewhere/registry", ""),
        ("s3://run/registry", ""),
        ("runs", ""),
    ],
)
def test_each_part_of_a_path_may_be_misspelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, meant: str
) -> None:
    (tmp_path / "runs/registry/brain-tumor/1").mkdir(parents=True)
    (tmp_path / "runs/registri.txt").touch()
    monkeypatch.chdir(tmp_path)
    said = f"; did you mean '{meant}'?" if meant else ""
    assert path_near(missing, Path.is_dir) == said
    if "://" not in missing:
        assert path_near(tmp_path / missing, Path.is_dir) == said
