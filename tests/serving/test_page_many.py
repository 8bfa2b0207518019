"""The page with many files: folders, the table, its address, and a second version."""

import csv
import io
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Download, Page, Route, expect

from tests.browser import Watch, needs_browser
from tests.serving.pages import ANSWERS, choose, drawn, file, grey, percent

PREDICT = re.compile(r":predict$")
TOKEN = "a-token-of-this-test"
HOSTILE = {
    "=HYPERLINK(1).png": "'=HYPERLINK(1).png",
    "+1.png": "'+1.png",
    "-1.png": "'-1.png",
    "@SUM(1).png": "'@SUM(1).png",
    "\t=1.png": "'\t=1.png",
    "\uff1d1.png": "'\uff1d1.png",
    'a "b", c.png': 'a "b", c.png',
    "<img src=x onerror=alert(1)>.png": "<img src=x onerror=alert(1)>.png",
    "\u202egnp.a.png": "\u202egnp.a.png",
    "two\nlines.png": "two\nlines.png",
}

pytestmark = needs_browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A patient's folder: five shades of grey, two series, and what is no image."""
    top = tmp_path / "patient"
    for name, content in {
        "a/tumour.png": grey(10),
        "a/near.png": grey(190),
        "b/at.png": grey(191),
        "b/healthy.png": grey(250),
        "b/slice.tif": drawn("TIFF"),
        "notes.txt": b"Scans of the second reader.",
        ".hidden.png": grey(0),
        "__MACOSX/a/tumour.png": b"resource",
    }.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


def _choose_folder(page: Page, folder: Path) -> None:
    page.get_by_label("Choose a folder").set_input_files(folder)


def _names(page: Page) -> list[str]:
    titles = "(names) => names.map((name) => name.title)"
    return list(page.locator(".slice .name").evaluate_all(titles))


def _done(page: Page, count: int) -> None:
    expect(page.get_by_role("status")).to_contain_text(f"{count} images:")


def _saved(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    download: Download = waiting.value
    assert download.suggested_filename == "brain-tumor.csv"
    text = download.path().read_bytes().decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_folder_becomes_a_table_with_the_most_uncertain_first(page: Page, folder: Path) -> None:
    page.evaluate(
        """() => {
            window.parts = [];
            const append = FormData.prototype.append;
            FormData.prototype.append = function (...part) {
                window.parts.push(part[2]);
                append.apply(this, part);
            };
        }"""
    )
    _choose_folder(page, folder)

    _done(page, 6)
    expect(page.locator("#notes")).to_have_text("2 hidden files left out.")
    names = _names(page)
    assert names[:2] == ["patient/b/at.png", "patient/a/near.png"]
    assert names[-1] == "patient/notes.txt"
    expect(page.locator(".slice").last).to_contain_text("This file cannot be used")
    named = page.evaluate("window.parts")
    assert set(named) <= {"0", "1"}, "no name is sent, which may be a patient's"
    assert "1" in named, "files are sent together"
    rows = {row["file"]: row for row in _saved(page)}
    at = rows["patient/b/at.png"]
    assert float(at["tumor_probability"]) == pytest.approx(1 - 191 / 255, abs=1e-4)
    assert float(at["uncertainty"]) == pytest.approx(0.9987, abs=1e-3)
    assert (at["model"], at["model_version"], at["threshold"]) == ("brain-tumor", "7", "0.25")
    assert "not a JPEG" in rows["patient/notes.txt"]["error"]


def test_a_dropped_folder_is_read_whole(page: Page, folder: Path) -> None:
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})

    _done(page, 6)
    expect(page.locator("#notes")).to_have_text("2 hidden files left out.")
    assert "patient/a/near.png" in _names(page)


def test_names_are_text_and_no_formulas(page: Page) -> None:
    choose(page, *(file(name, grey(99)) for name in HOSTILE))

    _done(page, len(HOSTILE))
    assert set(_names(page)) == set(HOSTILE)
    expect(page.locator("#slices img, #result img")).to_have_count(0)
    assert {row["file"] for row in _saved(page)} == set(HOSTILE.values())


def test_the_table_is_sorted_and_filtered_from_the_keyboard(page: Page, folder: Path) -> None:
    _choose_folder(page, folder)
    _done(page, 6)
    heading = page.get_by_role("columnheader", name="Tumour")
    heading.get_by_role("button").press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert _names(page)[0] == "patient/a/tumour.png"
    heading.get_by_role("button").press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert _names(page)[0] == "patient/b/healthy.png"
    assert _names(page)[-1] == "patient/notes.txt"

    page.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    expect(page.locator("#file")).to_have_text("patient/b/healthy.png")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#file")).not_to_have_text("patient/b/healthy.png")
    expect(page.get_by_role("img", name="with heat map")).to_be_visible()

    page.get_by_label("Show").select_option("failed")
    assert _names(page) == ["patient/notes.txt"]
    assert page.url.endswith("#sort=suspicion&order=ascending&show=failed")
    page.reload()
    _choose_folder(page, folder)
    _done(page, 6)
    assert _names(page) == ["patient/notes.txt"]


