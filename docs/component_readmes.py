"""Writes the README of each folder of components, from its metadata.yaml and its docstrings.

The layout is that of kubeflow/pipelines-components: `make readmes` writes the files, and a test
fails where one differs from the code.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from docstring_parser import Docstring, parse
from kfp.dsl.base_component import BaseComponent

from components.shared.storage.files import write_atomically

COMPONENTS = Path(__file__).parents[1] / "components"
TYPES = {"Integer": "int", "Float": "float", "Double": "float", "Boolean": "bool", "String": "str"}


def readmes() -> dict[Path, str]:
    """Returns the text of each README, by its path."""
    folders = sorted(path.parent for path in COMPONENTS.glob("*/component.py"))
    return {folder / "README.md": _readme(folder) for folder in folders}


def _readme(folder: Path) -> str:
    door = importlib.import_module(f"components.{folder.name}.component")
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    found = [
        value
        for value in vars(door).values()
        if isinstance(value, BaseComponent) and value.python_func.__module__ == door.__name__
    ]
    parts = ["<!-- `make readmes` writes this file. -->", f"# {folder.name}"]
    for component in found:
        parts += _component(component, several=len(found) > 1)
    if not found:  # one whose inputs are the parameters of the pipeline at hand
        parts += _overview(parse(inspect.getdoc(vars(door)[folder.name]) or ""))
        parts.append("Its inputs are the run's parameters: `components/shared/run/parameters.py`.")
    return "\n\n".join([*parts, "## Metadata", "\n".join(_metadata(metadata))]) + "\n"


def _component(component: BaseComponent, several: bool) -> Iterator[str]:
    """Yields the sections of one component."""
    said = parse(inspect.getdoc(component.python_func) or "")
    returned = f"{said.returns.args[-1]}: {said.returns.description}" if said.returns else ""
    # A step describes the values that it returns by name, or all of them in one sentence.
    named = re.split(r"^(\w+): ", returned.removeprefix("returns: "), flags=re.MULTILINE)
    meaning = {entry.arg_name: entry.description or "" for entry in said.params}
    meaning |= dict(zip(named[1::2], named[2::2], strict=True))
    if several:
        yield f"## {component.name}"
    yield from _overview(said)
    specification = component.component_spec
    for title, ports in (("Inputs", specification.inputs), ("Outputs", specification.outputs)):
        if ports:
            yield f"{'###' if several else '##'} {title}"
            yield _table([(n, _type(p.type), meaning.get(n, "")) for n, p in ports.items()])
    if named[0]:
        yield f"Its values: {named[0][0].lower()}{named[0][1:]}"


def _overview(said: Docstring) -> Iterator[str]:
    yield said.short_description or ""
    if said.long_description:
        yield said.long_description


def _type(text: str) -> str:
    """Returns a type of KFP in the words of the component's signature."""
    name = text.removeprefix("system.").partition("@")[0]
    return TYPES.get(name, name)


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = [f"| `{name}` | {kind} | {' '.join(text.split())} |" for name, kind, text in rows]
    return "\n".join(["| name | type | description |", "|---|---|---|", *lines])


def _metadata(metadata: dict) -> Iterator[str]:
    """Yields what metadata.yaml says, a line each."""
    yield f"- Stability: {metadata['stability']}"
    for kind in metadata["dependencies"].values():
        for needed in kind:
            yield f"- Needs {needed['name']} {needed['version']}"
    yield f"- Tags: {', '.join(metadata['tags'])}"
    yield f"- Last verified: {metadata['lastVerified']:%Y-%m-%d}"


if __name__ == "__main__":
    for path, text in readmes().items():
        write_atomically(path, text)
