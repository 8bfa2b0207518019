"""Unfinished work is in the hands of one run at a time."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from components.shared.run.work import work_folder

PROJECT = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from components.shared.run.work import work_folder

with work_folder(Path(sys.argv[1])) as work:
    (work / "half").write_text("done")
    print("working", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "working\n"
    return process


def test_two_runs_at_once_have_a_folder_each_and_a_killed_one_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "abc"
    other = holder(folder)
    with work_folder(folder) as work:
        assert work != folder
        assert list(work.iterdir()) == []
        shutil.rmtree(work)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    with work_folder(folder) as work:
        assert work == folder
        assert (work / "half").read_text() == "done"
        shutil.rmtree(work)
    assert list((tmp_path / "state").iterdir()) == []


def test_what_a_failed_run_did_stays(tmp_path: Path) -> None:
    for expected in ([], ["half"]):
        with work_folder(tmp_path / "abc") as work:
            assert [path.name for path in work.iterdir()] == expected
            (work / "half").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]
