"""The registry: versions appear whole, are never changed, and survive races and kills."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.errors import UserError
from components.register import registry
from components.register.registry import (
    latest_version,
    publish,
    read_metadata,
    verify,
    version_folder,
    versions,
)

_ROOT = Path(__file__).parents[2]

# Registers small files; stops for ever at the stage that is named, having said so.
_CHILD = """
import os, sys, time
from pathlib import Path
from components.register import registry

root, mark, stop = sys.argv[1:]

def pause(stage):
    if stage == stop:
        print("waiting", flush=True)
        time.sleep(600)

def fill(folder):
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_text(mark)
    pause("fill")
    (folder / "variables" / "data").write_bytes(os.urandom(100_000))

def describe(folder, version):
    (folder / "metadata.json").write_text(f"{version} {mark}")
    pause("describe")

rename = os.rename
def slow_rename(source, target):
    pause("rename")
    rename(source, target)
os.rename = slow_rename

print(registry.publish(root, fill, describe))
"""


def _child(root: Path, mark: str, stop: str = "never") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(root), mark, stop],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def _fill(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"graph")


def _describe(folder: Path, version: int) -> None:
    (folder / "metadata.json").write_text(json.dumps({"version": version}))


def test_versions_count_from_one(tmp_path: Path) -> None:
    root = tmp_path / "not" / "there"
    assert versions(root) == []
    assert latest_version(root) is None
    assert [publish(root, _fill, _describe) for _ in range(11)] == list(range(1, 12))
    assert versions(root) == list(range(1, 12))
    assert latest_version(root) == 11
    verify(version_folder(root, 11))
    assert (version_folder(root, 2) / "metadata.json").read_text() == '{"version": 2}'


def test_readers_see_only_finished_numbers(tmp_path: Path) -> None:
    publish(tmp_path, _fill, _describe)
    home = tmp_path / "brain-tumor"
    for name in ("7", "08", "-3", "latest", ".staging-x", "3.5"):
        (home / name).mkdir()
        (home / name / "file").write_text("")
    (home / "08" / "SHA256SUMS").write_text("")
    assert versions(tmp_path) == [1]
    # A folder that somebody left unfinished keeps its number.
    assert publish(tmp_path, _fill, _describe) == 8


def test_a_failing_registration_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path, version: int) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        publish(tmp_path, _fill, fail)
    assert os.listdir(tmp_path / "brain-tumor") == []


def test_a_number_taken_meanwhile_is_described_anew(tmp_path: Path) -> None:
    seen = []

    def describe(folder: Path, version: int) -> None:
        if not seen:
            publish(tmp_path, _fill, _describe)  # another run is faster
        seen.append(version)
        _describe(folder, version)

    assert publish(tmp_path, _fill, describe) == 2
    assert seen == [1, 2]
    verify(version_folder(tmp_path, 2))
    assert json.loads((version_folder(tmp_path, 2) / "metadata.json").read_text()) == {"version": 2}


def test_processes_that_register_at_once_get_different_versions(tmp_path: Path) -> None:
    children = [_child(tmp_path, f"run-{i}") for i in range(6)]
    numbers = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sorted(numbers) == versions(tmp_path) == [1, 2, 3, 4, 5, 6]
    for i, number in enumerate(numbers):
        folder = version_folder(tmp_path, number)
        verify(folder)
        assert (folder / "metadata.json").read_text() == f"{number} run-{i}"
    assert not list((tmp_path / "brain-tumor").glob(".staging-*"))


def test_threads_that_register_at_once_get_different_versions(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: publish(tmp_path, _fill, _describe), range(24)))
    assert sorted(numbers) == list(range(1, 25)) == versions(tmp_path)


@pytest.mark.parametrize("stage", ["fill", "describe", "rename"])
def test_a_killed_registration_leaves_nothing_visible(tmp_path: Path, stage: str) -> None:
    child = _child(tmp_path, "victim", stage)
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting\n"
    child.send_signal(signal.SIGKILL)
    assert child.wait(timeout=10) == -signal.SIGKILL
    child.stdout.close()
    home = tmp_path / "brain-tumor"
    (left,) = os.listdir(home)
    assert left.startswith(".staging-")
    assert versions(tmp_path) == []

    # The next one takes the number; what was left goes when it is older than a day.
    assert publish(tmp_path, _fill, _describe) == 1
    assert (home / left).is_dir()
    yesterday = time.time() - 25 * 3600
    os.utime(home / left, (yesterday, yesterday))
    assert publish(tmp_path, _fill, _describe) == 2
    assert sorted(os.listdir(home)) == ["1", "2"]


def test_bad_metadata_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata\.json"):
        read_metadata(tmp_path)
    (tmp_path / "metadata.json").write_text('{"version": 0}')
    with pytest.raises(UserError, match=r"metadata\.json: \w+") as caught:
        read_metadata(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_registry_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        publish(tmp_path / "file", _fill, _describe)


def test_importing_the_registry_loads_no_tensorflow() -> None:
    code = f"import sys, {registry.__name__}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=False).returncode == 0
