"""A network knows nothing of who trains it, so that the two do not import each other."""

from pathlib import Path

from components.shared.run.code import imported

NETWORKS = Path(__file__).parents[3] / "components" / "shared" / "networks"


def test_no_network_imports_training() -> None:
    files = list(NETWORKS.glob("*.py"))
    assert files
    for path in files:
        names = imported(path.read_text())
        assert not [name for name in names if name.startswith("components.shared.training")], path
