"""The benchmark of GPUs: what it reads of a trace, which no machine without one writes."""

from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XPlane, XSpace

from benchmarks.gpu import profile_of

KERNEL, COPY, OPERATION = 1, 2, 3


def _plane(space: XSpace, name: str) -> XPlane:
    plane = space.planes.add(name=name)
    for number, what in ((KERNEL, "conv_kernel"), (COPY, "MemcpyH2D"), (OPERATION, "Conv2D")):
        plane.event_metadata[number].name = what
    return plane


def test_kernels_that_run_at_once_count_once() -> None:
    space = XSpace()
    _plane(space, "/host:CPU")
    plane = _plane(space, "/device:GPU:0")
    for stream, start in (("Stream #1", 0), ("Stream #2", 200)):
        line = plane.lines.add(name=stream, timestamp_ns=10**9)
        line.events.add(metadata_id=KERNEL, offset_ps=start * 10**9, duration_ps=300 * 10**9)
        line.events.add(metadata_id=COPY, offset_ps=700 * 10**9, duration_ps=100 * 10**9)
    by_operation = plane.lines.add(name="TensorFlow Ops", timestamp_ns=10**9)
    by_operation.events.add(metadata_id=OPERATION, offset_ps=0, duration_ps=900 * 10**9)
    found = profile_of(space, seconds=1)
    assert found.kernels == 0.5
    assert found.copies == 2
