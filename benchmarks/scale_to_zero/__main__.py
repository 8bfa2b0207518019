"""How long the first answer takes after Knative has scaled the predictor to zero.

    export SERVE_IMAGE=localhost/brain-tumor-serve:0.1.0
    python -m benchmarks.scale_to_zero --registry runs/demo/registry

It needs the cluster that KUBECONFIG names, with KServe and Knative Serving, and the image where the
nodes find it. It serves version 1 in a namespace of its own, with `manifests/overlays/local` and
the component `knative` at `minReplicas: 0`. Each round waits until no pod is left, then asks once,
from a pod of the cluster. It splits the time: until the predictor's process begins,
then until its ports are open, then until the answer is whole.
"""

import argparse
import itertools
import os
import signal
import statistics
import sys
import tempfile
import uuid
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.ending import ended
from tests.cluster.cluster import Cluster, ServedNamespace
from tests.cluster.zero import answers, scaled_to_zero, start_asking, wait_for_zero

CONTAINER = "kserve-container"
PHASES = ("to its process", "to its ports", "to the answer", "in all")
# The time, seconds since the machine's start, when the first process began in ticks since then.
_BEGUN = "date +%s.%N; cut -d ' ' -f 1 /proc/uptime; cut -d ')' -f 2 /proc/1/stat; getconf CLK_TCK"
_START_TIME = 19  # field 22 of /proc/PID/stat, counted behind the name


def measure(served: ServedNamespace) -> tuple[float, ...]:
    """Measures one first answer.

    Returns:
        Seconds of each of PHASES.
    """
    wait_for_zero(served)
    (asked,) = answers(served, start_asking(served))
    assert asked["status"] == 200, asked
    pod = served.pods()[0]["metadata"]["name"]
    begun, opened = _begun(served, pod), _opened(served, pod)
    moments = (asked["sent"], begun, opened, asked["answered"])
    parts = (later - earlier for earlier, later in itertools.pairwise(moments))
    return (*parts, asked["answered"] - asked["sent"])


def _begun(served: ServedNamespace, pod: str) -> float:
    """Returns when the predictor's process began, in seconds since 1970."""
    said = served.kubectl("exec", pod, "-c", CONTAINER, "--", "sh", "-c", _BEGUN)
    now, up, stat, ticks = said.splitlines()
    return float(now) - float(up) + int(stat.split()[_START_TIME]) / int(ticks)


def _opened(served: ServedNamespace, pod: str) -> float:
    """Returns when the predictor said that its ports are open, in seconds since 1970."""
    lines = served.kubectl("logs", pod, "-c", CONTAINER, "--timestamps").splitlines()
    (said,) = [line for line in lines if "is served at" in line]
    return datetime.fromisoformat(said.split()[0]).timestamp()


def main() -> None:
    """Prints the median, least and greatest of each phase."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--registry", type=Path, default=Path("runs/demo/registry"))
    parser.add_argument("--rounds", type=int, default=10, help="answers that are measured (10)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an end that still deletes the namespace
    os.environ.setdefault("IMAGE", "")  # of the steps, which none of this needs
    cluster, name = Cluster(), f"brain-tumor-zero-{uuid.uuid4().hex[:8]}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            served = scaled_to_zero(cluster, name, options.registry, Path(folder))
        rounds = []
        for number in range(1, options.rounds + 1):
            rounds.append(measure(served))
            print(f"round {number}: " + ", ".join(f"{part:.2f}" for part in rounds[-1]), flush=True)
    finally:
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
    table = Table("seconds", *PHASES, box=None, pad_edge=False)
    for what, of in (("median", statistics.median), ("least", min), ("greatest", max)):
        table.add_row(what, *(f"{of(column):.2f}" for column in zip(*rounds, strict=True)))
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(ended(main))
