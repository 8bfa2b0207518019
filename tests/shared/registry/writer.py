"""What a process does that registers versions, or comes to a stage of that."""

import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from components.shared.model_folder.contract import SUMS
from components.shared.registry import Registry
from components.shared.storage import local, transfer
from tests.shared.registry import versions

WAITING = "waiting"


def write(out: Connection, writer: int, uri: str, count: int, stage: str, run: str) -> None:
    """Registers versions, and sends each one's mark and the number it gets.

    Args:
        out: Where to send it.
        writer: Number of this process.
        uri: Of the registry.
        count: How many to register.
        stage: At this one it sends `WAITING` and does no more, so that it can be killed there.
        run: That all are tries of; empty if each is of a run of its own.
    """

    def pause() -> None:
        out.send(WAITING)
        time.sleep(600)

    def stopping(function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
        """Returns the function, which stops for ever before a call like that."""

        def stopped(*arguments: Any) -> Any:
            if when(*arguments):
                pause()
            return function(*arguments)

        return stopped

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

    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            mark = f"run-{writer}-{number}"
            size = transfer.PIECE + 1000 if stage == "sending" else 5000
            version = versions.publish(registry, Path(folder, "model"), mark, 4, run, size)
            out.send((mark, version))
