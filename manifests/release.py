"""Writes a copy of the manifests that names the predictor's images by their digests.

The release workflow calls it: `python -m manifests.release FOLDER IMAGE@DIGEST CUDA_IMAGE@DIGEST`.
"""

import re
import shutil
import sys
import tomllib
from pathlib import Path

MANIFESTS = Path(__file__).parent
IMAGE = "brain-tumor-serve"


def release(folder: Path, cpu: str, cuda: str) -> None:
    """Copies overlays, components and the chart, with images that can't change.

    Args:
        folder: To write; it must not exist.
        cpu: Image of the predictor, with its digest.
        cuda: Image of the predictor for GPUs, with its digest.

    Raises:
        ValueError: An image has no digest.
    """
    for image in (cpu, cuda):
        if not re.fullmatch(r"[^@\s]+@sha256:[0-9a-f]{64}", image):
            raise ValueError(f"{image!r} has no digest: it should end in @sha256: and 64 digits")
    project = tomllib.loads((MANIFESTS.parent / "pyproject.toml").read_text())
    tag = project["project"]["version"]
    name, _, digest = cuda.partition("@")
    # The component for GPUs changes the image that the base names.
    written = {
        # Nobody builds an image by its digest, and the release has it.
        "# The image must hold TensorFlow for CUDA:\n#   docker build --file Dockerfile.serve "
        f"--build-arg LOCK=serve-cuda --tag {IMAGE}:{tag}-cuda .\n": "",
        f"  - name: {IMAGE}\n    newTag: {tag}-cuda\n": f"  - name: {cpu.partition('@')[0]}\n"
        f"    newName: {name}\n    digest: {digest}\n",
        f"{IMAGE}:{tag}-cuda": cuda,
        f"{IMAGE}:{tag}": cpu,
    }
    shutil.copytree(MANIFESTS, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path in folder.rglob("*.yaml"):
        text = path.read_text()
        for old, new in written.items():
            text = text.replace(old, new)
        path.write_text(text)


if __name__ == "__main__":
    release(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
