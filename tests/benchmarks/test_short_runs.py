"""`make benchmark`, which CI calls each night, gives no script of benchmarks/ an argument."""

import ast
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "benchmarks").glob("[a-z]*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_benchmark_needs_no_argument(script: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    needed = []
    for call in calls:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name in ("add_argument", "add_subparsers") and (
            options.get("required") == "True"
            or (name == "add_argument" and not ast.literal_eval(call.args[0]).startswith("-"))
        ):
            needed.append(ast.unparse(call))
    assert needed == []
