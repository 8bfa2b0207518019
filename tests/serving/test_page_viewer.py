"""The pictures of the page: zoom, brightness and contrast."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser import needs_browser
from tests.serving.pages import ANSWERS, choose, drawn, file, picture

pytestmark = needs_browser


@pytest.fixture
def scale(page: Page) -> Callable[[], list[float]]:
    """Returns how much each of the two pictures is enlarged."""
    choose(page, file("slice.png", drawn()))
    expect(page.get_by_role("img", name="with heat map")).to_be_visible()
    expect(page.locator("#answer")).to_be_visible()

    def ask() -> list[float]:
        style = page.locator(".pane:visible .stage").evaluate_all(
            "(stages) => stages.map((stage) => getComputedStyle(stage).transform)"
        )
        return [float(re.findall(r"[\d.]+", matrix)[0]) for matrix in style]

    return ask


def test_both_pictures_zoom_by_wheel_keys_and_buttons(
    page: Page, scale: Callable[[], list[float]]
) -> None:
    assert scale() == [1, 1]
    page.locator("#original .screen").hover()
    page.mouse.wheel(0, -400)
    expect(page.locator("#panes")).to_have_class("zoomed")
    both = scale()
    assert both[0] == both[1] > 1.5

    page.locator("#panes").press("0")
    assert scale() == [1, 1]
    page.locator("#panes").press("+")
    assert scale() == [1.25, 1.25]
    page.get_by_role("button", name="Zoom out").click()
    assert scale() == [1, 1]


def test_a_pinch_zooms_and_a_finger_moves(page: Page, scale: Callable[[], list[float]]) -> None:
    page.locator("#panes").scroll_into_view_if_needed()
    box = page.locator("#heated .screen").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + min(box["height"], 300) / 2
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *spread: float) -> None:
        points = [{"x": x + s, "y": y, "id": n} for n, s in enumerate(spread)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -20, 20)
    for spread in (30, 40, 60):
        touch("touchMove", -spread, spread)
    touch("touchEnd")
    assert scale() == [pytest.approx(3, rel=0.1)] * 2

    place = "(stage) => stage.style.transform"
    before = page.locator("#heated .stage").evaluate(place)
    touch("touchStart", 0)
    touch("touchMove", 20)
    touch("touchMove", 40)
    touch("touchEnd")
    assert page.locator("#heated .stage").evaluate(place) != before
    assert scale() == [pytest.approx(3, rel=0.1)] * 2


def test_brightness_and_contrast_change_only_what_is_shown(
    page: Page, scale: Callable[[], list[float]]
) -> None:
    pixels = picture(page, "original")
    shown = page.locator("#original .screen").screenshot()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.get_by_role("slider", name="Brightness").fill("200")
    page.get_by_role("slider", name="Contrast").fill("150")

    assert page.locator("#original .screen").screenshot() != shown
    assert page.url.endswith("#brightness=200&contrast=150")
    np.testing.assert_array_equal(picture(page, "original"), pixels)
    assert not [request for request in asked if ANSWERS.search(request.url)]
    expect(page.locator("#viewer")).to_contain_text("The answer stays the same")
    page.get_by_role("button", name="Reset").click()
    assert "#" not in page.url
    assert page.locator("#original .screen").screenshot() == shown
