"""Takes every server through the same course."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import environments, load
from benchmarks.serving.contenders import PORTS, REFERENCE, Contender, Form
from benchmarks.serving.load import Load
from benchmarks.serving.outputs import WrongAnswerError, ask, check
from benchmarks.serving.payloads import SIZES, Payload
from benchmarks.serving.processes import Server, StartError, free_ports

SMALL = next(iter(SIZES))
WARM_SECONDS = 2.0
_START_SECONDS = 180.0
_OVERLOADED = 0.05  # share of requests that fail from which higher rates are not tried


@dataclass(frozen=True)
class Course:
    """What is done with every server.

    Attributes:
        payloads: Images by size; small ones are sent in every scenario.
        lossless: Images that every decoder makes the same pixels of.
        expected: P(Brain Tumor) by name, as this project decodes.
        expected_of_reference: The same of the reference's own network and decoding.
        clients: Of the closed loops.
        rates: Requests a second, of the open loops, ascending.
        seconds: Each of them takes.
    """

    payloads: dict[str, list[Payload]]
    lossless: list[Payload]
    expected: dict[str, float]
    expected_of_reference: dict[str, float]
    clients: tuple[int, ...]
    rates: tuple[float, ...]
    seconds: float

    def scenarios(self) -> Iterator["Scenario"]:
        """Yields what is measured, in order: the open loops last, for they may overload."""
        for size in self.payloads:
            for clients in self.clients:
                yield Scenario(size, clients=clients)
        for rate in self.rates:
            yield Scenario(SMALL, rate=rate)


@dataclass(frozen=True)
class Scenario:
    """A load: so many clients, or so many requests a second, with images of one size."""

    size: str
    clients: int = 0
    rate: float = 0.0

    def __str__(self) -> str:
        """Returns it for people."""
        if self.clients:
            return f"{self.size}, {self.clients} client{'s' if self.clients > 1 else ''}"
        return f"{self.size}, {self.rate:g} requests/s"


@dataclass
class Run:
    """One start of one server.

    Attributes:
        ready_seconds: From its start to its first answer.
        memory: Most resident bytes after any of the loads, all processes together.
        difference: The largest from what is expected, over all images and forms.
        loads: By form and scenario.
        cpu_seconds: Of the server, all processes together, during each.
    """

    ready_seconds: float
    memory: int = 0
    difference: float = 0.0
    loads: dict[tuple[str, Scenario], Load] = field(default_factory=dict)
    cpu_seconds: dict[tuple[str, Scenario], float] = field(default_factory=dict)


def python_of(contender: Contender, folder: Path) -> Path:
    """Returns the Python that runs a server; its environment is made where it has its own.

    Args:
        contender: The server.
        folder: Where environments are kept.

    Raises:
        environments.InstallError: The environment cannot be made.
    """
    if not contender.own_environment:
        return Path(sys.executable)
    return environments.make_environment(contender.key, folder)


def start(contender: Contender, python: Path, model: Path, log: Path) -> tuple[Server, int]:
    """Starts a server.

    Args:
        contender: Which.
        python: The Python that runs it.
        model: Folder of the registered model.
        log: Where its output goes.

    Returns:
        The process and its port.
    """
    port = free_ports(PORTS)
    variables = {"BENCHMARK_MODEL": str(model), "BENCHMARK_PORT": str(port)}
    command = contender.command(python, model, port)
    return Server(command, log, **contender.environment | variables), port


def run(
    contender: Contender,
    server: Server,
    port: int,
    course: Course,
    generator: ProcessPoolExecutor,
    round_number: int,
) -> Run:
    """Takes a server through the course: first answer, right answers, warm-up, loads.

    Args:
        contender: Which.
        server: Its process.
        port: Where it listens.
        course: What to do.
        generator: Sends the load.
        round_number: Seeds the open loops, the same for every server.

    Returns:
        What was seen.

    Raises:
        StartError: It does not come up.
        WrongAnswerError: It answers something else than the model says.
    """
    first = course.payloads[SMALL][0]
    seen = Run(server.wait(lambda: _answers(contender, first, port), _START_SECONDS))
    everything = [payload for payloads in course.payloads.values() for payload in payloads]
    for form in contender.forms:
        expected = course.expected_of_reference if contender.key == REFERENCE else course.expected
        images = [*everything, *course.lossless]
        seen.difference = max(seen.difference, check(contender, form, expected, images, port))
    for form in contender.forms:
        _load(contender, form, server, port, course, generator, round_number, seen)
    return seen


def _load(
    contender: Contender,
    form: Form,
    server: Server,
    port: int,
    course: Course,
    generator: ProcessPoolExecutor,
    round_number: int,
    seen: Run,
) -> None:
    """Warms a server up and measures one form of request."""
    rendered = {
        size: [form.request(payload) for payload in payloads]
        for size, payloads in course.payloads.items()
    }
    warm = min(WARM_SECONDS, course.seconds)
    for requests in rendered.values():
        generator.submit(load.closed_loop, port, requests, max(course.clients), warm).result()
    overloaded = False
    for scenario in course.scenarios():
        if scenario.rate and overloaded:
            continue
        before = server.cpu_seconds()
        if scenario.clients:
            future = generator.submit(
                load.closed_loop, port, rendered[scenario.size], scenario.clients, course.seconds
            )
        else:
            future = generator.submit(
                load.open_loop,
                port,
                rendered[scenario.size],
                scenario.rate,
                course.seconds,
                round_number,
            )
        found = future.result()
        seen.loads[form.name, scenario] = found
        seen.cpu_seconds[form.name, scenario] = server.cpu_seconds() - before
        seen.memory = max(seen.memory, server.memory())
        figures = load.summed_up([found])
        overloaded = figures.failed > _OVERLOADED * figures.requests
        print(
            f"  {contender.title}, {form.name}, {scenario}: "
            f"{figures.requests_per_second:.1f} requests/s, p50 {1e3 * figures.p50:.1f} ms, "
            f"p99 {1e3 * figures.p99:.1f} ms, {figures.failed} failed",
            flush=True,
        )


def _answers(contender: Contender, payload: Payload, port: int) -> bool:
    try:
        ask(contender, contender.forms[0], payload, port)
    except WrongAnswerError:
        return False
    return True


def rounds(
    contenders: Sequence[Contender],
    pythons: dict[str, Path],
    model: Path,
    course: Course,
    count: int,
    logs: Path,
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Measures every server in turn, A B C A B C, and never two at once.

    Args:
        contenders: Who takes part.
        pythons: By key, the Python of each.
        model: Folder of the registered model.
        course: What is done with each.
        count: How often each has its turn.
        logs: Folder for their output.

    Returns:
        By key, a run for each turn; and why others have failed.
    """
    runs: dict[str, list[Run]] = {}
    failed: dict[str, str] = {}
    with load.generator_process() as generator:
        for number in range(1, count + 1):
            for contender in contenders:
                if contender.key in failed:
                    continue
                print(f"round {number} of {count}: {contender.title}", flush=True)
                log = logs / f"{contender.key}.log"
                server, port = start(contender, pythons[contender.key], model, log)
                try:
                    with server:
                        seen = run(contender, server, port, course, generator, number)
                except (StartError, WrongAnswerError) as error:
                    failed[contender.key] = str(error)
                    print(f"  {contender.title} failed: {error}", flush=True)
                else:
                    runs.setdefault(contender.key, []).append(seen)
    return runs, failed
