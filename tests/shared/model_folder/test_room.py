"""The room of the model folder stands by itself."""

import ast
from pathlib import Path

COMPONENTS = Path(__file__).parents[3] / "components"
SHARED = COMPONENTS / "shared"


def _imports(path: Path) -> set[str]:
    """Returns the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_the_contract_imports_nothing() -> None:
    assert _imports(SHARED / "model_folder" / "contract.py") == set()


def test_neither_the_room_nor_the_registry_knows_the_step_that_writes() -> None:
    for folder in ("model_folder", "registry"):
        for path in (SHARED / folder).rglob("*.py"):
            assert not any("components.register" in name for name in _imports(path)), path


def test_no_other_file_writes_the_names_again() -> None:
    names = {"probability_healthy", "serving_default", "metadata.json", "SHA256SUMS", "model.sig"}
    for folder in ("components", "serving", "pipelines", "benchmarks"):
        for path in (COMPONENTS.parent / folder).rglob("*.py"):
            if path.name == "contract.py":
                continue
            nodes = ast.walk(ast.parse(path.read_text()))
            literals = {node.value for node in nodes if isinstance(node, ast.Constant)}
            assert not names & {text for text in literals if isinstance(text, str)}, path
