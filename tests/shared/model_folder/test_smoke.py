"""The images that a rollout checks itself by."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.shared.errors import UserError
from components.shared.images.decode import decode
from components.shared.model_folder.checksums import verify, write_sums
from components.shared.model_folder.smoke import read_smoke, write_smoke


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (6, 150, 150, 3), dtype=np.uint8)


def test_the_surest_of_each_answer_are_kept(tmp_path: Path, pixels: np.ndarray) -> None:
    healthy = np.float32([0.9, 0.52, 0.97, 0.1, 0.3, 0.99])
    write_smoke(tmp_path, pixels, healthy, threshold=0.5)
    kept = read_smoke(tmp_path)
    assert [image.label for image in kept] == ["Brain Tumor"] * 2 + ["Healthy"] * 2
    assert [image.probability_healthy for image in kept] == pytest.approx([0.1, 0.3, 0.99, 0.97])
    for image, index in zip(kept, (3, 4, 5, 2), strict=True):
        np.testing.assert_array_equal(decode(image.png).pixels, pixels[index])


def test_the_threshold_decides_the_label(tmp_path: Path, pixels: np.ndarray) -> None:
    write_smoke(tmp_path, pixels[:1], np.float32([0.7]), threshold=0.3)
    (image,) = read_smoke(tmp_path)
    assert image.label == "Brain Tumor"


def test_a_model_folder_stays_whole(tmp_path: Path, pixels: np.ndarray) -> None:
    write_smoke(tmp_path, pixels, np.linspace(0, 1, 6), threshold=0.5)
    write_sums(tmp_path)
    verify(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.stat().st_size for path in files)  # stores skip empty objects
    assert {path.name for path in (tmp_path / "smoke").iterdir()} == {
        "expected.json",
        *(f"{number}.png" for number in range(4)),
    }


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([], "at least 1"),
        ([{"file": "../../etc/passwd", "label": "Healthy", "probability_healthy": 0.5}], "file"),
        ([{"file": "0.png", "label": "Healthy", "probability_healthy": 7}], "probability_healthy"),
        ([{"file": "0.png", "label": "Maybe", "probability_healthy": 0.5}], "label"),
        ([{"file": "9.png", "label": "Healthy", "probability_healthy": 0.5}], "No such file"),
    ],
)
def test_what_is_malformed_is_told(
    tmp_path: Path, pixels: np.ndarray, answers: list[dict], reason: str
) -> None:
    write_smoke(tmp_path, pixels, np.linspace(0, 1, 6), threshold=0.5)
    content = json.dumps({"schema_version": 1, "answers": answers})
    (tmp_path / "smoke" / "expected.json").write_text(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_smoke(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_version_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="register the model again"):
        read_smoke(tmp_path)


def test_a_huge_image_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    write_smoke(tmp_path, pixels, np.linspace(0, 1, 6), threshold=0.5)
    (tmp_path / "smoke" / "0.png").write_bytes(b"\0" * (2**20 + 1))
    with pytest.raises(UserError, match="larger than 1,048,576 bytes"):
        read_smoke(tmp_path)
