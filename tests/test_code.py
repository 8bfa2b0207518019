from pathlib import Path

from components.code import code_digest


def test_a_change_of_the_code_is_another_digest(tmp_path: Path) -> None:
    module = tmp_path / "train" / "fit.py"
    module.parent.mkdir()
    module.write_text("a = 1\n")
    first = code_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    code_digest.cache_clear()
    assert code_digest(tmp_path) == first
    module.write_text("a = 2\n")
    code_digest.cache_clear()
    assert code_digest(tmp_path) != first
