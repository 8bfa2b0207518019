"""References of images, by what containerd and docker take and refuse."""

import pytest

from pipelines.image_reference import check_image

SHA256 = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "reference",
    [
        "train",
        "train:0.1.0",
        "brain-tumor-train:0.1.0-cuda",
        "localhost:5000/train",
        "registry.example/a/b/c:v1_2.3",
        "registry.example:443/team/brain__tumor---x.y:latest",
        "Registry.Example/train:LATEST",
        "[fd00::1]:5000/train",
        f"train@{SHA256}",
        f"registry.example/train:1@{SHA256}",
        "train@sha512:" + "0" * 128,
        f"{'a' * 255}:{'b' * 128}",
    ],
)
def test_what_a_node_can_pull(reference: str) -> None:
    assert check_image(reference) == reference


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("", "not an image reference"),
        ("a b c", "not an image reference"),
        ("train:", "not an image reference"),
        (":0.1.0", "not an image reference"),
        ("train:0.1.0\n", "not an image reference"),
        ("https://registry.example/train", "not an image reference"),
        ("registry.example//train", "not an image reference"),
        ("/train", "not an image reference"),
        ("train/", "not an image reference"),
        ("a..b/train:x:y", "not an image reference"),
        ("-train", "not an image reference"),
        ("train@sha256:123", "not an image reference"),
        ("tränen", "not an image reference"),
        (f"train:{'b' * 129}", "not an image reference"),
        ("Brain-Tumor", "capital letters"),
        ("registry.example/Team/train", "capital letters"),
        ("a" * 256, "256 characters"),
        ("0123456789abcdef" * 4, "id of an image"),
        ("train@" + SHA256[:-1], "63 characters"),
        ("train@" + SHA256.upper().replace("SHA", "sha"), "of 0-9 and a-f"),
        ("train@md5:" + "0" * 32, "which is unknown"),
    ],
)
def test_what_none_can(reference: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_image(reference)
