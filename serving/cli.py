"""The predictor's command, shared by `brain-tumor serve` and the serving image."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from components.shared.command_line.help_page import show_whole
from components.shared.command_line.missing import missing_package
from components.shared.command_line.start import INTERRUPTED
from components.shared.command_line.usage import UsageError, usage_fault
from components.shared.errors import UserError

TERMINATION_LOG = "/dev/termination-log"
_TERMINATION_BYTES = 4096  # more is cut off by the kubelet

Model = Annotated[
    str,
    typer.Argument(
        help="Registered version: a folder, or REGISTRY#VERSION, for example "
        "runs/registry#champion."
    ),
]
Name = Annotated[
    str,
    typer.Option(
        "--name", "--model_name", help="Name to serve under. Empty takes the model's own."
    ),
]
Host = Annotated[
    str | None,
    typer.Option("--host", help="Address to listen on; :: listens on all. 127.0.0.1 if not set."),
]
HttpPort = Annotated[
    int | None,
    typer.Option(
        "--port",
        "--http_port",
        min=0,
        max=65535,
        help="Port of REST and the page. 8080 if not set.",
    ),
]
GrpcPort = Annotated[
    int | None,
    typer.Option(
        "--grpc-port", "--grpc_port", min=0, max=65535, help="Port of gRPC. 8081 if not set."
    ),
]


def serve(
    model: Model = "/mnt/models",
    name: Name = "",
    host: Host = None,
    port: HttpPort = None,
    grpc_port: GrpcPort = None,
) -> None:
    """Serve a registered model: KServe v1, Open Inference REST and gRPC, and a page at /.

    Limits are set in the environment, all with safe defaults; see docs/serving.md.

    [dim]brain-tumor serve runs/registry#champion[/]
    """
    given = {"host": host, "http_port": port, "grpc_port": grpc_port}
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # only what went wrong
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # so that no Keras is imported: 1 s of CPU
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else a line for each bad header of a client
    try:
        from serving.server import serve as run  # imports KServe
        from serving.settings import Settings
    except ModuleNotFoundError as error:
        raise UserError(missing_package(error, "serve")) from error

    settings = Settings.from_environment(**{k: v for k, v in given.items() if v is not None})
    with _lent(model) as folder:
        run(folder, name, settings)


@contextmanager
def _lent(model: str) -> Iterator[Path]:
    """Lends the folder of a version; one that a registry has is fetched."""
    if "#" not in model or os.path.isdir(model):
        yield Path(model)
        return
    from components.shared.registry.reference import version_folder  # a mounted model needs none

    with version_folder(model) as folder:
        yield folder


def _write_termination_message(line: str) -> None:
    """Writes why the container ends to where `kubectl describe pod` shows it, in a pod."""
    message = line.encode("utf-8", "replace")[:_TERMINATION_BYTES].decode("utf-8", "ignore")
    with suppress(OSError), open(TERMINATION_LOG, "r+", encoding="utf-8") as log:  # never created
        log.write(message)


def _print_error(line: str) -> None:
    logs = sys.modules.get("serving.logs")  # imports KServe, and nothing was set up before it was
    if logs and logs.as_json():
        logging.getLogger("brain_tumor").critical(line)
    else:
        from rich.console import Console  # 5 MB, which a server that starts need not take
        from rich.markup import escape

        Console(stderr=True, highlight=False).print(
            f"[red]error:[/] {escape(line)}", soft_wrap=True
        )


def main() -> None:
    """Entry point of `python -m serving`: an error is one line, exit status 2."""
    app = typer.Typer(
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(serve)
    show_whole(app)
    try:
        sys.exit(app(prog_name="python -m serving", standalone_mode=False))
    except UsageError as error:
        _refuse(usage_fault(error) or "")
    except UserError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        _refuse(missing_package(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _refuse(line: str) -> NoReturn:
    _write_termination_message(line)
    _print_error(line)
    sys.exit(2)
