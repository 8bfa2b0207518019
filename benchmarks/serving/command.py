"""This predictor beside the reference implementation's service and the peers that PyPI has.

    python -m benchmarks.serving --model runs/registry/brain-tumor/1 --output runs/serving

Every server runs alone, in processes of its own, on the same cores as the load generator, in turn:
A B C A B C. All but the reference serve the same SavedModel, and all but the reference and this
predictor run the same few lines around it (`servers/common.py`): what differs is the serving. The
reference's service serves the reference's own CNN: it can serve no other. Each peer has an
environment of its own, made from `requirements/`, and is set up as its documentation advises.

Before anything is timed, each server is asked about every image. It has to give the probability
that its model gives without a server, to 1e-4. The reference resizes by another rule (nearest
neighbour), which is part of what it does, so it is held against that rule.

An image is sent in the form that is natural to the server: as base64 in JSON to KServe's sample,
LitServe, MLServer and BentoML, as the raw body to Ray Serve, as an address to the reference, which
takes nothing else. This predictor is measured in all three. Its JSON, the slowest to read, is what
its place among the peers rests on; its address form is the same work that the reference does.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.serving import breakdown, environments, load, measure, outputs, report
from benchmarks.serving.contenders import CONTENDERS, OURS, Contender
from benchmarks.serving.measure import Course
from benchmarks.serving.payloads import SIZES, lossless, make_payloads, write_payloads
from benchmarks.serving.processes import Server, free_ports, listens
from components.shared.errors import UserError
from components.shared.model_folder.contract import SAVED_MODEL

_FILE_SERVER_SECONDS = 20.0


def main() -> None:
    """Measures, prints tables and ratios, and writes JSON and a picture."""
    options = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an end that still stops the servers
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cpus])
    contenders = [CONTENDERS[key] for key in options.servers]
    pythons, failed = _pythons(contenders, options.environments)
    able = [contender for contender in contenders if contender.key in pythons]
    options.output.mkdir(parents=True, exist_ok=True)
    with _course(options) as course:
        if options.profile:
            _profile(options, course)
            return
        runs, failed_later = measure.rounds(
            able, pythons, options.model, course, options.rounds, options.output
        )
    failed |= failed_later
    found = report.rows(runs)
    versions = {contender.key: environments.versions(pythons[contender.key]) for contender in able}
    report.write_json(
        options.output / "serving.json", found, failed, versions, _as_json(vars(options))
    )
    report.draw(found, options.output / "serving.png")
    console = Console(width=200, highlight=False)
    print()
    report.print_tables(found, console)
    print()
    for line in report.goals(found):
        print(line)
    for key, reason in failed.items():
        print(f"NOT MEASURED: {CONTENDERS[key].title}: {reason}")
    print(f"written: {options.output / 'serving.json'}, {options.output / 'serving.png'}")
    if OURS in failed:
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a registered version")
    parser.add_argument("--images", default="sample://?images=60", help="as --source of the run")
    parser.add_argument(
        "--servers", type=_servers, default=list(CONTENDERS), help=",".join(CONTENDERS)
    )
    parser.add_argument(
        "--sizes", type=_sizes, default=list(SIZES), help="of images, the first always: 12,100,700"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="each load takes")
    parser.add_argument("--clients", type=_numbers(int), default=(1, 8), help="closed loops: 1,8")
    parser.add_argument(
        "--rates",
        type=_numbers(float),
        default=(10.0, 100.0, 200.0),
        help="open loops, requests a second: 10,100,200; none: ''",
    )
    parser.add_argument("--cpus", type=int, default=2, help="cores for server and load together")
    parser.add_argument("--environments", type=Path, default=environments.default_folder())
    parser.add_argument("--output", type=Path, default=Path("runs/serving"))
    parser.add_argument(
        "--profile", action="store_true", help="only this predictor: where its CPU time goes"
    )
    options = parser.parse_args()
    if options.rounds < 1 or options.cpus < 1 or options.seconds <= 0 or not options.clients:
        parser.error("--rounds, --cpus, --seconds and --clients must be positive")
    if not (options.model / SAVED_MODEL).is_file():
        parser.error(f"--model {options.model}: no {SAVED_MODEL} in it")
    options.model = options.model.resolve()
    return options


def _servers(text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",") if key.strip()]
    for key in keys:
        if key not in CONTENDERS:
            raise argparse.ArgumentTypeError(f"no server {key}; there are {', '.join(CONTENDERS)}")
    return keys


def _sizes(text: str) -> list[str]:
    labels = {size.split()[0]: size for size in SIZES}
    for part in text.split(","):
        if part.strip() not in labels:
            raise argparse.ArgumentTypeError(f"no size {part}; there are {', '.join(labels)}")
    asked = {labels[part.strip()] for part in text.split(",")}
    return [size for size in SIZES if size in asked or size == measure.SMALL]


def _numbers(kind: type) -> Any:
    def parse(text: str) -> tuple[Any, ...]:
        numbers = sorted(kind(part) for part in text.split(",") if part.strip())
        if any(number <= 0 for number in numbers):
            raise argparse.ArgumentTypeError("numbers above 0, separated by commas")
        return tuple(numbers)

    return parse


def _pythons(contenders: list[Contender], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Returns each server's Python, and why there is none for others."""
    pythons: dict[str, Path] = {}
    failed: dict[str, str] = {}
    for contender in contenders:
        try:
            pythons[contender.key] = measure.python_of(contender, folder)
        except environments.InstallError as error:
            failed[contender.key] = f"not installed: {error}"
            print(f"{contender.title}: {failed[contender.key]}", flush=True)
    return pythons, failed


