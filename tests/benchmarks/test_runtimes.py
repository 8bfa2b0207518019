"""The benchmark of runtimes compares answers before it times them."""

import pytest

from benchmarks.runtimes import measure


def test_each_runtime_answers_as_keras_does_and_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["OpenVINO", "TensorFlow"]
    found = measure.measure("compact", names, cpus=1, batches=[1, 2], rounds=1, seconds=0.01)
    assert list(found) == names
    for result in found.values():
        assert set(result["ms"]) == {1, 2}
        assert result["memory"] > 10

    monkeypatch.setattr(measure, "_TOLERANCE", -1.0)
    with pytest.raises(SystemExit, match="OpenVINO is off by"):
        measure.measure("compact", names[:1], cpus=1, batches=[1], rounds=1, seconds=0.01)
