"""What is wrong with a command line, in our words."""

import re

import typer
from pydantic import ValidationError

from components.shared.errors import did_you_mean, fault_words

_FEW = 6  # options that fit one line
# typer exports only some of its subclasses.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_MEANT = re.compile(r"(Did you mean|\(Possible options:) (?P<names>[^?)]+)[?)]")


def usage_fault(error: Exception) -> str | None:
    """Returns a line for what typer found wrong, or nothing where it has shown the help instead.

    Args:
        error: A `UsageError`.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        return None
    context = getattr(error, "ctx", None)
    see = f"see {context.command_path} --help" if context else ""
    parameter, cause = getattr(error, "param", None), error.__cause__
    if parameter and isinstance(cause, ValidationError):
        option = parameter.get_error_hint().replace("'", "").lower()
        fault = cause.errors()[0]
        choices = re.findall("'([^']+)'", fault["msg"].partition(" is not one of ")[2])
        near = did_you_mean(str(fault["input"]), choices)
        end = near if near.endswith("?") else see
        return f"{option}: {fault_words(dict(fault))}; {end}"
    told = " ".join(str(error.format_message()).split()).rstrip(".")  # type: ignore[attr-defined]
    told = told[:1].lower() + told[1:]
    meant = _MEANT.search(told)
    options = [one.opts[0] for one in context.command.params if one.opts] if context else []
    if not meant and told.startswith("no such option") and len(options) <= _FEW:
        return f"{told}; there are {', '.join(options)}; {see}"
    if not meant:
        return "; ".join(filter(None, (told, see)))
    said = told[: meant.start()].rstrip(". ")
    word, names = said.split()[-1].strip("'"), re.findall(r"[\w-]+", meant["names"])
    # KServe's spelling, --grpc_port, is one more name of --grpc-port.
    ours = [name for name in names if "_" not in name or name.replace("_", "-") not in names]
    return f"{said}; {did_you_mean(word, ours)}"
