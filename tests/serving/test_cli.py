"""The predictor's command: what it says where it cannot start."""

from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.registry import Registry
from serving import cli
from tests.shared.registry.versions import publish


def _refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["serving", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2


def test_why_it_does_not_start_is_in_the_termination_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setattr(cli, "TERMINATION_LOG", str(log))
    _refused([str(tmp_path / "nowhere")], monkeypatch)
    line = log.read_text()
    assert "there is no such folder" in line
    assert capsys.readouterr().err == f"error: {line}\n"

    monkeypatch.setenv("BRAIN_TUMOR_SERVE_" + "é" * 3000, "1")
    _refused([str(tmp_path)], monkeypatch)
    assert 4000 < len(log.read_bytes()) <= 4096
    log.read_text(encoding="utf-8")  # no letter is cut in two


def test_a_version_of_a_registry_is_served_from_a_folder_that_goes(tmp_path: Path) -> None:
    registry = Registry.open(str(tmp_path / "registry"))
    publish(registry, tmp_path / "model")
    with cli._lent(f"{registry.uri}#latest") as folder:
        assert (folder / "metadata.json").exists()
    assert not folder.exists()
    with cli._lent(str(tmp_path / "model")) as folder:
        assert folder == tmp_path / "model"
    with (
        pytest.raises(UserError, match="there is no finished version 2"),
        cli._lent(f"{registry.uri}#2"),
    ):
        pass


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_outside_of_a_pod_the_termination_log_is_left_alone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "termination-log"
    if kind == "folder":
        log.mkdir()
    monkeypatch.setattr(cli, "TERMINATION_LOG", str(log))
    _refused([str(tmp_path / "nowhere")], monkeypatch)
    assert log.is_dir() == (kind == "folder")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--grpc", "8"], "no such option: --grpc; did you mean '--grpc-port'?"),
        (["--port", "70000"], "--port / --http_port: '70000' is not allowed"),
    ],
    ids=["option", "port"],
)
def test_a_mistake_in_its_options_is_one_line(
    words: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _refused(words, monkeypatch)
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"error: {line}")
