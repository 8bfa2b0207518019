"""What is shipped: locks, image, package data and workflow agree with each other."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCKS = sorted(
    path for path in (ROOT / "locks").glob("*.txt") if not path.name.startswith("not-in-")
)
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DOCKERFILES = [ROOT / "Dockerfile.train", ROOT / "Dockerfile.serve"]
of_each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(name: str) -> dict[str, set[str]]:
    """Returns each package that a lock names, with the versions it allows."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "locks" / name).read_text().splitlines():
        if match := re.match(r"([a-z0-9._-]+)(?:\[[a-z,-]*\])?==(\S+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found


def test_every_lock_is_there() -> None:
    assert {path.stem for path in LOCKS} == {
        "core",
        "demo",
        "dev",
        "docs",
        "sdist",
        "serve",
        "serve-cuda",
        "train-cpu",
        "train-cuda",
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_names_no_host_and_every_package_has_a_hash(lock: Path) -> None:
    text = lock.read_text()

    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE), "an option, such as an index"
    for entry in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize(
    ("lock", "wanted", "unwanted"),
    [
        ("core.txt", {"kfp", "typer"}, {"tensorflow", "tensorflow-cpu", "numpy", "keras"}),
        ("demo.txt", {"tensorflow-cpu", "kfp"}, {"kserve", "pytest", "mypy", "playwright", "ruff"}),
        ("dev.txt", {"tensorflow", "tensorflow-cpu", "kserve", "pytest"}, set()),
        ("docs.txt", {"mkdocs-material", "mkdocs-jupyter"}, {"tensorflow-cpu", "pytest"}),
        ("train-cpu.txt", {"tensorflow-cpu", "kubernetes"}, {"tensorflow", "kserve", "pytest"}),
        ("train-cuda.txt", {"tensorflow", "kubernetes"}, {"tensorflow-cpu", "kserve", "pytest"}),
        (
            "serve-cuda.txt",
            {"tensorflow", "kserve"},
            {"tensorflow-cpu", "openvino", "kfp", "pytest"},
        ),
        (
            "serve.txt",
            {"openvino", "kserve", "model-signing", "pyopenssl"},
            {
                "tensorflow-cpu",
                "tensorflow",
                "keras",
                "kfp",
                "keras-tuner",
                "scikit-learn",
                "matplotlib",
                "kagglehub",
                "pytest",
            },
        ),
    ],
)
def test_lock_holds_what_it_is_for(lock: str, wanted: set[str], unwanted: set[str]) -> None:
    packages = set(pins(lock))

    assert wanted <= packages
    assert not unwanted & packages


def test_cuda_comes_with_the_cuda_locks_alone() -> None:
    with_cuda = {
        lock.name for lock in LOCKS if any(name.startswith("nvidia-") for name in pins(lock.name))
    }
    assert with_cuda == {"train-cuda.txt", "serve-cuda.txt"}


def test_the_images_with_cuda_hold_what_the_others_hold() -> None:
    for plain, cuda in (("train-cpu.txt", "train-cuda.txt"), ("serve.txt", "serve-cuda.txt")):
        assert set(pins(plain)) - {"tensorflow-cpu", "openvino"} <= set(pins(cuda))


@pytest.mark.parametrize("lock", ["train-cpu.txt", "train-cuda.txt"])
def test_the_training_image_holds_what_the_command_line_needs(lock: str) -> None:
    needed = set(pins("core.txt")) - {"colorama"}  # which is for Windows
    assert needed <= set(pins(lock)) | set(pins("sdist.txt"))


def test_the_training_image_holds_every_package_of_the_project() -> None:
    text = (ROOT / "Dockerfile.train").read_text()
    packages = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    for name in (pattern.rstrip("*") for pattern in packages):
        assert f"\nCOPY {name} {name}\n" in text


@pytest.mark.parametrize(
    "lock",
    [
        "core.txt",
        "demo.txt",
        "sdist.txt",
        "serve.txt",
        "serve-cuda.txt",
        "train-cpu.txt",
        "train-cuda.txt",
    ],
)
def test_everything_ships_in_the_version_that_was_tested(lock: str) -> None:
    tested = pins("dev.txt")

    for package, versions in pins(lock).items():
        if not package.startswith("nvidia-"):
            assert versions <= tested[package], package


@of_each_dockerfile
def test_image_runs_as_a_numeric_user_that_is_not_root(dockerfile: Path) -> None:
    final_stage = dockerfile.read_text().split("\nFROM ")[-1]
    (user,) = re.findall(r"^USER (\S+)$", final_stage, re.MULTILINE)

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@of_each_dockerfile
def test_image_installs_nothing_when_it_starts(dockerfile: Path) -> None:
    final_stage = dockerfile.read_text().split("\nFROM ")[-1]

    assert not re.search(r"\bpip\b|^RUN\b", final_stage, re.MULTILINE)


@of_each_dockerfile
def test_dockerfile_names_no_index(dockerfile: Path) -> None:
    text = dockerfile.read_text()

    assert not re.search(r"://|PIP_|--(extra-)?index-url|--find-links|--trusted-host", text)


@of_each_dockerfile
def test_everything_that_the_dockerfile_copies_is_in_its_context(dockerfile: Path) -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE):
        assert {source.split("/")[0] for source in sources.split()} <= allowed


