"""`drift.json` in a model's folder: read if it is there, refused if it cannot be one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import UserError
from components.shared.model_folder.checksums import write_sums
from components.shared.model_folder.reader import open_model_folder

QUANTITY = {
    "name": "flagged",
    "of": "in_distribution_score",
    "bins": ["no", "yes"],
    "edges": [0.5],
    "blocks": [[3, 1], [4, 0]],
}


def _folder(make_folder: Callable[..., Path], *quantities: Any, **more: Any) -> Path:
    folder = make_folder()
    content = {"images": 8, "groups": 2, "quantities": list(quantities)} | more
    (folder / "drift.json").write_text(json.dumps(content))
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)
    return folder


def test_it_is_read_with_the_folder(make_folder: Callable[..., Path]) -> None:
    later = {"added": "by a later version"}
    drift = open_model_folder(_folder(make_folder, QUANTITY | later, **later)).drift
    assert drift is not None
    assert drift.quantities[0].counts == (7, 1)


def test_an_older_folder_has_none(make_folder: Callable[..., Path]) -> None:
    assert open_model_folder(make_folder()).drift is None


@pytest.mark.parametrize(
    ("quantities", "fault"),
    [
        ([], "quantities"),
        ([QUANTITY, QUANTITY], "once"),
        ([QUANTITY | {"name": 'a"} 1'}], "name"),
        ([QUANTITY | {"bins": ["no\n", "yes"]}], "bins"),
        ([QUANTITY | {"bins": ["no", "no"]}], "name of its own"),
        ([QUANTITY | {"edges": []}], "edge"),
        ([QUANTITY | {"edges": [float("nan")]}], "edges"),
        ([QUANTITY | {"bins": ["1", "2", "3"], "edges": [0.5, 0.5]}], "greater"),
        ([QUANTITY | {"blocks": [[3, 1], [4]]}], "count for each bin"),
        ([QUANTITY | {"blocks": [[3, 1], [0, 0]]}], "two blocks"),
        ([QUANTITY | {"blocks": [[3, -1], [4, 0]]}], "blocks"),
        ([QUANTITY | {"blocks": [[1, 1]] * 1001}], "blocks"),
        ([QUANTITY | {"bins": [str(n) for n in range(21)]}], "bins"),
        ([QUANTITY | {"name": f"q{n}"} for n in range(41)], "quantities"),
    ],
)
def test_what_cannot_be_one_is_refused_in_a_line(
    make_folder: Callable[..., Path], quantities: list[Any], fault: str
) -> None:
    folder = _folder(make_folder, *quantities)
    with pytest.raises(UserError, match=rf"drift\.json.*{fault}") as caught:
        open_model_folder(folder)
    assert "\n" not in str(caught.value)
