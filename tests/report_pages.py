"""Looks at reports in a real browser as people do: on light and dark screens, wide and narrow."""

from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser import Watch, faults

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# axe-core looks once at each scheme: what it finds does not hang on the width.
_SCREENS = (
    ("light", 360, True),
    ("light", 1280, False),
    ("dark", 1280, True),
    ("dark", 360, False),
)
_SILENT = "img:not([alt]), img[alt=''], svg:not([aria-label])"


def report_faults(browser: "Browser", *reports: Path) -> list[str]:
    """Returns what is wrong with reports: overflow, pictures without text, what axe-core finds.

    Args:
        browser: The fixture.
        *reports: HTML files.
    """
    found: list[str] = []
    page = browser.new_page()
    watch = Watch(page)
    for report in reports:
        page.goto(report.absolute().as_uri())
        for scheme, width, in_full in _SCREENS:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 800})
            where = f"{report.name}, {scheme}, {width}"
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                found.append(f"{where}: {wide} pixels wide")
            if in_full:
                found += [f"{where}: {fault}" for fault in faults(page)]
        if silent := page.locator(_SILENT).count():
            found.append(f"{report.name}: {silent} pictures without text")
    page.close()
    elsewhere = [url for url in watch.requests if not url.startswith(("file:", "data:"))]
    return found + watch.complaints + elsewhere


def widths_in_kfp(browser: "Browser", report: Path) -> list[float]:
    """Shows a report as the KFP UI does; clicks on its first picture, twice, and on its contents.

    Args:
        browser: The fixture.
        report: A report with pictures and contents.

    Returns:
        Width of the picture before, between and after.
    """
    from playwright.sync_api import expect

    ui = "<!doctype html><iframe sandbox='allow-scripts' width=900 height=600></iframe>"
    page = browser.new_page()
    page.route("**/*", lambda route: route.fulfill(body=ui, content_type="text/html"))
    page.goto("http://kfp.example/")
    page.eval_on_selector("iframe", "(frame, text) => { frame.srcdoc = text }", report.read_text())
    frame = page.frame_locator("iframe")
    picture = frame.locator(".photo img").first
    width = "image => image.getBoundingClientRect().width"
    widths = [picture.evaluate(width)]
    for _ in range(2):
        picture.click()
        widths.append(picture.evaluate(width))
    frame.locator(".contents a").last.click()
    expect(frame.locator("h2").last).to_be_in_viewport()
    page.close()
    return widths
