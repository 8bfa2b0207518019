"""Time and memory of an answer in four runtimes, on the networks of this project.

    pip install --no-deps --requirement benchmarks/runtimes/requirements.txt
    python -m benchmarks.runtimes

Each runtime has a process of its own, and they answer in turn: A B C D A B C D. Before anything is
timed, each has to give what Keras gives, to 1e-5 (in bfloat16 to 0.05). The others compute in
float32. LiteRT and ONNX Runtime
are left out where they are not installed. Times are medians of a call; memory is what the process
holds after the largest batch, Python and NumPy with it.
"""

import argparse
import sys
from importlib.util import find_spec

from rich.console import Console
from rich.table import Table

from benchmarks.runtimes.measure import NEEDS, measure
from pipelines.ending import ended


def main() -> None:
    """Prints a row for each network, number of CPUs and runtime."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--networks", default="compact,reference,efficientnet")
    parser.add_argument("--cpus", default="1,2", help="CPUs of a call (1,2)")
    parser.add_argument("--batches", default="1,8,32", help="batch sizes (1,8,32)")
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (1)")
    options = parser.parse_args()
    names = [name for name, (package, _) in NEEDS.items() if find_spec(package)]
    batches = [int(size) for size in options.batches.split(",")]

    table = Table(box=None, pad_edge=False)
    for heading in ("network", "CPUs", "runtime"):
        table.add_column(heading)
    for heading in (*(f"batch {size}, ms" for size in batches), "to first answer, CPU s", "MB"):
        table.add_column(heading, justify="right")
    for network in options.networks.split(","):
        for cpus in (int(count) for count in options.cpus.split(",")):
            found = measure(network, names, cpus, batches, options.rounds, options.seconds)
            for name, result in found.items():
                table.add_row(
                    network,
                    str(cpus),
                    name,
                    *(f"{result['ms'][size]:.2f}" for size in batches),
                    f"{result['start']:.1f}",
                    f"{result['memory']:.0f}",
                )
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(ended(main))
