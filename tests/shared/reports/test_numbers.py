"""Numbers for people."""

import re
from pathlib import Path

import pytest

from components.shared.reports.numbers import count, decimal, percent, setting

COMPONENTS = Path(__file__).parents[3] / "components"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.98765, "98.8%"), (1.0, "100.0%"), (0.0, "0.0%"), (0.9996, "99.96%"), (0.00004, "0.004%")],
)
def test_a_share_is_all_only_where_it_is_all(value: float, shown: str) -> None:
    assert percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.98765, "0.988"),
        (1.0, "1.000"),
        (0.9997, "0.9997"),
        (-0.0004, "-0.0004"),
        (1.0002, "1.000"),
    ],
)
def test_a_number_has_three_digits_unless_they_hide_it(value: float, shown: str) -> None:
    assert decimal(value) == shown


def test_a_rounding_error_is_not_shown() -> None:
    assert (percent(1 - 1e-12), decimal(1e-12)) == ("100.0%", "0.000")


def test_digits_and_signs() -> None:
    assert (percent(0.25, 0), percent(0.012, signed=True)) == ("25%", "+1.2%")
    assert (decimal(2.5209567190004236, 1), decimal(0.0, signed=True)) == ("2.5", "+0.000")
    assert (count(407_889), count(12.0)) == ("407,889", "12")


def test_a_setting_is_short() -> None:
    settings = (True, False, 407_889, 150, 6.500030619001336, 0.00025, 1.0, "compact", "", None)
    shown = ["on", "off", "407,889", "150", "6.5", "0.00025", "1", "compact", "none", "none"]
    assert [setting(value) for value in settings] == shown


def test_no_template_rounds_by_itself() -> None:
    by_itself = re.compile(r"\.format\(|%[.\d]+[fg]|\| *round")
    found = [
        f"{path.relative_to(COMPONENTS)}: {line.strip()}"
        for path in COMPONENTS.rglob("*.j2")
        for line in path.read_text().splitlines()
        if by_itself.search(line)
    ]
    assert found == []
