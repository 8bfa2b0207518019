"""The page at /, in a real browser against the predictor's real process."""

import base64
import csv
import gzip
import io
import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from components.ingest.sample import draw_slice
from tests.browser import faults, needs_browser
from tests.serving.pages import (
    CARD,
    EXPLAIN,
    choose,
    drawn,
    encoded,
    file,
    percent,
    picture,
)

LARGER_THAN_ALLOWED = 9 * 2**20

pytestmark = needs_browser


@pytest.fixture
def explained(predictor: Any) -> Callable[[bytes], dict[str, Any]]:
    """Asks the predictor itself, past the page."""

    def ask(content: bytes) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{predictor.url}/v1/models/{predictor.name}:explain",
            content,
            {"Content-Type": "image/png"},
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)["predictions"][0]

    return ask


@pytest.fixture
def answer_with(page: Page) -> Callable[..., None]:
    """Changes fields of the predictor's true answers."""

    def change(**fields: Any) -> None:
        def handle(route: Route) -> None:
            response = route.fetch()
            answer = response.json()
            answer["predictions"][0] |= fields
            route.fulfill(response=response, json=answer)

        page.route(EXPLAIN, handle)

    return change


def _transfer(page: Page, *files: Any) -> Any:
    """Makes what a drop or a paste hands over."""
    contents = [
        [file["name"], file["mimeType"], base64.b64encode(file["buffer"]).decode()]
        for file in files
    ]
    return page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, type, text] of files) {
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type }));
            }
            return transfer;
        }""",
        contents,
    )


def _set_strength(page: Page, strength: int) -> None:
    page.get_by_role("slider", name="Heat map").fill(str(strength))


def test_a_chosen_file_gets_the_predictors_answer(
    page: Page, predictor: Any, explained: Callable[[bytes], dict[str, Any]]
) -> None:
    content = drawn()
    answer = explained(content)

    choose(page, file("slice.png", content))

    assert answer["outcome"] == answer["label"]
    expect(page.locator("#label")).to_have_text(answer["label"])
    expect(page.locator("#probability")).to_have_text(percent(answer["probability"]))
    expect(page.locator("#shares dt")).to_have_text(list(answer["probabilities"]))
    expect(page.locator("#shares .number")).to_have_text(
        [percent(share) for share in answer["probabilities"].values()]
    )
    expect(page.locator("#threshold")).to_contain_text(percent(answer["threshold"]))
    mark = page.locator("#shares .bar.positive").evaluate(
        "(bar) => parseFloat(getComputedStyle(bar, '::after').left) / bar.clientWidth"
    )
    assert mark == pytest.approx(answer["threshold"], abs=0.01)
    status = page.get_by_role("status")
    expect(status).to_have_text(
        f"slice.png: {answer['label']}, {percent(answer['probability'])}."
        + (
            ""
            if answer.get("in_distribution", True)
            else " It does not look like a brain MRI slice."
        )
    )
    expect(page.locator("#answer")).to_contain_text("This is not a diagnosis.")


def test_several_files_are_analysed_in_turn_and_looked_at_one_by_one(page: Page) -> None:
    names = [f"slice-{number}.png" for number in range(3)]
    choose(page, *(file(name, drawn(seed=seed)) for seed, name in enumerate(names)))

    expect(page.get_by_role("status")).to_contain_text("3 images:")
    choices = page.get_by_role("radio")
    expect(choices).to_have_count(3)
    expect(page.locator("#file")).to_have_text("slice-0.png")
    first = picture(page)

    page.get_by_text("slice-1.png").click()
    expect(page.locator("#file")).to_have_text("slice-1.png")
    expect(page.get_by_role("img", name="slice-1.png, with heat map")).to_be_visible()
    assert not np.array_equal(picture(page), first)

    page.keyboard.press("ArrowDown")
    expect(page.locator("#file")).to_have_text("slice-2.png")

    page.get_by_role("button", name="Clear").click()
    expect(choices).to_have_count(0)
    expect(page.locator("#result")).to_be_hidden()


def test_a_dropped_file_is_analysed(page: Page) -> None:
    transfer = _transfer(page, file("dropped.png", drawn()))
    page.dispatch_event("h1", "drop", {"dataTransfer": transfer})

    expect(page.locator("#file")).to_have_text("dropped.png")
    expect(page.locator("#answer")).to_be_visible()


def test_something_dropped_that_is_not_a_file_is_said_to_be_none(page: Page) -> None:
    page.dispatch_event("#drop", "drop", {"dataTransfer": _transfer(page)})

    expect(page.get_by_role("status")).to_contain_text("not a file")


def test_a_pasted_image_is_analysed(page: Page) -> None:
    page.evaluate(
        "(clipboardData) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }))",
        _transfer(page, file("image.png", drawn())),
    )

    expect(page.locator("#file")).to_have_text("Pasted image 1")
    expect(page.locator("#answer")).to_be_visible()


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.on("filechooser", lambda chooser: None)  # choosers are caught from here on, not later
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose images")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([file("slice.png", drawn())])
    expect(page.locator("#answer")).to_be_visible()

    page.get_by_label("Choose images").focus()
    samples = [f"Sample {number}" for number in (1, 2, 3, 4)]
    for name in ("Choose a folder", *samples, "Download CSV", "Clear", "Pictures"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)
    page.keyboard.press("+")
    expect(page.locator("#zoom-value")).to_have_text("125%")
    for name in ("Zoom out", "Zoom in", "Reset", "Heat map"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)
    page.keyboard.press("Home")
    expect(page.locator("#heat-value")).to_have_text("0%")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#heat-value")).to_have_text("5%")

    for name in ("Brightness", "Contrast", "Model card"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)
    page.keyboard.press("Enter")
    expect(page.locator("#card-text")).to_be_visible()


def test_the_slider_lays_the_heat_over_the_picture(
    page: Page, answer_with: Callable[..., None]
) -> None:
    answer_with(heatmap=[[1.0, 0.0], [0.0, 0.0]])
    grey = Image.new("L", (300, 200), 100)
    choose(page, file("grey.png", encoded(grey, "PNG")))
    expect(page.locator("#answer")).to_be_visible()

    _set_strength(page, 0)
    bare = picture(page)
    assert bare.shape[1] / bare.shape[0] == pytest.approx(1.5, abs=0.01)
    assert np.all(bare == 100)

    _set_strength(page, 50)
    half = picture(page).astype(int)
    np.testing.assert_allclose(half[0, 0], (178, 160, 50), atol=2)  # halfway to (255, 220, 0)
    np.testing.assert_allclose(half[-1, -1], (100, 100, 100), atol=1)

    _set_strength(page, 100)
    full = picture(page).astype(int)
    np.testing.assert_allclose(full[0, 0], (255, 220, 0), atol=2)
    steps = np.abs(np.diff(full[0], axis=0)).max()
    assert steps < 10, "the map is grown smoothly, not in blocks"


def test_the_heat_follows_the_predictors_own_overlay(
    page: Page, explained: Callable[[bytes], dict[str, Any]]
) -> None:
    content = drawn()
    overlay = base64.b64decode(explained(content)["overlay_png"]["b64"])
    choose(page, file("slice.png", content))
    expect(page.locator("#answer")).to_be_visible()

    shown = Image.fromarray(picture(page)).resize((150, 150), Image.Resampling.BILINEAR)
    expected = Image.open(io.BytesIO(overlay)).convert("RGB")
    difference = np.abs(np.asarray(shown, float) - np.asarray(expected, float))
    assert difference.mean() < 6


def test_a_tiff_is_shown_as_the_model_saw_it(page: Page) -> None:
    content = drawn("TIFF")
    choose(page, file("slice.tif", content, "image/tiff"))

    expect(page.locator("#servers-picture")).to_be_visible()
    expect(page.get_by_role("slider", name="Heat map")).to_be_enabled()
    seen = Image.fromarray(picture(page, "original")).resize((150, 150))
    expected = Image.open(io.BytesIO(content)).convert("RGB").resize((150, 150))
    assert np.abs(np.asarray(seen, float) - np.asarray(expected, float)).mean() < 6
    assert not np.array_equal(picture(page), picture(page, "original"))


def test_a_volume_is_shown_with_its_slices(
    page: Page, explained: Callable[[bytes], dict[str, Any]]
) -> None:
    slices = (draw_slice(True, np.random.default_rng(k)).convert("L") for k in range(4))
    head = np.stack([slice.resize((120, 140)) for slice in slices])
    image = nib.Nifti1Image(head.transpose(2, 1, 0)[::-1, ::-1], np.eye(4))
    image.header["descrip"] = b"Roe^Jane"
    content = gzip.compress(image.to_bytes())
    answer = explained(content)

    choose(page, file("scan.nii.gz", content, "application/gzip"))

    expect(page.locator("#label")).to_have_text(answer["label"])
    shown = answer["explained_slice"]
    expect(page.locator("#volume-slices th")).to_have_text(
        [f"{number}, pictured" if number == shown else f"{number}" for number in (1, 2, 3, 4)]
    )
    expect(page.locator("#volume-slices td")).to_have_text(
        [percent(slice["probabilities"]["Brain Tumor"]) for slice in answer["slices"]]
    )
    expect(page.locator("#legend-text")).to_contain_text(f"Slice {shown}, the most suspect one.")
    expect(page.locator("#servers-picture")).to_be_visible()
    assert "Roe" not in page.content()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(saved.value.path().read_text("utf-8").splitlines()))
    assert [row["slice"] for row in rows] == ["", "1", "2", "3", "4"]
    assert {row["file"] for row in rows} == {"scan.nii.gz"}
    assert rows[2]["label"] == answer["slices"][1]["label"]

    choose(page, file("slice.png", drawn()))
    expect(page.locator("#label")).to_be_visible()
    expect(page.locator("#volume")).to_be_hidden()


def test_a_16_bit_png_is_shown_as_the_model_sees_it(page: Page) -> None:
    ramp = np.tile(np.linspace(0, 4095, 200, dtype=np.uint16), (200, 1))  # black in a browser
    choose(page, file("deep.png", encoded(Image.fromarray(ramp), "PNG")))

    expect(page.locator("#servers-picture")).to_be_visible()
    shown = picture(page)
    assert shown[:, :20].mean() < 60
    assert shown[:, -20:].mean() > 150


def test_a_jpeg_is_shown_upright(page: Page, answer_with: Callable[..., None]) -> None:
    answer_with(heatmap=[[0.0]])
    image = Image.new("L", (320, 160), 0)
    image.paste(255, (0, 0, 160, 160))  # the left half is light
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(buffer, "JPEG", exif=exif)
    choose(page, file("turned.jpg", buffer.getvalue(), "image/jpeg"))
    expect(page.locator("#answer")).to_be_visible()

    shown = picture(page)
    height, width = shown.shape[:2]
    assert height == 2 * width
    assert shown[height // 4].min() > 240
    assert shown[-height // 4].max() < 15


def test_an_unfamiliar_image_is_flagged(page: Page) -> None:
    sunset = Image.new("RGB", (300, 200), (230, 90, 20))  # the model knows grey images only
    choose(page, file("sunset.png", encoded(sunset, "PNG")))

    expect(page.locator("#unfamiliar")).to_be_visible()
    expect(page.locator("#unfamiliar")).to_contain_text("does not look like")
    expect(page.get_by_role("status")).to_contain_text("does not look like a brain MRI slice")


def test_a_familiar_image_is_not_flagged(page: Page) -> None:
    choose(page, file("slice.png", drawn()))

    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#unfamiliar")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_unsure_answer_says_so_in_a_colour_of_its_own(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    colours = {}
    for name, brightness in (("tumour", 51), ("unsure", 153), ("healthy", 204)):
        choose(page, file(f"{name}.png", encoded(Image.new("L", (60, 40), brightness), "PNG")))
        expect(page.locator("#file")).to_have_text(f"{name}.png")
        expect(page.locator("#answer")).to_be_visible()
        expect(page.locator("#unsure")).to_be_visible(visible=name == "unsure")
        colours[name] = page.locator("#verdict").evaluate("(e) => getComputedStyle(e).color")
        if name == "unsure":
            expect(page.locator("#verdict")).to_have_text("Unsure, leaning to Brain Tumor 40.0%")
            expect(page.locator("#unsure")).to_contain_text("The model does not know")
            expect(page.locator("#threshold")).to_contain_text("From 22.0% to 60.0% it is unsure")
            expect(page.get_by_role("status")).to_have_text(
                "unsure.png: Unsure, leaning to Brain Tumor, 40.0%."
            )
    assert len(set(colours.values())) == 3
    red, green, blue = map(int, re.findall(r"\d+", colours["unsure"]))
    assert blue > max(red, green) + 40, "which no colour blindness takes for red or green"
    expect(page.locator(".slice .of-outcome").first).to_have_text("Unsure leaning to Brain Tumor")


def test_an_answer_against_the_greater_probability_is_explained(
    page: Page, answer_with: Callable[..., None]
) -> None:
    answer_with(
        label="Brain Tumor",
        probability=0.3,
        probabilities={"Brain Tumor": 0.3, "Healthy": 0.7},
        threshold=0.25,
    )
    choose(page, file("slice.png", drawn()))

    expect(page.locator("#against")).to_contain_text("Healthy is the more probable class")
    expect(page.locator("#verdict")).to_have_text("Brain Tumor 30.0%")
    expect(page.locator("#threshold")).to_contain_text("from 25.0% on, the answer is Brain Tumor")


def test_a_text_file_is_refused_in_the_servers_words(page: Page) -> None:
    choose(page, file("notes.txt", b"Scans of the second reader.\n", "text/plain"))

    problem = page.locator("#problem")
    expect(problem).to_contain_text("This file cannot be used")
    expect(problem).to_contain_text("not a JPEG, PNG, TIFF, DICOM or NIfTI")
    expect(problem.get_by_role("button")).to_be_hidden()  # asking again would change nothing
    expect(page.get_by_role("status")).to_contain_text("notes.txt: This file cannot be used")
    expect(page.locator("#answer")).to_be_hidden()


def test_a_json_file_is_no_request(page: Page) -> None:
    choose(page, file("a.json", b'{"instances": [{"b64": "AAAA"}]}', "application/json"))

    expect(page.locator("#problem")).to_contain_text("JSON; send a JPEG, PNG, TIFF, DICOM or NIfTI")


def test_a_form_of_a_script_is_answered(page: Page) -> None:
    ask = """async (bytes) => {
        const form = new FormData();
        for (const name of ["one", "other"])
            form.append(name, new Blob([Uint8Array.from(bytes)]), `${name}.png`);
        const address = "/v1/models/brain-tumor:predict";
        const response = await fetch(address, { method: "POST", body: form });
        return (await response.json()).predictions.length;
    }"""

    assert page.evaluate(ask, list(drawn())) == 2


def test_an_empty_file_is_not_sent(page: Page) -> None:
    choose(page, file("empty.png", b""))

    expect(page.locator("#problem")).to_contain_text("This file is empty")


def test_a_file_that_is_too_large_is_refused_in_the_servers_words(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "large.png").write_bytes(drawn() + bytes(LARGER_THAN_ALLOWED))
    choose(page, tmp_path / "large.png")

    expect(page.locator("#problem")).to_contain_text("This file is too large")
    expect(page.locator("#problem")).to_contain_text("at most")


def test_a_broken_file_among_others_stops_none(page: Page) -> None:
    choose(page, file("cut.png", drawn()[:200]), file("slice.png", drawn()))

    expect(page.get_by_role("status")).to_have_text(re.compile(r"^2 images: 1 \S.*, 1 failed\.$"))


def test_a_busy_server_is_asked_again(page: Page) -> None:
    calls: list[str] = []

    def busy_twice(route: Route) -> None:
        calls.append(route.request.url)
        if len(calls) > 2:
            route.continue_()
        else:
            body = '{"error": "256 images are waiting"}'
            route.fulfill(status=503, headers={"Retry-After": "1"}, body=body)

    page.route(EXPLAIN, busy_twice)
    choose(page, file("slice.png", drawn()))

    expect(page.get_by_role("status")).to_contain_text(
        "The server is busy. Trying again in 1 second"
    )
    expect(page.locator("#answer")).to_be_visible()
    assert len(calls) == 3


def test_a_server_that_stays_busy_is_left_alone(page: Page) -> None:
    page.route(
        EXPLAIN,
        lambda route: route.fulfill(
            status=503, headers={"Retry-After": "600"}, body='{"error": "256 images are waiting"}'
        ),
    )
    choose(page, file("slice.png", drawn()))

    expect(page.locator("#problem")).to_contain_text("The server is busy")
    expect(page.locator("#problem")).to_contain_text("256 images are waiting")
    page.unroute(EXPLAIN)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer")).to_be_visible()


def test_a_lost_network_is_told_and_can_be_tried_again(page: Page) -> None:
    expect(page.locator("#card")).to_be_visible()
    page.context.set_offline(True)
    choose(page, file("slice.png", drawn()))
    expect(page.locator("#problem")).to_contain_text("The server cannot be reached")

    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer")).to_be_visible()


def test_an_answer_that_makes_no_sense_stops_nothing(page: Page) -> None:
    page.route(EXPLAIN, lambda route: route.fulfill(body='{"predictions": []}'))
    choose(page, file("slice.png", drawn()))
    expect(page.locator("#problem")).to_contain_text("The answer cannot be read")

    page.unroute(EXPLAIN)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer")).to_be_visible()


def test_clearing_ends_what_is_under_way(page: Page) -> None:
    page.route(EXPLAIN, lambda route: None)  # no answer
    choose(page, file("slow.png", drawn()))
    expect(page.get_by_role("progressbar", name="Images analysed")).to_be_visible()
    expect(page.locator("#pending")).to_have_text("Analysing…")

    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#result")).to_be_hidden()
    page.unroute(EXPLAIN)
    choose(page, file("next.png", drawn()))
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#file")).to_have_text("next.png")


def test_the_model_says_who_it_is(page: Page, predictor: Any) -> None:
    with urllib.request.urlopen(f"{predictor.url}/card") as response:
        model = json.load(response)

    served = page.locator("#served")
    expect(served).to_contain_text(f"{model['name']} · version {model['version']}")
    expect(served.locator("code")).to_have_text(model["digest"][:12])
    page.get_by_role("heading", name="Model card").click()
    facts = page.locator("#facts")
    expect(facts).to_contain_text(model["digest"])
    expect(facts).to_contain_text(percent(model["threshold"]))
    title = model["card"].splitlines()[0]
    if title.startswith("# "):
        expect(page.get_by_role("heading", level=3).first).to_have_text(title[2:])


def test_an_answer_of_another_version_brings_the_new_card(
    page: Page, answer_with: Callable[..., None]
) -> None:
    expect(page.locator("#card")).to_be_visible()
    answer_with(model_version=99)
    with page.expect_response(CARD):
        choose(page, file("slice.png", drawn()))

    expect(page.locator("#answered-by")).to_have_text("Answered by version 99 of the model.")


def test_the_disclaimer_stands_before_anything_is_asked(page: Page) -> None:
    expect(page.get_by_role("banner")).to_contain_text("This is not a diagnosis")


def test_a_hostile_card_stays_text(page: Page) -> None:
    card = (
        "# A *card* <img src=x onerror=alert(1)>\n\n"
        "Some **bold \\*text\\*** and `code` &lt;b&gt; [link](javascript:alert(1))\n"
        "on two lines.\n\n"
        "- one\n- two \\| three\n\n"
        "| measure | value |\n|---|---|\n| a \\| b | 98.4% (89.9% to 99.8%) |\n"
    )

    def handle(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"card": card})

    page.route(CARD, handle)
    page.reload()
    page.get_by_role("heading", name="Model card").click()

    text = page.locator("#card-text")
    expect(text.get_by_role("heading", level=3)).to_have_text(
        "A *card* <img src=x onerror=alert(1)>"
    )
    expect(text.locator("p")).to_have_text(
        "Some bold *text* and code <b> [link](javascript:alert(1)) on two lines."
    )
    expect(text.locator("p strong")).to_have_text("bold *text*")
    expect(text.locator("code")).to_have_text("code")
    expect(text.get_by_role("listitem")).to_have_text(["one", "two | three"])
    expect(text.get_by_role("columnheader")).to_have_text(["measure", "value"])
    expect(text.get_by_role("rowheader")).to_have_text("a | b")
    expect(text.get_by_role("cell").locator("strong")).to_have_text("98.4%")
    expect(text.get_by_role("cell").locator("small")).to_have_text("89.9% to 99.8%")
    expect(text.locator("img, a, script")).to_have_count(0)


def test_a_server_without_a_card_is_said_to_be_in_trouble(page: Page) -> None:
    page.route(CARD, lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.reload()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server cannot answer. HTTP status 502.")
    page.unroute(CARD)
    alert.get_by_role("button", name="Try again").click()
    expect(alert).to_be_hidden()
    expect(page.locator("#card")).to_be_visible()


def test_the_interface_is_described(page: Page, predictor: Any) -> None:
    page.goto(predictor.url + "/docs")

    predict = page.locator("details").filter(has_text=":predict").first
    expect(predict.get_by_text("curl -F file=@scan.jpg")).to_be_hidden()
    predict.get_by_text("Classify images, KServe v1").click()
    expect(predict.get_by_text("curl -F file=@scan.jpg")).to_be_visible()
    expect(predict.get_by_text("No token that is known")).to_be_visible()
    described = page.request.get(predictor.url + "/openapi.json").json()
    expect(page.locator("details")).to_have_count(len(described["paths"]))
    page.get_by_role("link", name="The page").click()
    expect(page.locator("#files")).to_be_attached()


@pytest.mark.parametrize("width", [320, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_everyone(page: Page, width: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 740})
    assert faults(page) == []
    long_name = "a-slice-with-a-very-long-name-" * 4 + ".png"
    choose(page, file(long_name, drawn()), file("notes.txt", b"no image", "text/plain"))
    expect(page.get_by_role("status")).to_contain_text("2 images:")
    page.get_by_role("heading", name="Model card").click()
    expect(page.locator("#card-text")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults(page) == []
    smallest = 44 if width < 768 else 24
    for control in (".actions .button >> nth=0", "#clear", ".slice label >> nth=0", "#zoom-in"):
        box = page.locator(control).bounding_box()
        assert box is not None
        assert box["height"] >= smallest
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_everything_it_needs_is_in_the_package() -> None:
    web = Path(__file__).parents[2] / "serving" / "web"
    pages = "".join(file.read_text() for file in web.glob("*.html"))

    named = set(re.findall(r'(?:href|src)="(web/[^"]+)"', pages))
    assert named == {f"web/{file.name}" for file in web.iterdir() if file.suffix != ".html"}
    assert not re.search(r"""\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|<style""", pages)
