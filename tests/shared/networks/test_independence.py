"""A network knows nothing of who trains it, so that the two do not import each other."""

from pathlib import Path

from components.shared.run.code import imported

NETWORKS = Path(__file__).parents[3] / "components" / "networks"


def test_no_network_imports_a_step() -> None:
    for path in NETWORKS.glob("*.py"):
        names = set(imported(path.read_text()))
        assert not {name for name in names if name.split(".")[1] in ("train", "tune")}, path
