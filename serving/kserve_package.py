"""KServe's package, without what it imports for other uses than serving."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def import_lazily() -> None:
    """Lets modules of KServe be imported without the package's `__init__`.

    That imports clients for clusters and with them Kubernetes' client: 46 MB of memory and half a
    second of CPU in each replica. It still runs as soon as one of its own names is asked for.
    """
    if "kserve" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds the package when it is first imported, and nothing else."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "kserve":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Runs the package's `__init__` when one of its own names is asked for."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, package: ModuleType) -> None:
        package.__loader__ = self._loader
        if package.__spec__ is not None:
            package.__spec__.loader = self._loader

        def run_init(name: str) -> Any:
            if name.startswith("__") or find_spec(f"kserve.{name}"):
                raise AttributeError(name)  # a module of its is imported instead
            del package.__dict__["__getattr__"]
            self._loader.exec_module(package)
            return getattr(package, name)

        package.__dict__["__getattr__"] = run_init
