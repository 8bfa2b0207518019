"""OpenVINO as the runtime: for CPUs. It reads the SavedModel as it is, without TensorFlow."""

import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from components.shared.errors import UserError, first_line
from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import (
    EXPLAIN,
    INPUT,
    REQUIRED,
    SAVED_MODEL,
    SERVING,
    VARIABLES,
)
from components.shared.model_folder.runtimes.conversions import CONVERSIONS
from components.shared.model_folder.runtimes.runtime import Outputs
from components.shared.model_folder.runtimes.signatures import with_default_signature
from components.shared.model_folder.served import Precision

if TYPE_CHECKING:
    import openvino

# Its converter of other formats, which it does without: 6 MB that no answer needs.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]

_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoRuntime:
    """A SavedModel, compiled by OpenVINO; see `Runtime` of `runtime.py`."""

    name = "OpenVINO"
    largest_batch = 4  # an image takes 0.74 ms of CPU alone, 0.59 in fours, 0.68 in sixteens

    def __init__(
        self, folder: str | Path, cpus: int | None = None, precision: Precision = "float32"
    ) -> None:
        """Loads a SavedModel; arguments and errors are those of `load`."""
        self.precision: Precision = precision if multiplies(precision) else "float32"
        self.batches_at_once = cpus or 1
        # A stream runs one batch, on its share of the threads.
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[self.precision]}
        if cpus is not None:
            self._config |= {"NUM_STREAMS": cpus, "INFERENCE_NUM_THREADS": cpus}
        self._classify = _Compiled(_read(folder, SERVING), self._config)
        self._explain: _Compiled | None = None
        self._explaining = _read(folder, EXPLAIN)
        self._lock = threading.Lock()
        self.outputs = frozenset(self._classify.names)
        # OpenVINO's bindings set statics up in the first answer, and wait for Python's lock as they
        # do. Two threads that both answer first can wait for each other for ever.
        self.classify(np.zeros((1, *SHAPE), np.uint8))

    def classify(self, images: np.ndarray) -> Outputs:
        """Runs the signature that answers; see `Runtime.classify`."""
        return self._classify(images)

    def explain(self, images: np.ndarray) -> Outputs:
        """Runs the signature that explains; see `Runtime.explain`."""
        with self._lock:  # compiled when it is first asked for: most replicas never are
            self._explain = self._explain or _Compiled(self._explaining, self._config)
        return self._explain(images)


class _Compiled:
    """A signature, compiled for the CPU."""

    def __init__(self, model: "openvino.Model", config: dict[str, Any]) -> None:
        import openvino

        self._model = openvino.Core().compile_model(model, "CPU", config)
        self.names = [output.any_name for output in self._model.outputs]
        self._own = threading.local()

    def __call__(self, images: np.ndarray) -> Outputs:
        if not hasattr(self._own, "request"):  # a request holds one answer at a time
            self._own.request = self._model.create_infer_request()
        found = self._own.request.infer([np.ascontiguousarray(images)], share_inputs=True)
        return dict(zip(self.names, found.to_tuple(), strict=True))


def multiplies(precision: Precision) -> bool:
    """Tells whether this CPU has instructions for it; OpenVINO would emulate them, and slowly."""
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {"float32": "FP32", "bfloat16": "BF16"}[precision] in able


def _read(folder: str | Path, signature: str) -> "openvino.Model":
    """Reads one signature of a SavedModel as OpenVINO's model."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.tensorflow import ConversionExtension

    with TemporaryDirectory(prefix="signature-") as temporary:
        # OpenVINO reads the default signature only.
        content = with_default_signature(Path(folder, SAVED_MODEL), signature)
        Path(temporary, SAVED_MODEL).write_bytes(content)
        Path(temporary, VARIABLES).symlink_to(Path(folder, VARIABLES).resolve())
        frontend = FrontEndManager().load_by_framework("tf")
        for operation, conversion in CONVERSIONS.items():
            frontend.add_extension(ConversionExtension(operation, conversion))
        try:
            model = openvino.Model(frontend.convert(frontend.load(temporary)))
        except Exception as error:  # whatever a hostile file provokes
            raise UserError(f"{folder}: cannot load the SavedModel: {_reason(error)}") from error
    inputs = {name for port in model.inputs for name in port.names}
    outputs = {name for port in model.outputs for name in port.names}
    shapes = [port.partial_shape for port in model.inputs]
    expected = openvino.PartialShape([-1, *SHAPE])
    if inputs != {INPUT} or not REQUIRED[signature] <= outputs or shapes != [expected]:
        raise UserError(
            f"{folder}: signature {signature} does not map {INPUT} to "
            f"{' and '.join(sorted(REQUIRED[signature]))}"
        )
    return model


def _reason(error: Exception) -> str:
    """Returns what OpenVINO says is wrong; its first lines are places in its own source."""
    lines = [line for line in str(error).splitlines() if line.startswith(("--", "[TensorFlow"))]
    return first_line(RuntimeError(lines[0])) if lines else first_line(error)
