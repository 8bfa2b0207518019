"""Which tests are quick, and the order of all: the quick ones first, then the longest."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# They import TensorFlow, or start servers, browsers or many processes. The longest are first, so
# that no worker is idle at the end while another has a long file before it.
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
    "split/test_logic.py",
    "drift/test_logic.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what is slow")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("quick"):
        for name in ("tensorflow", "keras"):  # so that what needs it fails, and is put into SLOW
            sys.modules[name] = None  # type: ignore[assignment]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("quick") and _rank(collection_path) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    """Returns 0 for what is quick, else its place among the slow ones, from 1 on."""
    return next((n for n, slow in enumerate(SLOW, 1) if path.is_relative_to(TESTS / slow)), 0)
