"""A real Chromium for tests of pages, and axe-core, which finds what not everyone can use."""

import importlib.resources
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watch:
    """What a page asked for, and what its console said.

    Attributes:
        requests: Addresses.
        complaints: Exceptions, errors, warnings and violations of the content security policy.
    """

    def __init__(self, page: "Page", expected: str = "$^") -> None:
        """Begins to watch; `expected`: addresses whose errors a test has the server answer."""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (event) => console.error('CSP', event.violatedDirective, event.blockedURI))"
        )
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._hear(message, expected))

    def _hear(self, message: "ConsoleMessage", expected: str) -> None:
        if message.type not in ("error", "warning"):
            return
        if not re.search(expected, message.location["url"]):
            self.complaints.append(f"{message.type}: {message.text}")


def faults(page: "Page") -> list[str]:
    """Returns what axe-core finds wrong with a page as it is shown now, WCAG 2.2 A and AA.

    Args:
        page: Loaded; its content security policy may be strict.
    """
    axe = importlib.resources.files("axe_playwright_python") / "axe.min.js"
    page.evaluate(axe.read_text("utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found: dict[str, Any] = page.evaluate(
        "(tags) => axe.run({ runOnly: tags, resultTypes: ['violations'] })", tags
    )
    return [
        f"{rule['id']}: {rule['help']}: {node['target']}: {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
