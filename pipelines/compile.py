"""Pipeline -> YAML, the same bytes each time."""

from itertools import dropwhile
from pathlib import Path
from tempfile import TemporaryDirectory

from kfp.compiler import Compiler

from components.errors import UserError
from components.files import write_atomically
from pipelines.cluster import Cluster
from pipelines.training import training_pipeline

COMMITTED = Path(__file__).with_name("training.yaml")


def compiled(cluster: Cluster) -> str:
    """Returns the pipeline as KFP YAML: the specification and the Kubernetes settings."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "training.yaml")
        Compiler().compile(training_pipeline(cluster), str(path))
        lines = path.read_text().splitlines(keepends=True)
    # KFP's comment above shows a default's keys in an order that differs from run to run.
    return "".join(dropwhile(lambda line: line.startswith("#"), lines))


def write(path: Path, cluster: Cluster) -> None:
    """Compiles into a file."""
    write_atomically(path, compiled(cluster))


def check(path: Path, cluster: Cluster) -> None:
    """Compares a committed file with what the code compiles to.

    Raises:
        UserError: The file is missing or differs.
    """
    if not path.exists() or path.read_text() != compiled(cluster):
        raise UserError(
            f"{path} is not what the code compiles to; run 'brain-tumor compile' and commit it"
        )
