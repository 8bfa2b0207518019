"""Which code a result is of: what is kept to go on with must not outlive a change of it."""

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

COMPONENTS = Path(__file__).parents[2]
_MODULE = r"components(\.\w+)+\.?"
_TEMPLATE = re.compile(rb'"([\w/.]+\.j2)"')


def code_digest(*modules: str, folder: Path = COMPONENTS) -> str:
    """Returns a digest of some modules' code and of the Python that runs it.

    What the modules import of `components`, wherever in their code, and the templates that they
    name belong to it. So a word mended in one step's report changes no other step's digest.

    Args:
        *modules: Their names, such as `components.shared.training.fit`.
        folder: Where the code of `components` is.
    """
    digest = hashlib.sha256(sys.version.encode())
    found: set[Path] = set()
    wanted = [file for name in modules for file in _files(name, folder)]
    while wanted:
        file = wanted.pop()
        if file not in found:
            found.add(file)
            wanted.extend(_needed(file, folder))
    for file in sorted(found):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def imported(source: str) -> Iterator[str]:
    """Yields what a Python source imports of `components`, by name.

    A name that `import_module` gets counts too; of one that is put together, such as
    `f"components.shared.networks.{name}"`, comes what is constant, `components.shared.networks.`.
    """
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        elif isinstance(node, ast.Constant) and re.fullmatch(_MODULE, str(node.value)):
            names = [str(node.value)]
        yield from (name for name in names if name.split(".")[0] == COMPONENTS.name)


@functools.cache
def _needed(file: Path, folder: Path) -> list[Path]:
    """Returns the files that a module imports and a module or template names."""
    content = file.read_bytes()
    needed = [folder / name.decode() for name in _TEMPLATE.findall(content)]
    if file.suffix == ".py":
        needed += [path for name in imported(content.decode()) for path in _files(name, folder)]
    return needed


def _files(name: str, folder: Path) -> Iterator[Path]:
    """Yields a module's file and its packages'; a name in a module yields the module's.

    A name that ends with a dot stands for all modules of a package.
    """
    path = folder
    for part in ["", *name.rstrip(".").split(".")[1:]]:
        path /= part
        either = (path.with_suffix(".py"), path / "__init__.py")
        yield from (file for file in either if file.exists())
    if name.endswith("."):
        yield from path.glob("*.py")
