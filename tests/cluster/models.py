"""A registry of small versions that the real predictor serves."""

from pathlib import Path

import numpy as np

from components.shared.model_folder.smoke import write_smoke
from components.shared.registry import Registry
from components.shared.storage.files import write_atomically
from tests.serving.conftest import write_model
from tests.shared.registry.versions import metadata

GOOD, BROKEN = (1, 2, 3), 4


def write_registry(folder: Path) -> Path:
    """Registers versions 1 to 4, of which the last one's graph is no SavedModel.

    Returns:
        The registry's folder.
    """
    registry = Registry.open(str(folder / "registry"))
    brightness = np.uint8([20, 240, 60, 200])
    pixels = np.broadcast_to(brightness[:, None, None, None], (4, 150, 150, 3))
    for number in (*GOOD, BROKEN):
        model = folder / "new" / str(number)
        write_model(model)
        (model / "SHA256SUMS").unlink()
        if number == BROKEN:
            (model / "saved_model.pb").write_bytes(b"no graph")
        write_smoke(model, pixels, brightness / np.float32(255), threshold=0.25)

        def describe(version: int, model: Path = model) -> None:
            content = metadata(version).model_dump_json()
            write_atomically(model / "metadata.json", content)

        assert registry.publish(model, describe) == number
    return folder / "registry"
