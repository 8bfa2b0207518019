"""This predictor where OpenVINO is not installed: TensorFlow runs the same model."""

import runpy
import sys

if __name__ == "__main__":
    sys.modules["openvino"] = None  # type: ignore[assignment]
    runpy.run_module("serving", run_name="__main__", alter_sys=True)
