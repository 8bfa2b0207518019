import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.registry import Registry
from pipelines import cli
from pipelines.catalogue import Pipeline
from tests.shared.registry.versions import publish
from tests.stores import free_ports

Invoke = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
HEAVY = {
    *("kfp", "kfp_server_api", "kubernetes", "tensorflow", "keras", "keras_tuner", "kserve"),
    *("numpy", "scipy", "sklearn", "matplotlib", "PIL", "pydicom", "nibabel", "jinja2"),
    *("boto3", "google", "grpc", "requests", "urllib3", "fastapi", "uvicorn", "cryptography"),
    *("pytest", "hypothesis", "mypy", "playwright", "schemathesis"),
}
COMMANDS = ("run", "cross-validate", "compile", "submit", "predict")
COMMANDS += ("evaluate", "compare", "recalibrate", "models", "sample", "demo")


def _plain(text: str) -> str:
    """Help without its boxes, in one line."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", re.sub(r"\x1b\[[\d;]*m", "", text)).split())


def test_the_console_script() -> None:
    script = Path(sys.executable).with_name("brain-tumor")
    done = subprocess.run(
        [script, "run", "--epochs", "0"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --epochs: 0 is not allowed")


def test_a_command_whose_packages_are_missing_names_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Absent:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "kserve":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "kserve"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "serving.server", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["brain-tumor", "serve", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: this command needs the package kserve, ")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["predict", "--help"], ["run", "--help"], ["submit", "--tok"]],
    ids=" ".join,
)
def test_what_needs_no_command_imports_none_of_their_packages(words: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from pipelines.__main__ import main\n"
        "main()"
    )
    arguments = words
    environment = dict(os.environ)
    if words[-1] == "--tok":  # as the shell asks what may follow
        told = {"COMP_WORDS": " ".join(["brain-tumor", *words]), "COMP_CWORD": str(len(words))}
        environment |= {"_BRAIN_TUMOR_COMPLETE": "complete_bash", **told}
        arguments = []
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("brain-tumor 0." if words == ["--version"] else ("\n", " ", "--"))
    modules = done.stderr.split()
    assert "pipelines.cli" in modules
    assert not {module.partition(".")[0] for module in modules} & HEAVY
    assert len(modules) < 520


def test_help_names_every_command(invoke: Invoke) -> None:
    status, out, _ = invoke("--help")
    assert status == 0
    assert all(re.search(rf"\b{command}\b", out) for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "pipeline"),
    [
        ("run", Pipeline.training),
        ("cross-validate", Pipeline.cross_validation),
        ("submit", Pipeline.training),
    ],
)
def test_help_describes_every_parameter(invoke: Invoke, command: str, pipeline: Pipeline) -> None:
    status, out, _ = invoke(command, "--help")
    assert status == 0
    text = _plain(out)
    for parameter in pipeline.run.parameters():
        assert f"--{parameter.name.replace('_', '-')} " in text
        assert parameter.description.split(".")[0][:30] in text
    assert ("grouped|by-name" in text) is (pipeline is Pipeline.training)
    assert "[default: 16]" in text
    assert '[default: [{"key": "nvidia.com/gpu"' in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(invoke: Invoke, command: str) -> None:
    status, out, _ = invoke(command, "-h")
    assert status == 0
    assert f"Usage: brain-tumor {command}" in _plain(out)


def test_no_command_shows_help_and_an_unknown_one_is_told(invoke: Invoke) -> None:
    assert "Usage" in "".join(invoke()[1:])
    status, _, err = invoke("trian")
    assert status == 2
    assert err == "error: no such command 'trian'; see brain-tumor --help\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--split-strategy", "random"], "--split-strategy: 'random' is not allowed; it should be"),
        (["--held-out-share", "1.5"], "--held-out-share: 1.5 is not allowed; it should be less"),
        (["--min-accuracy", "nan"], "--min-accuracy: nan is not allowed"),
        (["--gpu-node-selector", "{"], "--gpu-node-selector: '{' is not JSON"),
        (["--gpu-tolerations", "{}"], "--gpu-tolerations: {} is not allowed"),
        (
            ["--source", "a", "--source", "a#weight=2"],
            "--source: ['a', 'a#weight=2'] is not allowed",
        ),
        (["--config", "/nowhere/run.yaml"], "/nowhere/run.yaml: cannot read the configuration"),
    ],
)
@pytest.mark.parametrize("command", [["run"], ["submit", "--endpoint", "http://127.0.0.1:9"]])
def test_mistakes_are_told_before_anything_runs(
    told: Callable[..., str], command: list[str], options: list[str], reason: str
) -> None:
    assert told(*command, *options).startswith(reason)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("run --epochs many", "--epochs: 'many' is not allowed; it should be a whole number; see"),
        ("predict m f --slices 0", "--slices: '0' is not allowed; it should be at least 1; see"),
        (
            "predict m f -f xml",
            "--format / -f: 'xml' is not allowed; it should be one of 'table', ",
        ),
        ("serve m --port 1e3", "--port / --http_port: '1e3' is not allowed; it should be a whole"),
        ("models delete one", "'one' is not a version number; give one such as 3"),
        ("submit", "missing option '--endpoint' (env var: 'KFP_ENDPOINT'); see brain-tumor submit"),
        ("models show", "missing argument 'reference'; see brain-tumor models show --help"),
        ("run --epoch 3", "no such option: --epoch; did you mean '--epochs'?"),
        ("compile --outptu x", "no such option: --outptu; did you mean '--output'?"),
        ("predikt", "no such command 'predikt'; did you mean 'predict'?"),
        ("models lst", "no such command 'lst'; did you mean 'list'?"),
        ("run --seed", "option '--seed' requires an argument"),
        ("demo now", "got unexpected extra argument(s) (now); see brain-tumor demo --help"),
        (
            "run --tuner radnom",
            "--tuner: 'radnom' is not allowed; it should be 'random', 'bayesian'",
        ),
        (
            "run --architectures compact,Efficentnet",
            "--architectures: 'compact,Efficentnet' is not",
        ),
        (
            "compile --image 'a b c'",
            "--image: 'a b c' is not allowed; it is not an image reference",
        ),
        (
            "compile --cpu '2 cores'",
            "--cpu: '2 cores' is not allowed; it should be like '2' or '250m'",
        ),
        ("run --architectures compct", "--architectures: 'compct' is not a network; did you mean"),
        ("run --registry s3:/models", "--registry: 's3:/models' is not allowed; write s3:// with"),
        ("compile --pipeline trainig", "--pipeline: 'trainig' is not allowed; it should be one of"),
        ("models list --jsn", "no such option: --jsn; there are --registry, --format; see"),
    ],
)
def test_every_mistake_is_one_line_in_our_words(
    told: Callable[..., str], monkeypatch: pytest.MonkeyPatch, command: str, line: str
) -> None:
    monkeypatch.delenv("KFP_ENDPOINT", raising=False)
    assert told(*shlex.split(command)).startswith(line)


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("run --tuner radnom", "random"),
        ("run --architectures Reference,compct", "reference"),
        ("cross-validate --architecture xseption", "xception"),
        ("run --split-strategy Grouped", "grouped"),
        ("compile --pipeline trainig", "training"),
        ("models list -f jsn", "json"),
    ],
)
def test_what_was_meant(told: Callable[..., str], command: str, meant: str) -> None:
    assert told(*command.split()).endswith(f"; did you mean {meant!r}?")


def test_a_misspelt_name_in_the_configuration(told: Callable[..., str], tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("epoch: 20\n")
    said = "'epoch' is not a parameter; did you mean 'epochs'?"
    assert told("run", "-c", config) == f"{config}: {said}"


def test_options_win_over_the_configuration(told: Callable[..., str], tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("epochs: -5\nseed: -1\n")
    line = told("run", "-c", config, "--epochs", "-7")
    assert line.startswith("--epochs: -7 is not allowed")
    assert f"; {config}: seed: -1 is not allowed" in line


def test_markup_in_a_message_is_shown_as_it_is(told: Callable[..., str], tmp_path: Path) -> None:
    assert "[/red][bold].yaml: cannot read" in told("run", "-c", tmp_path / "[/red][bold].yaml")
    assert "'[b]x' is not allowed" in told("compile", "--shared-memory", "[b]x")


def test_submitting_to_nobody(told: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.submit.git_revision", lambda: "0123456789ab")
    line = told("submit", "--endpoint", "http://127.0.0.1:9")
    assert line.startswith("KFP at http://127.0.0.1:9 cannot be reached")
    monkeypatch.setenv("KFP_ENDPOINT", "http://127.0.0.1:7")
    assert told("submit").startswith("KFP at http://127.0.0.1:7 cannot be reached")


def test_compile_and_check(invoke: Invoke, told: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    assert invoke("compile", "-o", path, "--image", "mine")[:2] == (0, f"wrote {path}\n")
    assert invoke("compile", "-o", path, "--image", "mine", "--check")[0] == 0
    content = path.read_bytes()
    reason = f"{path} is not what the code compiles to; run 'make compile' and commit it"
    assert told("compile", "-o", path, "--check") == reason
    assert path.read_bytes() == content


def test_only_who_names_the_committed_file_writes_it(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = Pipeline.drift.committed.stat()
    assert invoke("compile", "--pipeline", "drift", "--image", "mine")[1] == "wrote drift.yaml\n"
    assert "image: mine" in (tmp_path / "drift.yaml").read_text()
    assert Pipeline.drift.committed.stat() == before


def test_the_committed_files_are_what_is_checked(invoke: Invoke) -> None:
    for pipeline in Pipeline:
        status, out, _ = invoke("compile", "--pipeline", pipeline, "--check")
        assert status == 0
        assert out == f"{pipeline.committed} is what the code compiles to\n"


@pytest.mark.parametrize("command", [["cross-validate"], ["submit", "--pipeline=cross-validation"]])
def test_parameters_are_those_of_the_chosen_pipeline(
    invoke: Invoke, told: Callable[..., str], tmp_path: Path, command: list[str]
) -> None:
    command += ["--endpoint", "http://127.0.0.1:9"] if command[0] == "submit" else []
    assert told(*command, "--folds", 1).startswith("--folds: 1 is not allowed")
    config = tmp_path / "run.yaml"
    config.write_text("max_trials: 3\n")
    assert "run.yaml: 'max_trials' is not a parameter" in told(*command, "-c", config)


def test_a_parameter_of_the_other_pipeline(told: Callable[..., str]) -> None:
    line = told("submit", "--endpoint", "http://127.0.0.1:9", "--folds", 3)
    assert line == "--folds is not of this pipeline"


def test_compiling_for_a_schedule(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    assert invoke("compile", "-o", path, "--no-caching")[0] == 0
    assert "enableCache" not in path.read_text()


def test_compiling_kubernetes_objects(
    invoke: Invoke, told: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "new" / "pipeline.yaml"
    assert invoke("compile", "-o", path, "--kubernetes-manifest", "kubeflow")[0] == 0
    assert path.read_text().count("\n  namespace: kubeflow\n") == 2
    assert told("compile", "-o", path, "--kubernetes-manifest", "").startswith(
        "'' is not the name of"
    )
    assert told("compile", "-o", tmp_path) == (
        f"{tmp_path}: a folder is where a file is needed; "
        "check the path, its permissions and the free space"
    )
    line = told("compile", "-o", path, "--kubernetes-manifest", "Kube Flow")
    assert line.startswith("'Kube Flow' is not the name of a namespace")


def test_a_sample(invoke: Invoke, tmp_path: Path) -> None:
    status, out, _ = invoke("sample", tmp_path / "a", "--images", 20)
    assert status == 0
    assert "wrote 20 images" in out
    assert len([path for path in (tmp_path / "a").rglob("*") if path.is_file()]) >= 20


def test_predicting_with_a_folder_that_is_no_model(
    told: Callable[..., str], tmp_path: Path
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    assert str(tmp_path) in told("predict", tmp_path, image)
    assert "nowhere" in told("predict", tmp_path / "nowhere", image)


def test_judging_without_a_model_or_a_source_is_one_line(
    told: Callable[..., str], tmp_path: Path
) -> None:
    source = ("--source", "sample://", "--output", tmp_path / "results")
    judging = (
        ("evaluate", "nowhere"),
        ("compare", "nowhere", "runs#1"),
        ("recalibrate", "nowhere"),
    )
    for command in judging:
        assert told(*command).startswith("missing option '--source'")
        assert "nowhere: there is no such folder" in told(*command, *source)
    assert not (tmp_path / "results").exists()


def test_a_working_directory_that_was_deleted_is_one_line(tmp_path: Path) -> None:
    command = 'mkdir gone; cd gone; rmdir ../gone; exec "$0" -m pipelines run'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: the working directory was deleted; change to one that is there\n"
    )


def test_bytes_that_are_not_utf8_in_arguments(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may be called so; where the name cannot be used, one line says it."""
    odd = os.fsdecode(b"\xe4\xff")
    monkeypatch.chdir(tmp_path)
    works = (
        ("sample", f"{odd}[b]", "--images", 20),
        ("compile", "--output", f"{odd}[b]/x.yaml"),
    )
    for arguments in works:
        status, out, err = invoke(*arguments)
        assert (status, err) == (0, "")
        assert r"\udce4\udcff" in out
    assert sorted(path.name for path in (tmp_path / f"{odd}[b]").iterdir())[-1] == "x.yaml"
    publish(Registry.open(odd), tmp_path / "model")
    assert invoke("models", "promote", 1, "--registry", odd, "--reason", odd)[0] == 0
    assert r"\udce4\udcff" in invoke("models", "history", "--registry", odd)[1]

    port, grpc_port = free_ports(2)
    ports = ("--port", port, "--grpc-port", grpc_port)
    refused = (
        ("run", "--source", odd),
        ("run", "--source", f"file:///{odd}"),
        ("run", "--runs", odd),
        ("cross-validate", "--config", odd),
        ("predict", odd, odd),
        ("serve", f"{odd}/brain-tumor/1", "--name", odd, *ports),
        ("models", "promote", odd),
        ("models", "fetch", 2, odd, "--registry", odd),
        ("compile", "--image", odd),
        ("deploy", 1, "--registry", odd, "--served-from", f"pvc://{odd}"),
        ("submit", "--endpoint", odd, "--image", "x:1"),
    )
    for arguments in refused:
        status, out, err = invoke(*arguments)
        assert (status, err.count("\n")) == (2, 1), arguments
        assert err.startswith("error: ")
