"""Processes that register versions.

Start one: `python -m tests.shared.registry.writer URI COUNT WRITERS STAGE RUN`.

Each prints its marks and the numbers they get. At the stage that is named it says `waiting` and
does no more, so that it can be killed there. With a run, all are tries of it.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.shared.model_folder.contract import SUMS
from components.shared.registry import Registry
from components.shared.storage import local, transfer
from tests.shared.registry import versions

uri, count, writers, stage, run = sys.argv[1:]


def pause() -> None:
    print("waiting", flush=True)
    time.sleep(600)


def stopping(function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    """Returns the function, which stops for ever before a call like that."""

    def stopped(*arguments: Any) -> Any:
        if when(*arguments):
            pause()
        return function(*arguments)

    return stopped


writer = 0
while writer < int(writers) - 1 and os.fork() == 0:  # a chain: each waits for the next
    writer += 1

registry = Registry.open(uri)
store = registry._store
if stage == "claimed":
    versions.metadata = stopping(versions.metadata, lambda *_: True)
elif stage == "sending":  # some files, and part of one where the store takes files in parts
    transfer.THREADS = 1  # so that nothing is under way when it is killed
    if uri.startswith("/"):
        local._copy_file = stopping(local._copy_file, lambda path, _: path.suffix == ".data")
    elif uri.startswith("s3"):
        client = store._client
        client._upload_part = stopping(client._upload_part, lambda *given: given[-1] == 2)
    else:
        store._put = stopping(store._put, lambda _, key: key.endswith(".data"))
elif stage == "creating":  # a claim
    os.link = stopping(os.link, lambda *_: True)
elif stage == "uploading":  # all but the last file, and undecided
    store.create = stopping(store.create, lambda name, _: "/runs/" in name)
elif stage == "decided":  # but without the last file
    if uri.startswith("/"):
        store.create = stopping(store.create, lambda name, _: Path(name).name == SUMS)
    else:
        store._put = stopping(store._put, lambda _, key: Path(key).name == SUMS)
elif stage == "uploaded":  # but not in the history yet
    registry._append = stopping(registry._append, lambda *_: True)

for number in range(int(count)):
    with tempfile.TemporaryDirectory() as folder:
        mark = f"run-{writer}-{number}"
        size = transfer.PIECE + 1000 if stage == "sending" else 5000
        version = versions.publish(registry, Path(folder, "model"), mark, 4, run, size)
        print(f"{mark} {version}\n", end="", flush=True)

if writer < int(writers) - 1:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
