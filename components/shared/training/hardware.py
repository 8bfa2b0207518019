"""What the machine at hand is good at."""

import platform
from pathlib import Path

import tensorflow as tf
from tensorflow.python.client import device_lib


def precision(bfloat16_on_cpu: bool = True) -> str:
    """Returns the Keras dtype policy that trains fastest here without losing accuracy.

    `mixed_bfloat16` on GPUs from Ampere on and on CPUs that multiply bfloat16 in hardware (AVX-512
    BF16 or AMX), `mixed_float16` on Volta and Turing GPUs, else `float32`.

    Args:
        bfloat16_on_cpu: False for networks that such CPUs train faster in float32: those of
            depthwise convolutions.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        major, _ = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if major >= 8 else "mixed_float16" if major == 7 else "float32"
    return "mixed_bfloat16" if bfloat16_on_cpu and _cpu_multiplies_bfloat16() else "float32"


def devices() -> tuple[str, ...]:
    """Returns the names of the GPUs that are here, all of which train; none where there is none."""
    return tuple(device.name for device in tf.config.list_logical_devices("GPU"))


def free_memory(device: str) -> int:
    """Returns how many bytes a GPU of `devices` has for TensorFlow that nothing takes yet."""
    limits = {found.name: found.memory_limit for found in device_lib.list_local_devices()}
    return limits[device] - tf.config.experimental.get_memory_info(device)["current"]


def device_name() -> str:
    """Returns a line that names what computes, for records of a run."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    return f"CPU, {platform.machine()}"


def _cpu_multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
