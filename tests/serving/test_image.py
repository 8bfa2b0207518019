"""The predictor runs with what its image for CPUs holds, and without all else."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.conftest import ROOT
from tests.test_packaging import pins

# Imports the whole predictor where no package is that its image lacks.
WITHOUT = """
import importlib, pkgutil, sys

for name in sys.argv[1].split():
    sys.modules[name] = None
import serving

for module in pkgutil.iter_modules(serving.__path__):
    if module.name != "__main__":  # which would serve
        importlib.import_module(f"serving.{module.name}")

import numpy as np

from components.shared.model_folder.runtimes import load

print(load(sys.argv[2]).classify(np.full((1, 150, 150, 3), 51, np.uint8))["probability_healthy"])
"""


def test_the_predictor_runs_without_what_its_image_lacks(model_folder: Path) -> None:
    installed = set(pins("serve.txt"))
    lacking = [
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if module.isidentifier()
        and module not in ("components", "serving", "pipelines")
        and not {re.sub(r"[-_.]+", "-", name).lower() for name in packages} & installed
    ]
    assert {"scipy", "sklearn", "matplotlib", "kfp", "tensorflow", "keras"} <= set(lacking)
    command = [sys.executable, "-c", WITHOUT, " ".join(lacking), str(model_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.strip(" [\n]")) == pytest.approx(0.2, abs=1e-5)
