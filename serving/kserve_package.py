"""KServe's package, without what it imports for other uses than serving."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

# Packages and modules that KServe names in annotations, and uses where the predictor does not.
_UNUSED = ("pandas", "fastapi", "fastapi.requests", "fastapi.responses", "fastapi.routing")


def import_lazily() -> None:
    """Lets KServe be imported without the package's `__init__`, without pandas and FastAPI.

    The `__init__` imports clients for clusters and with them Kubernetes' client: 46 MB of memory
    and half a second of CPU in each replica. It still runs as soon as one of its own names is asked
    for. pandas takes 34 MB more, and FastAPI 6 MB and 0.3 seconds. They are imported as soon as
    KServe makes a data frame, or an answer of its own.
    """
    if "kserve" not in sys.modules:
        sys.meta_path.insert(0, _Finder())
        # httpx does without its own command, and that brings rich, Pygments and Click.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


class _Finder(MetaPathFinder):
    """Finds the package and those modules of it that import what is not used, and nothing else."""

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


class _Without(Loader):
    """Runs a module without importing what serving does not use of it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, module: ModuleType) -> None:
        _restore(module, self._loader)
        stand_ins = {name: _StandIn(name) for name in _UNUSED if name not in sys.modules}
        sys.modules.update(stand_ins)
        try:
            self._loader.exec_module(module)
        finally:
            for name, stand_in in stand_ins.items():
                stand_in.in_place = False
                if sys.modules.get(name) is stand_in:
                    del sys.modules[name]


class _StandIn(ModuleType):
    """A module that is imported when one of its names is used, but not while it is in place."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.in_place = True

    def __getattr__(self, name: str) -> Any:
        if self.in_place:
            return _Later(self, name)
        return getattr(import_module(self.__name__), name)


class _Later:
    """A name of a stand-in, for annotations and for what is called later."""

    def __init__(self, module: _StandIn, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._module.in_place:  # KServe's own application, which is not the predictor's
            return None
        return getattr(self._module, self._name)(*arguments, **named)


def _restore(module: ModuleType, loader: Loader) -> None:
    """Gives a module the loader that it has without this one."""
    module.__loader__ = loader
    if module.__spec__ is not None:
        module.__spec__.loader = loader


_LOADERS: dict[str, Callable[[Loader], Loader]] = {
    "kserve": _Lazy,
    "kserve.errors": _Without,
    "kserve.model_server": _Without,
    "kserve.protocol.infer_type": _Without,
    "kserve.protocol.rest.server": _Without,
    "kserve.protocol.rest.v1_endpoints": _Without,
    "kserve.protocol.rest.v2_endpoints": _Without,
    "kserve.utils.utils": _Without,
}