@pytest.mark.parametrize(
    "fragment",
    [
        "#sort=__proto__&order=up&show=constructor&heat=1e9&brightness=NaN",
        "#compare=https://evil.example/&show=%3Cimg%20src=x%3E&heat=",
        "#%E0%A4%A&&==&sort",
    ],
)
def test_a_hostile_address_changes_nothing(
    page: Page, predictor: Any, folder: Path, fragment: str
) -> None:
    page.goto("about:blank")
    page.goto(f"{predictor.url}/{fragment}")
    _choose_folder(page, folder)

    _done(page, 6)
    assert _names(page)[0] == "patient/b/at.png"
    expect(page.get_by_role("slider", name="Heat map")).to_have_value("55")
    expect(page.get_by_role("columnheader", name="Other")).to_be_hidden()


def test_a_long_table_has_few_rows_at_a_time(page: Page, tmp_path: Path) -> None:
    content = grey(77)
    for number in range(400):
        (tmp_path / f"{number}.png").write_bytes(content)
    _choose_folder(page, tmp_path)

    _done(page, 400)
    expect(page.locator("#rows-shown")).to_have_text("1–50 of 400")
    expect(page.locator(".slice")).to_have_count(50)
    page.get_by_role("button", name="Image", exact=True).click()
    assert [Path(name).stem for name in _names(page)[:3]] == ["0", "1", "2"]
    page.get_by_role("button", name="Next").click()
    assert [Path(name).stem for name in _names(page)[:3]] == ["50", "51", "52"]
    assert len(_saved(page)) == 400


def test_no_more_files_are_taken_than_a_browser_bears(page: Page) -> None:
    taken = """async () => {
        const { chosen, MAX_FILES } = await import("/web/folders.js");
        const found = chosen(Array(MAX_FILES + 1).fill(new File(["x"], "a.png")));
        const all = chosen(Array(MAX_FILES).fill(new File(["x"], "a.png")));
        return [MAX_FILES, found.files.length, found.more, all.files.length, all.more];
    }"""
    most, *found = page.evaluate(taken)

    assert found == [most, True, most, False]


def test_a_run_is_stopped_and_goes_on(page: Page, folder: Path) -> None:
    page.route(PREDICT, lambda route: None)  # a server that is slow without end
    _choose_folder(page, folder)
    expect(page.get_by_role("progressbar", name="Images analysed")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    expect(page.locator("#progress-text")).to_contain_text("answered, stopped")
    expect(page.get_by_role("button", name="Go on")).to_be_focused()

    page.unroute(PREDICT)
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_be_hidden()
    assert len(_saved(page)) == 6


def test_a_server_that_goes_away_half_way_leaves_what_was_answered(
    page: Page, tmp_path: Path
) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(grey(5 * number))
    asked: list[int] = []

    def twice(route: Route) -> None:
        asked.append(1)
        if len(asked) > 2:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(PREDICT, twice)
    _choose_folder(page, tmp_path)

    problem = page.locator("#run-problem")
    expect(problem).to_contain_text("The server cannot be reached. Check the connection")
    assert len(asked) <= 8, "three requests are sent once more, and no other"
    answered = [row for row in _saved(page) if not row["error"]]
    assert answered
    page.unroute(PREDICT)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#progress")).to_be_hidden()
    expect(problem).to_be_hidden()
    assert [row["error"] for row in _saved(page)] == [""] * 40


def test_a_connection_that_is_lost_once_is_made_again(page: Page, folder: Path) -> None:
    lost: list[int] = []

    def once(route: Route) -> None:
        lost.append(1)
        if len(lost) == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(PREDICT, once)
    _choose_folder(page, folder)
    _done(page, 6)
    assert [row["file"] for row in _saved(page) if row["error"]] == ["patient/notes.txt"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_waited_for(page: Page, folder: Path, status: int) -> None:
    asked: list[int] = []

    def busy_once(route: Route) -> None:
        asked.append(1)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=status, headers={"Retry-After": "1"}, body="busy")

    page.route(PREDICT, busy_once)
    _choose_folder(page, folder)
    _done(page, 6)
    page.unroute(PREDICT)

    page.route(
        PREDICT,
        lambda route: route.fulfill(status=status, headers={"Retry-After": "900"}, body="{}"),
    )
    _choose_folder(page, folder)
    expect(page.locator("#run-problem")).to_have_text(f"The server is busy. HTTP status {status}.")


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        '{"predictions": null}',
        '{"predictions": [{"label": "Healthy"}]}',
        '{"predictions": [{"__proto__": {"x": 1}}, 1, 2, 3, 4, 5]}',
        json.dumps(
            {
                "predictions": [
                    {
                        "label": "x" * 10_000,
                        "probability": 1e308,
                        "probabilities": {str(n): 0.5 for n in range(50)},
                        "threshold": "0",
                        "model_version": 7,
                    }
                ]
            }
        ),
        "<script>alert(1)</script>",
    ],
)
def test_a_hostile_answer_is_a_row_that_failed(page: Page, answer: str) -> None:
    page.route(ANSWERS, lambda route: route.fulfill(body=answer))
    choose(page, file("one.png", grey(1)), file("two.png", grey(2)))

    expect(page.locator(".slice")).to_have_count(2)
    expect(page.locator(".slice").first).to_contain_text("The answer cannot be read")
    page.unroute(ANSWERS)
    page.get_by_role("button", name="Clear").click()
    choose(page, file("good.png", grey(1)))
    expect(page.locator("#label")).to_have_text("Brain Tumor")


