"""A release's manifests name images that can't change."""

from pathlib import Path

import pytest

from manifests.release import release
from tests.manifests.kustomize import objects

CPU = f"registry.example/a/serve@sha256:{'1' * 64}"
CUDA = f"registry.example/a/serve-cuda@sha256:{'2' * 64}"


def test_every_image_of_a_release_has_its_digest(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    release(folder, CPU, CUDA)
    assert objects(folder / "overlays/s3").container["image"] == CPU
    local = objects(folder / "overlays/local")
    assert [pod["spec"]["containers"][0]["image"] for pod in local.of("Pod")] == [CPU]
    gpu = (str(folder / "components/gpu"),)
    assert objects(folder / "overlays/s3", components=gpu).container["image"] == CUDA
    assert "docker build" not in (folder / "components/gpu/kustomization.yaml").read_text()
    chart = (folder / "chart/templates/servingruntime.yaml").read_text()
    assert f'default "{CPU}"' in chart
    assert f'default "{CUDA}"' in chart


def test_a_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'registry\.example/serve:1' has no digest"):
        release(tmp_path / "manifests", "registry.example/serve:1", CUDA)
    assert not (tmp_path / "manifests").exists()
