"""The predictor's numbers are evaluation's numbers, for the same files."""

import base64
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from components.ingest.sample import write_sample
from components.shared.data.dataset import ImageDataset, Split
from components.shared.images.decode import ImageError, decode
from components.shared.model_folder.checksums import write_sums

BATCH = 8
TEMPERATURE = 0.4  # makes its answers differ more still
REAL = os.environ.get("BRAIN_TUMOR_DATASET", "")


@pytest.fixture(scope="module")
def network() -> Any:
    """The reference CNN with weights of chance, which makes its answers differ most."""
    import keras

    from components.shared.networks.reference import reference_cnn

    keras.utils.set_random_seed(3)
    return reference_cnn(0.3, 128)


@pytest.fixture(scope="module")
def served(
    network: Any,
    dataset: ImageDataset,
    split: Split,
    checked_model_folder: Path,
    start: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    import keras

    from components.register.export import export
    from components.register.in_distribution import fit_check
    from components.register.projection import fit_projection
    from components.shared.evaluation.predictor import apply_temperature

    folder = tmp_path_factory.mktemp("network")
    calibrated = keras.models.clone_model(network)
    calibrated.set_weights(network.get_weights())
    apply_temperature(calibrated, TEMPERATURE)
    projection = fit_projection(calibrated, dataset, split)
    export(calibrated, fit_check(calibrated, dataset, split), projection, folder)
    for name in ("labels.json", "metadata.json", "model_card.md"):
        (folder / name).write_bytes((checked_model_folder / name).read_bytes())
    write_sums(folder)
    with start(folder) as server:
        yield server


def _compare(files: list[bytes], network: Any, server: Any) -> None:
    from components.shared.evaluation.calibration import calibrate
    from components.shared.evaluation.predictor import predict_tumor

    pixels = np.stack([decode(file).pixels for file in files])
    batches = [
        (np.arange(start, min(start + BATCH, len(pixels))), pixels[start : start + BATCH])
        for start in range(0, len(pixels), BATCH)
    ]
    expected = calibrate(predict_tumor(network, batches, len(pixels)), TEMPERATURE)
    found = []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for start in range(0, len(files), BATCH):
            instances = [
                {"b64": base64.b64encode(file).decode()} for file in files[start : start + BATCH]
            ]
            response = client.post("/v1/models/brain-tumor:predict", json={"instances": instances})
            found += [
                answer["probabilities"]["Brain Tumor"] for answer in response.json()["predictions"]
            ]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sample_images_get_the_numbers_of_evaluation(
    network: Any, served: Any, tmp_path: Path
) -> None:
    write_sample(tmp_path, images=60, seed=4)
    files = [path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    _compare([file for file in files if _usable(file)], network, served)


@pytest.mark.skipif(not REAL.endswith(".zip"), reason="BRAIN_TUMOR_DATASET names no zip")
def test_real_images_get_the_numbers_of_evaluation(network: Any, served: Any) -> None:
    with zipfile.ZipFile(REAL) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        files = [archive.read(name) for name in names[:: max(1, len(names) // 120)]]
    _compare([file for file in files if _usable(file)], network, served)


def _usable(file: bytes) -> bool:
    try:
        decode(file)
    except ImageError:
        return False
    return True