def test_a_sample_of_the_version_is_a_click_away(page: Page, predictor: Any) -> None:
    with urllib.request.urlopen(f"{predictor.url}/samples") as response:
        count = len(json.load(response)["instances"])

    samples = page.locator("#samples").get_by_role("button")
    expect(samples).to_have_count(count)
    samples.nth(0).click()
    expect(page.locator("#file")).to_have_text("Sample 1")
    expect(page.locator("#answer")).to_be_visible()
    samples.nth(1).click()
    samples.nth(0).click()
    expect(page.locator("#file")).to_have_text("Sample 1")
    expect(page.locator(".slice")).to_have_count(2)


@pytest.fixture
def compared(
    browser: Browser, start: Callable[..., Any], tmp_path: Path
) -> Iterator[tuple[Page, str]]:
    """The page of a predictor that names another one; that wants a token."""
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with start(tokens_file=tokens, cors_origins="*") as other:
        address = f"http://localhost:{other.port}"
        with start(compare_with=f"{address}/, /missing/") as own:
            context = browser.new_context()
            page = context.new_page()
            watch = Watch(page, expected=r"(:explain|:predict|/card)$")
            page.goto(own.url)
            yield page, f"{address}/"
            context.close()
            assert watch.complaints == []


def test_a_second_version_is_compared(compared: tuple[Page, str], folder: Path) -> None:
    page, address = compared
    _choose_folder(page, folder)
    _done(page, 6)
    page.get_by_label("Compare with").select_option(address)
    expect(page.locator("#token-why")).to_contain_text(f"The server at {address}")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Use it").click()

    page.get_by_role("columnheader", name="Change").get_by_role("button").click()
    expect(page.locator(".slice").first).to_contain_text("±0.0")
    expect(page.locator("#progress")).to_be_hidden()
    page.locator(".slice", has_text="near.png").click()
    expect(page.locator("#compared")).to_contain_text(f"Brain Tumor {percent(1 - 190 / 255)}")
    expect(page.locator("#compared")).to_contain_text("The labels agree")
    expect(page.get_by_role("img", name="the other server")).to_be_visible()
    expect(page.locator("#heated-other .heat")).to_be_visible()
    assert "compare=http" in page.url
    assert len(_saved(page)) == 12, "a row for each file and version"

    page.get_by_label("Compare with").select_option("/missing/")
    expect(page.get_by_role("status")).to_contain_text("/missing/: The server cannot answer")
    page.get_by_label("Compare with").select_option("")
    expect(page.get_by_role("columnheader", name="Change")).to_be_hidden()
    expect(page.locator("#compared")).to_be_hidden()


@pytest.mark.parametrize("width", [390, 768])
def test_a_narrow_table_shows_every_column_whole(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    choose(page, file("a-name-of-many-letters.png", drawn()), file("b.png", grey(128)))
    expect(page.locator("#rows .of-suspicion")).to_contain_text(["%", "%"])
    for heading in ("Image", "Answer", "Tumour", "Uncertainty"):
        expect(page.locator("#columns").get_by_role("button", name=heading)).to_be_visible()
    assert page.locator("#table").evaluate("(table) => table.scrollWidth <= table.clientWidth")
    beside = (
        "(row) => [row.querySelector('.name').getBoundingClientRect().right,"
        " row.cells[1].getBoundingClientRect().left]"
    )
    for row in page.locator("#rows tr").all():
        name, answer = row.evaluate(beside)
        assert name <= answer
    line = "(cells) => new Set(cells.map((cell) => getComputedStyle(cell).borderBottomColor)).size"
    assert page.locator("#rows td").evaluate_all(line) == 1  # also below "Unsure"
