"""Which folder may import which: the rules of docs/architecture.md."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from pipelines.catalogue import Pipeline

ROOT = Path(__file__).parents[1]
COMPONENTS = ROOT / "components"
CODE = ("components", "pipelines", "serving", "benchmarks", "manifests", "docs")
STEPS = sorted(door.parent.name for door in COMPONENTS.glob("*/component.py"))


def _imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields each module below a folder and a name that it imports, also within a function."""
    for path in sorted(folder.rglob("*.py")):
        yield from ((str(path.relative_to(ROOT)), name) for name in _names(path))


@cache
def _names(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("folder", [*STEPS, "shared"])
def test_nothing_imports_another_steps_folder(folder: str) -> None:
    others = tuple(f"components.{step}." for step in STEPS if step != folder)
    assert [
        pair for pair in _imports(COMPONENTS / folder) if f"{pair[1]}.".startswith(others)
    ] == []


def test_graphs_import_doors_alone() -> None:
    steps = tuple(f"components.{step}." for step in STEPS)
    graphs = {str(pipeline.committed.with_suffix(".py").relative_to(ROOT)) for pipeline in Pipeline}
    inside = [pair for pair in _imports(ROOT / "pipelines") if pair[0] in graphs]
    assert {name.split(".")[2] for _, name in inside if name.startswith(steps)} == {"component"}


def test_modules_import_each_other_in_no_circle() -> None:
    known = {}
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("")
        known[".".join(module.parts).removesuffix(".__init__")] = str(path.relative_to(ROOT))
    graph: dict[str, set[str]] = {}
    for path, name in (pair for folder in CODE for pair in _imports(ROOT / folder)):
        imported = known.get(name) or known.get(name.rpartition(".")[0])
        graph.setdefault(path, set()).update({imported} - {None, path})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_components_hold_steps_and_what_they_share() -> None:
    folders = {path.parent.name for path in COMPONENTS.glob("*/__init__.py")}
    assert folders == {*STEPS, "shared"}
    assert [path.name for path in COMPONENTS.glob("*.py")] == ["__init__.py"]


def test_logic_knows_no_pipeline_and_no_server() -> None:
    above = ("pipelines.", "serving.", "benchmarks.", "tests.")
    assert [pair for pair in _imports(COMPONENTS) if f"{pair[1]}.".startswith(above)] == []


def test_only_doors_know_kfp() -> None:
    known = {path for path, name in _imports(COMPONENTS) if f"{name}.".startswith("kfp.")}
    doors = {f"components/{step}/component.py" for step in STEPS}
    assert known - doors == {"components/shared/run/kfp_component.py"}


def test_serving_knows_what_is_shared() -> None:
    names = [name for _, name in _imports(ROOT / "serving") if name.startswith("components.")]
    assert {name.split(".")[1] for name in names} == {"shared"}


def test_tests_mirror_the_folders_of_the_code() -> None:
    whole = {"", "cluster", "e2e"}  # of no one folder
    for tests in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = str(tests.parent.relative_to(ROOT / "tests")).removeprefix(".")
        assert folder in whole or (COMPONENTS / folder).is_dir() or (ROOT / folder).is_dir(), tests
