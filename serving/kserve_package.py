"""KServe's package, without what it imports for other uses than serving."""

import sys
from importlib.util import find_spec, module_from_spec
from typing import Any


def import_lazily() -> None:
    """Lets modules of KServe be imported without the package's `__init__`.

    That imports clients for clusters and with them Kubernetes' client: 46 MB of memory and half a
    second of CPU in each replica. It still runs as soon as one of its own names is asked for.
    """
    spec = find_spec("kserve")
    if "kserve" in sys.modules or spec is None or spec.loader is None:
        return
    package, loader = module_from_spec(spec), spec.loader

    def run_init(name: str) -> Any:
        if name.startswith("__") or find_spec(f"kserve.{name}"):
            raise AttributeError(name)  # a module of its is imported instead
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = run_init
    sys.modules["kserve"] = package
