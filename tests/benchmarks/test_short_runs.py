"""`make benchmark`, which CI calls each night, gives no script of benchmarks/ an argument."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("[a-z]*.py"))


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


@pytest.mark.parametrize(
    "script", [*SCRIPTS, *BENCHMARKS.glob("*/__main__.py")], ids=lambda script: str(script)[-20:]
)
def test_a_benchmark_ends_as_a_command_does(script: Path) -> None:
    text = script.read_text()
    assert "__main__" not in text or "    sys.exit(ended(" in text


@pytest.mark.parametrize(
    ("benchmark", "options", "told"),
    [
        ("volumes", ["--model", "no/model", "--labels", "no.csv"], "no.csv: No such file"),
        ("duplicates", ["--source", "no.zip"], "no.zip: no such file or folder"),
    ],
)
def test_a_wrong_path_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    benchmark: str,
    options: list[str],
    told: str,
) -> None:
    monkeypatch.setattr(sys, "argv", [benchmark, *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"benchmarks.{benchmark}", run_name="__main__")
    assert end.value.code == 2
    assert told in capsys.readouterr().err
