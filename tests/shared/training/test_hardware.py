from pathlib import Path

import pytest

from components.shared.training import hardware


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.tf.config, "list_physical_devices", lambda kind: [])


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ("fpu avx2 avx512f avx512_bf16", "mixed_bfloat16"),
        ("fpu avx2 amx_bf16", "mixed_bfloat16"),
        ("fpu avx2 avx512f", "float32"),
    ],
)
def test_cpus(monkeypatch: pytest.MonkeyPatch, flags: str, policy: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: f"flags\t\t: {flags}\n")
    assert hardware.precision() == policy
    assert hardware.device_name().startswith("CPU, ")


@pytest.mark.usefixtures("cpu")
def test_a_system_without_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    assert hardware.precision() == "float32"


@pytest.mark.parametrize(
    ("details", "policy"),
    [
        ({"compute_capability": (9, 0)}, "mixed_bfloat16"),
        ({"compute_capability": (8, 0)}, "mixed_bfloat16"),
        ({"compute_capability": (7, 5)}, "mixed_float16"),
        ({"compute_capability": (6, 1)}, "float32"),
        ({}, "float32"),
    ],
    ids=str,
)
def test_gpus(
    monkeypatch: pytest.MonkeyPatch, details: dict[str, tuple[int, int]], policy: str
) -> None:
    config = hardware.tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(
        config.experimental, "get_device_details", lambda gpu: details | {"device_name": "H100"}
    )
    assert hardware.precision() == policy
    assert hardware.device_name() == "H100"
