"""What runs the SavedModel in a model's folder: OpenVINO where it is installed, else TensorFlow.

Both give the same answers to 1e-5. OpenVINO is faster on CPUs and takes a fifth of the memory;
TensorFlow knows GPUs. The serving image for CPUs holds OpenVINO alone, the one for GPUs TensorFlow
alone.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from components.shared.model_folder.runtimes.runtime import Runtime
from components.shared.model_folder.served import Precision


def load(folder: str | Path, cpus: int | None = None, precision: Precision = "float32") -> Runtime:
    """Loads a SavedModel; the folder has to be verified before.

    Args:
        folder: The model's folder.
        cpus: How many batches will go through it at the same time, each on a CPU of its own. None
            is for one batch at a time on all CPUs.
        precision: In which numbers to compute. TensorFlow, and a CPU that cannot multiply
            bfloat16, compute in float32 all the same.

    Returns:
        The runtime that has it.

    Raises:
        UserError: It cannot be loaded, or lacks a signature, an input or an output.
    """
    return next(_runtimes(folder, cpus, precision))


def every_runtime(folder: str | Path) -> list[Runtime]:
    """Loads a SavedModel with each runtime that is installed; arguments and errors as of `load`."""
    return list(_runtimes(folder, None, "float32"))


def computes(precision: Precision) -> bool:
    """Tells whether `load` gives a runtime of that precision on this machine."""
    if precision == "float32":
        return True
    if not find_spec("openvino"):
        return False
    from components.shared.model_folder.runtimes.openvino import multiplies

    return multiplies(precision)


def _runtimes(folder: str | Path, cpus: int | None, precision: Precision) -> Iterator[Runtime]:
    """Yields the runtimes that are installed, the preferred one first, each with the model."""
    # Each is imported where it is used: importing both takes seconds.
    if find_spec("openvino"):
        from components.shared.model_folder.runtimes.openvino import OpenVinoRuntime

        yield OpenVinoRuntime(folder, cpus, precision)
    if find_spec("tensorflow"):
        from components.shared.model_folder.runtimes.tensorflow import TensorFlowRuntime

        yield TensorFlowRuntime(folder, cpus)
