"""KServe's package is imported in parts, and whole where somebody wants it so."""

import subprocess
import sys

import pytest

from tests.serving.conftest import ROOT


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        (
            "import serving.server, sys; "
            "print({'kubernetes', 'pandas', 'fastapi', 'rich'} & {*sys.modules})",
            "set()",
        ),
        (
            "import serving.server, sys; from serving.kserve_package import _Later; "
            "print({name.partition('.')[0] for name, module in sys.modules.items() "
            "if module and any(isinstance(value, _Later) for value in vars(module).values())})",
            "{'kserve'}",
        ),
        (
            "import serving.server, asyncio; from kserve.errors import InvalidInput, "
            "invalid_input_handler as handler; "
            "print(asyncio.run(handler(None, InvalidInput('no'))).body.decode())",
            '{"error":"no"}',
        ),
        (
            "import serving.server; from fastapi import FastAPI; import kserve.model_server as m; "
            "print(FastAPI().title, m.app)",
            "FastAPI None",
        ),
        (
            "import serving.server; from kserve.protocol.infer_type import *; "
            "tensor = InferInput('ages', [2], 'INT32', [3, 4]); "
            "print(InferRequest('m', [tensor]).as_dataframe().ages.sum())",
            "7",
        ),
        (
            "import serving.server, pandas; from kserve.utils.utils import get_predict_input; "
            "print(type(get_predict_input({'instances': [{'age': [3]}]})) is pandas.DataFrame)",
            "True",
        ),
        ("import serving, kserve; print(kserve.KServeClient.__name__)", "KServeClient"),
        ("import serving; from kserve import Model, constants; print(Model.__name__)", "Model"),
        ("import kserve, serving; print(kserve.KServeClient.__name__)", "KServeClient"),
        ("import serving, kserve; print(hasattr(kserve, 'nothing'))", "False"),
        (
            "from serving.predictor import Predictor; import kserve; "
            "print(issubclass(Predictor, kserve.Model))",
            "True",
        ),
    ],
)
def test_kserve_is_there_in_parts_and_whole(code: str, printed: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == (printed, 0), done.stderr[-500:]