@contextlib.contextmanager
def _course(options: argparse.Namespace) -> Iterator[Course]:
    """Makes the images, serves them, and computes what has to be answered."""
    with TemporaryDirectory() as scratch:
        folder, log = Path(scratch, "images"), Path(scratch, "log")
        folder.mkdir()
        try:
            payloads = make_payloads(options.images)
        except UserError as error:
            sys.exit(f"error: {error}")
        plain = [lossless(payload) for payload in payloads[measure.SMALL]]
        write_payloads([*plain, *(p for some in payloads.values() for p in some)], folder)
        port = free_ports(1)
        at = f"http://127.0.0.1:{port}"
        payloads = {
            size: [replace(payload, url=f"{at}/{payload.name}") for payload in payloads[size]]
            for size in options.sizes
        }
        plain = [replace(payload, url=f"{at}/{payload.name}") for payload in plain]
        for size, some in payloads.items():
            sizes = [len(payload.data) for payload in some]
            print(f"{size}: {len(some)} images, {min(sizes):,} to {max(sizes):,} bytes", flush=True)
        expected, of_reference = outputs.expected(
            options.model, [*plain, *(p for some in payloads.values() for p in some)]
        )
        command = [
            sys.executable, "-m", "benchmarks.serving.file_server", str(folder), str(port)
        ]  # fmt: skip
        with Server(command, log) as files:
            files.wait(lambda: listens(port), _FILE_SERVER_SECONDS)
            yield Course(
                payloads,
                plain,
                expected,
                of_reference,
                options.clients,
                options.rates,
                options.seconds,
            )


def _profile(options: argparse.Namespace, course: Course) -> None:
    """Prints where this predictor's CPU time goes."""
    found = breakdown.alone(options.model, course)
    ours = CONTENDERS[OURS]
    short = replace(course, rates=(), payloads={measure.SMALL: course.payloads[measure.SMALL]})
    with load.generator_process() as generator:
        server, port = measure.start(
            ours, Path(sys.executable), options.model, options.output / "ours.log"
        )
        with server:
            measure.run(ours, server, port, replace(short, seconds=2.0), generator, 1)
            for line in breakdown.breakdown(server, port, course, found, generator):
                print(line, flush=True)


def _as_json(options: dict[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