def test_package_data_holds_every_file_that_the_steps_read() -> None:
    shipped = PROJECT["tool"]["setuptools"]["package-data"]
    for folder in ("components", "pipelines", "serving"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".md"):
                patterns = shipped["*"] + shipped.get(folder, [])
                assert any(path.match(pattern) for pattern in patterns), path
                parent = path.parent.parent if path.parent.name == "web" else path.parent
                assert (parent / "__init__.py").exists(), f"{path} lies outside a package"


def test_workflow_calls_the_readmes_commands() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    jobs = workflow["jobs"]
    commands = [step.get("run", "") for job in jobs.values() for step in job["steps"]]

    assert any(re.match(r"make test\b", command) for command in commands)
    assert any(re.match(r"make demo\b", command) for command in commands)
    assert "brain-tumor compile --check" in commands
    assert any("brain-tumor-train:ci brain-tumor compile" in command for command in commands)
    assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12"]


def test_every_lock_has_a_bill_of_materials_and_is_audited() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shipped = {path.stem for path in LOCKS} - {"core", "demo", "dev", "docs"}
    recipe = makefile.partition("\nsbom:")[2].partition("\n\n")[0]
    assert set(re.findall(r"locks/([a-z-]+)\.txt", recipe)) == shipped
    assert "pip-audit --strict --require-hashes --disable-pip" in makefile
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    commands = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert {"make sbom PYTHON=python", "make audit PYTHON=python"} <= set(commands)
    assert "schedule" in workflow[True], "an advisory may come without a commit"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_may_only_read_and_pins_its_actions(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job or path.stem == "release"
        for step in job["steps"]:
            assert re.search(r"@[0-9a-f]{40}$", step.get("uses", f"@{'0' * 40}"))


def test_a_release_has_every_image_and_every_bill_of_materials() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    images = workflow["jobs"]["image"]["strategy"]["matrix"]["include"]
    makefile = (ROOT / "Makefile").read_text()
    assert {image["sbom"] for image in images} == set(
        re.findall(r"sbom/([a-z-]+)\.cdx\.json", makefile)
    )
    assert {image["dockerfile"] for image in images} == {path.name for path in DOCKERFILES}
    assert workflow["jobs"]["image"]["needs"] == "test", "nothing untested is pushed"


def test_ci_can_be_executed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert re.search(r"^exec make test\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("before", "then", "installed"),
    [("demo", "test", ["demo", "dev"]), ("test", "demo", ["dev"]), ("demo", "demo", ["demo"])],
)
def test_the_demo_and_the_tests_share_an_environment(
    tmp_path: Path, before: str, then: str, installed: list[str]
) -> None:
    for name in ("Makefile", "pyproject.toml", "locks/demo.txt", "locks/dev.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    tools = [*("python", "brain-tumor", "ruff", "mypy", "pytest")]
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for tool in tools:
        (tmp_path / f".venv/bin/{tool}").write_text('#!/bin/sh\necho "$@" >> log\n')
        (tmp_path / f".venv/bin/{tool}").chmod(0o755)
    for target in (before, then):
        command = ["make", "--silent", "PYTHON=nobody-makes-one", "VENV=.venv", target]
        subprocess.run(command, cwd=tmp_path, check=True)
    log = (tmp_path / "log").read_text()
    assert re.findall(r"--requirement locks/(\w+)\.txt", log) == installed


@pytest.mark.parametrize("left", ["", "no pip", "whole"])
def test_an_environment_that_lacks_pip_is_made_again(tmp_path: Path, left: str) -> None:
    for name in ("Makefile", "pyproject.toml", "locks/dev.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    scripts = {
        "fine": "exit 0\n",
        "broken": "exit 1\n",
        "maker": 'echo "$@" >> log; mkdir -p .venv/bin; cp fine .venv/bin/python\n',
    }
    for name, line in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}")
        (tmp_path / name).chmod(0o755)
    if left:
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/pyvenv.cfg").touch()
        shutil.copy(
            tmp_path / ("fine" if left == "whole" else "broken"), tmp_path / ".venv/bin/python"
        )
    command = ["make", "--silent", "PYTHON=./maker", "VENV=.venv", ".venv/.installed"]
    subprocess.run(command, cwd=tmp_path, check=True)
    log = tmp_path / "log"
    made = log.read_text() if log.exists() else ""
    assert made == {"": "-m venv .venv\n", "no pip": "-m venv --clear .venv\n", "whole": ""}[left]
