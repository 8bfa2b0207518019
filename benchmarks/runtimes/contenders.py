"""The runtimes: how each loads a model and answers. A process holds one of them, and no other."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

Answer = Callable[[np.ndarray], np.ndarray]  # uint8 [n, 150, 150, 3] -> P(Healthy), float32 [n]

SAVED_MODEL, LITERT_MODEL, ONNX_MODEL = "saved_model", "model.tflite", "model.onnx"


def openvino(folder: Path, cpus: int, precision: str = "f32") -> Answer:
    """As the predictor runs it, but for one batch at a time on all CPUs."""
    from openvino import Core

    config = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": cpus,
        "NUM_STREAMS": 1,
    }
    model = Core().compile_model(str(folder / SAVED_MODEL), "CPU", config)
    request = model.create_infer_request()
    return lambda images: request.infer([images], share_inputs=True)[0].copy()


def openvino_bfloat16(folder: Path, cpus: int) -> Answer:
    """As the predictor runs a version that is served in bfloat16."""
    return openvino(folder, cpus, "bf16")


def tensorflow(folder: Path, cpus: int) -> Answer:
    """As the predictor runs it on GPUs, here on CPUs."""
    from components.shared.model_folder.contract import INPUT, PROBABILITY, SERVING
    from components.shared.model_folder.runtimes.tensorflow import use_cpus

    use_cpus(cpus)
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / SAVED_MODEL))
    signature = loaded.signatures[SERVING]

    def answer(images: np.ndarray) -> np.ndarray:
        found: np.ndarray = signature(**{INPUT: tf.constant(images)})[PROBABILITY].numpy()
        return found

    answer.loaded = loaded  # type: ignore[attr-defined]  # a signature does not keep its variables
    return answer


def litert(folder: Path, cpus: int) -> Answer:
    """With XNNPACK, its default on CPUs. A new batch size is a new plan of its memory."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / LITERT_MODEL), num_threads=cpus)
    (read,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    size = 0

    def answer(images: np.ndarray) -> np.ndarray:
        nonlocal size
        if len(images) != size:
            interpreter.resize_tensor_input(read["index"], images.shape)
            interpreter.allocate_tensors()
            size = len(images)
        interpreter.set_tensor(read["index"], images)
        interpreter.invoke()
        found: np.ndarray = interpreter.get_tensor(given["index"])[:, 0]
        return found

    return answer


def onnx_runtime(folder: Path, cpus: int) -> Answer:
    """With its own thread pool, and the graph optimized as far as it can."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = cpus, 1
    session = InferenceSession(folder / ONNX_MODEL, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answer(images: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run(None, {name: images})[0][:, 0]
        return found

    return answer


CONTENDERS: dict[str, Callable[[Path, int], Answer]] = {
    "OpenVINO": openvino,
    "OpenVINO, bfloat16": openvino_bfloat16,
    "TensorFlow": tensorflow,
    "LiteRT": litert,
    "ONNX Runtime": onnx_runtime,
}


def proportional_megabytes() -> float:
    """Returns the memory of this process; of what it shares with others, its share."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(kilobytes) / 1024


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
