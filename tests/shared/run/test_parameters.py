"""What KFP and the command line get of a parameter that is written once."""

from typing import Literal

from pydantic import Field

from components.shared.run.parameters import Group


class Zoom(Group):
    panel = "Look"

    zoom: float = Field(2.0, gt=0, description="How near.")
    lens: Literal["wide", "long"] = Field("wide", description="Which lens.")


class Extra(Group):
    marks: dict[str, str] = Field({}, description="What is drawn.")


class Run(Extra, Zoom):
    pass


def test_a_run_shows_its_groups_from_the_last_to_the_first() -> None:
    zoom, lens, marks = Run.parameters({"zoom": 3.0})
    assert (zoom.name, zoom.type, zoom.default, zoom.description) == (
        "zoom",
        float,
        3.0,
        "How near.",
    )
    assert (lens.type, lens.choices, lens.panel) == (str, ("wide", "long"), "Look")
    assert (marks.type, marks.default, marks.choices) == (dict, {}, ())


def test_a_parameter_without_a_panel_is_shown_all_the_same() -> None:
    assert Run.parameters()[-1].panel == "Options"


def test_a_group_is_handed_on_whole() -> None:
    assert Run(lens="long").of(Zoom) == {"zoom": 2.0, "lens": "long"}
