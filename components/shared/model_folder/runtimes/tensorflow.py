"""TensorFlow as the runtime: for GPUs, and where it is installed anyway."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.errors import UserError, first_line
from components.shared.model_folder.contract import EXPLAIN, INPUT, REQUIRED, SERVING
from components.shared.model_folder.runtimes.runtime import Outputs
from components.shared.model_folder.served import Precision
from components.shared.run.native import native_lines


class TensorFlowRuntime:
    """A SavedModel, loaded by TensorFlow; see `Runtime` of `runtime.py`.

    Its weights stay variables: frozen into the graph, oneDNN's convolutions took twice the time for
    a batch of eight, and the process twice the memory.
    """

    name = "TensorFlow"
    precision: Precision = "float32"
    largest_batch = 256

    def __init__(self, folder: str | Path, cpus: int | None = None) -> None:
        """Loads a SavedModel; arguments and errors are those of `load`."""
        if cpus is not None:
            use_cpus(1)
        import tensorflow as tf

        try:
            self._loaded = tf.saved_model.load(str(folder))
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise UserError(f"{folder}: cannot load the SavedModel: {first_line(error)}") from error
        self._classify, self._explain = (
            _signature(self._loaded, name, folder) for name in (SERVING, EXPLAIN)
        )
        self._constant = tf.constant
        self.outputs = frozenset(self._classify.structured_outputs)
        # A GPU has its parallel work within a batch.
        self.batches_at_once = 1 if tf.config.list_physical_devices("GPU") else cpus or 1

    def classify(self, images: np.ndarray) -> Outputs:
        """Runs the signature that answers; see `Runtime.classify`."""
        return self._run(self._classify, images)

    def explain(self, images: np.ndarray) -> Outputs:
        """Runs the signature that explains; see `Runtime.explain`."""
        return self._run(self._explain, images)

    def _run(self, signature: Any, images: np.ndarray) -> Outputs:
        outputs = signature(**{INPUT: self._constant(images)})
        return {name: output.numpy() for name, output in outputs.items()}


def _signature(loaded: Any, name: str, folder: str | Path) -> Any:
    if name not in loaded.signatures:
        raise UserError(f"{folder}: has no signature {name}; register the model again")
    signature = loaded.signatures[name]
    inputs = signature.structured_input_signature[1]
    if INPUT not in inputs or not REQUIRED[name] <= signature.structured_outputs.keys():
        raise UserError(
            f"{folder}: signature {name} does not map {INPUT} to "
            f"{' and '.join(sorted(REQUIRED[name]))}"
        )
    return signature


def use_cpus(count: int) -> None:
    """Sets TensorFlow up; to be called before it computes anything.

    Args:
        count: CPUs that one operation is spread over.
    """
    # The calling thread takes its share of an operation. To wake another one for it, and to wait
    # idly, takes longer than many an operation of a small network on one image.
    os.environ.setdefault("TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD", "true")
    with native_lines():
        import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # not all of it at once
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)
