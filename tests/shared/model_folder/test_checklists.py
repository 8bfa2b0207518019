"""Every item of TRIPOD+AI and of CLAIM is answered once, or said to be unknown."""

import re

from components.shared.model_folder.checklists import UNKNOWN, checklist
from tests.external import external_result
from tests.shared.registry.versions import metadata

# The items of the two statements, as published.
TRIPOD = (
    *("1", "2", "3a", "3b", "3c", "4", "5a", "5b", "6a", "6b", "6c", "7", "8a", "8b", "8c"),
    *("9a", "9b", "9c", "10", "11", "12a", "12b", "12c", "12d", "12e", "12f", "12g", "13", "14"),
    *("15", "16", "17", "18a", "18b", "18c", "18d", "18e", "18f", "19", "20a", "20b", "20c", "21"),
    *("22", "23a", "23b", "24", "25", "26", "27a", "27b", "27c"),
)
CLAIM = tuple(str(number) for number in range(1, 45))


def numbers(listed: list[str]) -> tuple[str, ...]:
    found = [number for cell in listed for number in cell.split(", ") if number]
    return tuple(sorted(found, key=lambda number: (int(re.sub(r"\D", "", number)), number)))


def test_every_item_is_answered_once() -> None:
    items = checklist(metadata(3))
    assert numbers([item.tripod for item in items]) == TRIPOD
    assert numbers([item.claim for item in items]) == CLAIM
    assert all(item.asked and item.answer.endswith(".") for item in items)
    answer = {item.claim: item.answer for item in items}
    assert answer["44"] == f"{UNKNOWN}."
    assert answer["33"].startswith(UNKNOWN)
    judged = metadata(3).model_copy(update={"external": (external_result(name="Ulm"),)})
    (external,) = (item.answer for item in checklist(judged) if item.claim == "33")
    assert "Ulm (40 images)" in external
