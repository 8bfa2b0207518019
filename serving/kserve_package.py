"""KServe's package, without what it imports for other uses than serving."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_PANDAS = "pandas"


def import_lazily() -> None:
    """Lets modules of KServe be imported without the package's `__init__`, and without pandas.

    The `__init__` imports clients for clusters and with them Kubernetes' client: 46 MB of memory
    and half a second of CPU in each replica. It still runs as soon as one of its own names is asked
    for. Importing pandas takes 34 MB more. It is imported as soon as KServe makes a data frame.
    """
    if "kserve" not in sys.modules:
        sys.meta_path.insert(0, _Finder())
        # httpx does without its own command, and that brings rich, Pygments and Click.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


class _Finder(MetaPathFinder):
    """Finds the package and those modules of it that import pandas, and nothing else."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _LOADERS:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _LOADERS[name](spec.loader)
        return spec


class _Lazy(Loader):
    """Runs the package's `__init__` when one of its own names is asked for."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, package: ModuleType) -> None:
        _restore(package, self._loader)

        def run_init(name: str) -> Any:
            if name.startswith("__") or find_spec(f"kserve.{name}"):
                raise AttributeError(name)  # a module of its is imported instead
            del package.__dict__["__getattr__"]
            self._loader.exec_module(package)
            return getattr(package, name)

        package.__dict__["__getattr__"] = run_init


class _WithoutPandas(Loader):
    """Runs a module that needs pandas in annotations, and in functions that serving never calls."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, module: ModuleType) -> None:
        _restore(module, self._loader)
        if _PANDAS in sys.modules:
            self._loader.exec_module(module)
            return
        sys.modules[_PANDAS] = stand_in = _stand_in()
        try:
            self._loader.exec_module(module)
        finally:
            if sys.modules.get(_PANDAS) is stand_in:
                del sys.modules[_PANDAS]


def _stand_in() -> ModuleType:
    """Returns a module whose names are `Any` while it stands for pandas, then those of pandas."""
    module = ModuleType(_PANDAS)

    def look_up(name: str) -> Any:
        if sys.modules.get(_PANDAS) is module:
            return Any
        return getattr(import_module(_PANDAS), name)

    module.__dict__["__getattr__"] = look_up
    return module


def _restore(module: ModuleType, loader: Loader) -> None:
    """Gives a module the loader that it has without this one."""
    module.__loader__ = loader
    if module.__spec__ is not None:
        module.__spec__.loader = loader


_LOADERS: dict[str, Callable[[Loader], Loader]] = {
    "kserve": _Lazy,
    "kserve.protocol.infer_type": _WithoutPandas,
    "kserve.utils.utils": _WithoutPandas,
}
