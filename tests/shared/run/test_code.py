"""A digest changes with the code that a module needs, and with no other."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.run import code
from components.shared.run.code import code_digest, imported

ROOT = Path(__file__).parents[3]
FILES = {
    "train/fit.py": "def fit():\n    from components.train import batches\n",
    "train/batches.py": "import components.images\n",
    "train/__init__.py": "",
    "train/report.py": 'render("train/report.j2")\n',
    "train/report.j2": '{% extends "base.j2" %}',
    "base.j2": "a look",
    "images.py": "import_module(f'components.networks.{name}')\n",
    "networks/compact.py": "a = 1\n",
    "notes.txt": "no code",
}


def _digest(folder: Path, *modules: str) -> str:
    code._needed.cache_clear()
    return code_digest(*modules, folder=folder)


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        (
            "fit",
            {
                *("train/fit.py", "train/batches.py", "train/__init__.py", "images.py"),
                "networks/compact.py",
            },
        ),
        ("report.render", {"train/report.py", "train/__init__.py", "train/report.j2", "base.j2"}),
    ],
)
def test_a_change_of_the_code_is_another_digest(
    tmp_path: Path, module: str, needed: set[str]
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    first = _digest(tmp_path, f"components.train.{module}")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text + "\n")
        assert (_digest(tmp_path, f"components.train.{module}") != first) is (name in needed), name
        (tmp_path / name).write_text(text)
    assert _digest(tmp_path, f"components.train.{module}") == first


def test_an_unfinished_training_belongs_to_the_networks_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code._needed.cache_clear()
    monkeypatch.setattr(Path, "read_bytes", lambda path: _read(path, path.name == "compact.py"))
    changed = code_digest("components.shared.training.fit")
    monkeypatch.undo()
    code._needed.cache_clear()
    assert changed != code_digest("components.shared.training.fit")


def _read(path: Path, changed: bool) -> bytes:
    with path.open("rb") as file:
        return file.read() + b"\n" * changed


@pytest.mark.parametrize("module", ["components.ingest.sources", "components.split.logic"])
def test_whatever_python_imports_belongs_to_it(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[Path] = set()
    needed = code._needed

    def noted(file: Path, folder: Path) -> list[Path]:
        read.add(file)
        return needed(file, folder)

    monkeypatch.setattr(code, "_needed", noted)
    code_digest(module)
    script = (
        f"import sys, {module}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('components')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {Path(file) for file in done.stdout.split()} <= read


def test_what_a_source_imports_of_the_project() -> None:
    source = "import numpy\nfrom os import path\ndef f():\n    from components.a import b, c\n"
    source += "import components.d as e\nimport_module('components.f')\n"
    source += "import_module(f'components.g.{h}').NETWORK\n"
    assert set(imported(source)) == {
        "components.d",
        "components.f",
        "components.g.",
        "components.a.b",
        "components.a.c",
    }
