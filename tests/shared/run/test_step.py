"""What stands around every step's body."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from kfp import dsl

from components.shared.errors import UserError
from components.shared.run.step import peak_memory, state_folder, step


def test_success_says_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    product = dsl.Dataset(metadata={"strategy": "grouped"})
    with step("split", product):
        pass
    out = capsys.readouterr().out
    seconds, memory = (product.metadata.pop(name) for name in ("seconds", "peak_memory_bytes"))
    assert out == f"split finished in {seconds:.1f} s, peak memory {memory / 1e9:.2f} GB\n"
    assert seconds > 0
    assert 20_000_000 < memory <= peak_memory()
    assert product.metadata == {"strategy": "grouped", "step": "split"}


def test_what_was_measured_is_in_a_file_as_well(tmp_path: Path) -> None:
    metrics = dsl.Metrics(uri=str(tmp_path / "out" / "metrics"), metadata={})
    with step("split", dsl.Dataset(), metrics):
        metrics.log_metric("images", 3)
    assert json.loads(Path(metrics.path).read_text()) == {"images": 3}


def test_a_user_error_is_one_line_and_exit_status_1() -> None:
    script = (
        "from components.shared.errors import UserError\n"
        "from components.shared.run.step import step\n"
        "with step('ingest', None):\n"
        "    raise UserError('source x: no such file; give a folder')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "ingest: source x: no such file; give a folder\n"
    assert done.stdout == ""


def test_a_full_disk_is_one_line() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/runs/x")
    with pytest.raises(SystemExit, match=r"^ingest: /runs/x: No space left"), step("ingest", None):
        raise full
    with pytest.raises(TimeoutError), step("ingest", None):
        raise TimeoutError(errno.ETIMEDOUT, "no answer")


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), step("train", None):
        1 / 0  # noqa: B018
    with pytest.raises(SystemExit), step("train", None):
        raise UserError("bad input")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("source x: no such file; give a folder"), "train: source x: no such file; give"),
        (ValueError("no such axis"), "train: ValueError: no such axis"),
        (UserError("ä" * 5000), "train: ä"),
        (UserError("train: all 8 failed"), "train: all"),
    ],
    ids=["user", "ours", "long", "named already"],
)
def test_in_a_pod_the_reason_is_the_termination_message(
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "termination-log"
    monkeypatch.setattr("components.shared.run.step.TERMINATION_LOG", file)
    with pytest.raises((SystemExit, ValueError)), step("train", None):
        raise error
    assert not file.exists(), "outside a pod"

    file.touch()
    with pytest.raises((SystemExit, ValueError)), step("train", None):
        raise error
    assert file.read_bytes().decode(errors="ignore").startswith(words)
    assert file.stat().st_size <= 4096


def test_peak_memory_is_in_bytes() -> None:
    before = peak_memory()
    block = bytearray(b"\1" * 100_000_000)
    assert len(block) == 100_000_000
    assert 20_000_000 < before <= peak_memory() < 100_000_000_000
    assert peak_memory() >= 100_000_000


def test_state_folder(tmp_path: Path) -> None:
    assert state_folder(str(tmp_path), "tune") == tmp_path / "tune"
    assert state_folder("~/state", "tune") == Path.home() / "state" / "tune"
    assert state_folder("", "tune") == Path(tempfile.gettempdir(), "brain-tumor", "tune")
