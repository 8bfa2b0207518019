"""Which tests are quick, and the order of all: the quick ones first, then the longest."""

import functools
import gc
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# Of the quick ones. The longest are first here and below, so that no worker is idle at the end
# while another has a long file before it.
LONG = (
    "pipelines/test_compiled.py",
    "pipelines/test_cli.py",
    "collect/test_logic.py",
    "shared/near_duplicates/test_grouping.py",
    "ingest/test_logic.py",
)
# They import TensorFlow, start servers, browsers or many processes, or read thousands of images.
SLOW = (
    "e2e",
    "tune",
    "shared/training",
    "evaluate/test_logic.py",
    "serving",
    "shared/storage",
    "shared/registry",
    "ingest/test_stores.py",
    "cross_validate",
    "register",
    "ingest/test_report.py",
    "ingest/test_component.py",
    "ingest/test_volumes.py",
    "shared/model_folder",
    "deploy",
    "manifests",
    "benchmarks",
    "cluster",
    "shared/networks",
    "shared/images/test_deep_images.py",
    "split/test_logic.py",
    "drift/test_logic.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what is slow")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("quick"):
        for name in ("tensorflow", "keras"):  # so that what needs it fails, and is put into SLOW
            sys.modules[name] = None  # type: ignore[assignment]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Looks for no garbage in what is imported: it stays, and looking is half of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("quick") and _place(collection_path, SLOW) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path))


@functools.cache
def _rank(path: Path) -> tuple[int, int]:
    """Returns what orders files: the slow ones by their place, before them the quick ones."""
    return _place(path, SLOW) or 0, _place(path, LONG) or len(LONG) + 1


@functools.cache
def _place(path: Path, names: tuple[str, ...]) -> int | None:
    """Returns the place, from 1 on, of the first name that is the path's file or folder."""
    return next((n for n, name in enumerate(names, 1) if path.is_relative_to(TESTS / name)), None)
