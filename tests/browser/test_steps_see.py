"""Seeing a run: step by step, band by band, with numbers that are the library's."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Studio
from generate_page import GeneratePage
from PIL import Image
from playwright.sync_api import Page, Route, expect
from steps_page import StepsPage, ask, paint_run

from studio.diffusion.run_file import load_recording
from studio.diffusion.wavelets import band_energies

STEPS = 8
NASTY = "a lake ${window.harmed = 3} <img src=x onerror='window.harmed = 1'>"


@pytest.fixture(scope="module")
def run_id(studio: Studio) -> str:
    """A run that these tests look at, and never change."""
    return paint_run(studio.url, steps=STEPS)


@pytest.fixture
def steps(studio: Studio, page: Page, run_id: str) -> StepsPage:
    """The Steps page with that run at its last step."""
    opened = StepsPage(page, studio.url)
    opened.open(run_id)
    return opened


def test_a_picture_opens_in_steps_and_is_scrubbed_by_keyboard(generate: GeneratePage) -> None:
    generate.paint("a village in the morning", steps=6)
    generate.expect_result()
    generate.page.get_by_role("button", name="Open in Steps").click()
    steps = StepsPage(generate.page, generate.url)
    steps.expect_shown()
    expect(steps.title).to_contain_text("a village in the morning")
    steps.expect_step(6)
    expect(steps.bands).to_have_count(5)
    steps.press("Home")
    steps.expect_step(1)
    steps.press("ArrowRight", "ArrowRight", "ArrowLeft")
    steps.expect_step(2)
    steps.press("Shift+ArrowRight")
    steps.expect_step(6)
    assert generate.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_picture_and_bands_change_with_the_step(steps: StepsPage) -> None:
    steps.expect_step(STEPS)
    canvases = [steps.picture, steps.bands.nth(0).locator("canvas"), steps.bands.nth(4).locator("canvas")]
    for canvas in canvases:
        steps.expect_other_pixels(canvas, canvas.evaluate(BLANK))  # it has arrived
    last = [steps.pixels(canvas) for canvas in canvases]
    sentence = steps.sentence.inner_text()
    steps.press("Home")
    steps.expect_step(1)
    for canvas, before in zip(canvases, last, strict=True):
        steps.expect_other_pixels(canvas, before)
    assert steps.sentence.inner_text().removeprefix("Step 1.") != sentence.removeprefix(f"Step {STEPS}.")


BLANK = """canvas => {
    const { width, height } = canvas;
    return Object.assign(document.createElement('canvas'), { width, height }).toDataURL();
}"""


def test_what_stands_on_the_tiles_adds_up_to_a_hundred_percent(steps: StepsPage, run_id: str) -> None:
    facts = steps.facts(run_id)
    for number in (1, 4, STEPS):
        steps.go_to(number)
        shown = steps.shares()
        assert sum(round(share * 10) for share in shown) == 1000
        assert shown == facts["steps"][number - 1]["share"]
        assert steps.sentence.inner_text().replace("\n", " ") == facts["steps"][number - 1]["sentence"]


def test_all_numbers_are_the_librarys(steps: StepsPage, run_id: str, tmp_path: Path) -> None:
    facts = steps.facts(run_id)
    head, rows = steps.numbers()
    assert head == ["Step", "Noise level", *(band["label"] for band in facts["bands"])]
    assert [[float(cell) for cell in row[2:]] for row in rows] == facts["energy"]["picture"]
    steps.curve("Change")
    _, rows = steps.numbers()
    assert [[float(cell) for cell in row[2:]] for row in rows] == facts["change"]["picture"]

    steps.split().get_by_role("button", name="The latent").click()
    steps.press("Escape")
    steps.curve("Energy")
    _, rows = steps.numbers()
    path = tmp_path / "run.safetensors"
    path.write_bytes(steps.download("Run file")[1])
    recording = load_recording(path)
    assert len(rows) == len(recording.steps) == STEPS
    for row, step in zip(rows, recording.steps, strict=True):
        library = band_energies(step.denoised.double().numpy(), "db2", 4)
        np.testing.assert_allclose([float(cell) for cell in row[2:]], library, rtol=1e-4)  # float32 sums


def test_curve_reads_out_the_step_it_is_clicked_at(steps: StepsPage, run_id: str) -> None:
    facts = steps.facts(run_id)
    curve = steps.page.locator(".wb-curve")
    box = curve.bounding_box()
    assert box is not None
    curve.click(position={"x": box["width"] - 12, "y": box["height"] / 2})
    steps.expect_step(STEPS)
    curve.click(position={"x": 36, "y": box["height"] / 2})
    steps.expect_step(1)
    shown = steps.page.locator(".wb-read b").all_inner_texts()
    expected = facts["arrived"]["picture"][0]
    assert [float(text.removesuffix(" %")) for text in shown] == pytest.approx(expected, abs=0.51)  # rounded to 1 %


def test_filmstrip_is_dragged_like_a_slider(steps: StepsPage) -> None:
    box = steps.scrubber.bounding_box()
    assert box is not None
    column = box["width"] / STEPS
    steps.page.mouse.move(box["x"] + column * 0.5, box["y"] + 20)
    steps.page.mouse.down()
    steps.expect_step(1)
    steps.page.mouse.move(box["x"] + column * 4.5, box["y"] + 20, steps=4)
    steps.expect_step(5)
    steps.page.mouse.up()
    steps.page.mouse.move(box["x"] + column * 2.5, box["y"] + 20)
    steps.expect_step(5)


def test_play_runs_to_the_last_step_and_ends(steps: StepsPage) -> None:
    steps.press("Home")
    steps.expect_step(1)
    steps.press("Space")
    steps.expect_step(STEPS)
    expect(steps.page.get_by_role("button", name="Play", exact=True).first).to_be_visible()


def test_a_band_is_shown_large_by_its_number_and_by_a_click(steps: StepsPage) -> None:
    hud = steps.page.locator(".wb-big .wb-hud")
    steps.press("3")
    expect(hud).to_have_text("Details, 4–8 px")
    expect(steps.bands.nth(2)).to_have_attribute("aria-pressed", "true")
    steps.press("0")
    expect(hud).not_to_be_visible()
    steps.bands.nth(4).click()
    expect(hud).to_have_text("Grain, 1–2 px")
    steps.page.get_by_role("button", name="Back to the picture").click()
    expect(hud).not_to_be_visible()


def test_what_a_step_added_is_another_picture(steps: StepsPage) -> None:
    steps.go_to(3)
    steps.expect_other_pixels(steps.picture, steps.picture.evaluate(BLANK))
    before = steps.pixels(steps.picture)
    shows = steps.page.get_by_role("group", name="What to show")
    shows.get_by_role("button", name="Added by this step").click()
    steps.expect_other_pixels(steps.picture, before)
    assert sum(round(share * 10) for share in steps.shares()) == 1000
    added = steps.pixels(steps.picture)
    shows.get_by_role("button", name="Still noisy").click()
    steps.expect_other_pixels(steps.picture, added)


def test_other_wavelets_and_numbers_of_bands(steps: StepsPage, run_id: str) -> None:
    panel = steps.split()
    panel.get_by_label("Wavelet").select_option("haar")
    expect(steps.page.get_by_role("button", name="haar, 5 bands")).to_be_visible()
    panel.get_by_role("group", name="Bands", exact=True).get_by_role("button", name="3").click()
    expect(steps.bands).to_have_count(3)
    steps.press("Escape")
    facts = steps.facts(run_id, wavelet="haar", levels=2)
    assert [band["label"] for band in facts["bands"]] == [
        text.strip() for text in steps.page.locator(".wb-band-name span").all_inner_texts()
    ]
    _, rows = steps.numbers()
    assert [[float(cell) for cell in row[2:]] for row in rows] == facts["energy"]["picture"]


def test_reload_finds_run_and_step_again(steps: StepsPage, run_id: str) -> None:
    steps.go_to(4)
    steps.page.wait_for_function("() => location.hash.endsWith('/3')")
    steps.page.reload()
    steps.expect_shown(run_id)
    steps.expect_step(4)


def test_another_tab_keeps_its_address_and_coming_back_its_run(steps: StepsPage, run_id: str) -> None:
    steps.go_to(2)
    steps.page.get_by_role("tab", name="Generate").click()
    steps.page.wait_for_function("() => location.hash === ''")
    steps.page.get_by_role("tab", name="Steps").click()
    steps.expect_shown(run_id)
    steps.expect_step(2)


def test_sheet_and_animation_are_downloaded(steps: StepsPage, run_id: str) -> None:
    shown = [steps.step_pixels(run_id, step) for step in range(STEPS)]
    side = len(shown[0])
    name, content = steps.download("Contact sheet")
    assert name == f"steps-{run_id}.png"
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    left, top = 12, 12  # the margin, and what is between the cells
    columns = (sheet.shape[1] - left) // (side + left)
    rows = -(-STEPS // columns)
    across, down = side + left, (sheet.shape[0] - top) // rows
    for step, pixels in enumerate(shown):
        y, x = top + step // columns * down, left + step % columns * across
        np.testing.assert_array_equal(sheet[y : y + side, x : x + side], pixels, err_msg=f"step {step + 1}")
    name, content = steps.download("Animation")
    assert name == f"steps-{run_id}.gif"
    film = Image.open(io.BytesIO(content))
    assert (film.format, getattr(film, "n_frames", 1), film.size) == ("GIF", STEPS, (side, side))
    for step, pixels in enumerate(shown):
        film.seek(step)
        assert np.abs(np.asarray(film.convert("RGB")).astype(float) - pixels).mean() < 12  # it has 256 colours


def test_runs_are_listed_and_text_of_a_person_stays_text(steps: StepsPage, studio: Studio) -> None:
    other = paint_run(studio.url, NASTY, steps=2)
    steps.title.click()
    picker = steps.page.get_by_role("dialog", name="Runs of this session")
    picker.get_by_role("button").filter(has_text="a lake ${window").first.click()
    steps.expect_shown(other)
    expect(steps.title).to_have_text(NASTY)
    steps.expect_step(2)
    assert steps.page.evaluate("window.harmed") is None
    assert steps.page.locator("img[src='x']").count() == 0


def test_without_a_run_the_page_says_what_to_do(studio: Studio, page: Page) -> None:
    page.route(re.compile(r"/studio/runs\?"), lambda route: route.fulfill(body=json.dumps({"runs": []})))
    page.goto(f"{studio.url}#steps")
    expect(page.get_by_role("heading", name="Make a picture and its steps appear here")).to_be_visible()
    page.get_by_role("button", name="Go to Generate").click()
    expect(page.locator("#wb-paint")).to_be_visible()


def test_a_run_that_is_gone_is_told_in_words(
    steps: StepsPage, studio: Studio, page: Page, expected_failures: list[str]
) -> None:
    expected_failures.append("404")
    page.goto("about:blank")
    page.goto(f"{studio.url}#steps/1000000000000-0123456789abcdef")
    expect(steps.notice).to_contain_text("no such run")
    steps.expect_shown()  # and another run is shown
    assert steps.shown_id() in [run["id"] for run in ask(studio.url, "runs")["runs"]]


def test_back_and_forward_lead_through_runs_and_tabs(steps: StepsPage, studio: Studio, run_id: str) -> None:
    other = paint_run(studio.url, "a field of flowers", steps=3, seed=9)
    page = steps.page
    page.goto("about:blank")
    page.goto(studio.url)
    page.get_by_role("tab", name="Steps").click()
    steps.expect_shown()
    page.evaluate("address => { location.hash = address; }", f"steps/{run_id}/2")  # an address that was typed
    steps.expect_shown(run_id)
    steps.expect_step(3)
    steps.title.click()
    page.get_by_role("dialog", name="Runs of this session").get_by_role(
        "button", name="a field of flowers"
    ).first.click()
    steps.expect_shown(other)
    page.go_back()
    steps.expect_shown(run_id)
    steps.expect_step(3)
    expect(steps.title).to_contain_text("a mountain lake at sunset")
    page.go_forward()
    steps.expect_shown(other)
    expect(steps.title).to_contain_text("a field of flowers")
    page.go_back()
    steps.expect_shown(run_id)
    steps.expect_step(3)
    page.go_back()
    steps.expect_step(STEPS)  # where it stood before the address was typed
    page.go_back()
    expect(page.locator("#wb-paint")).to_be_visible()  # the tab that was left for the Steps
    page.go_forward()
    expect(steps.sentence).to_be_visible()


def test_a_step_is_drawn_at_once_and_decoded_when_the_hand_rests(steps: StepsPage, run_id: str) -> None:
    page = steps.page
    steps.expect_other_pixels(steps.picture, steps.picture.evaluate(BLANK))
    held: list[Route] = []
    whole_step = re.compile(r"/steps/\d+\.png\?look=full")
    page.route(whole_step, lambda route: held.append(route))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    # within one task no hand rests: whatever lies between is not decoded
    page.evaluate(
        """keys => keys.forEach((key) => document.activeElement.dispatchEvent(
            new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })))""",
        ["Home", "ArrowRight", "ArrowRight", "ArrowRight"],
    )
    steps.expect_step(4)
    while not held:
        page.wait_for_timeout(20)
    small = steps.drawn(steps.picture).astype(float)
    whole = Image.open(io.BytesIO(steps.page.request.get(f"{steps.url}studio/runs/{run_id}/steps/3.png").body()))
    decoded = np.asarray(whole.convert("RGB"))
    assert 0 < np.abs(small - decoded).mean() < 40, "the linear preview: like it, and not it"
    for route in held:
        route.continue_()
    page.unroute(whole_step)
    page.wait_for_function(
        """async ([canvas, address]) => {
            const bitmap = await createImageBitmap(await (await fetch(address)).blob());
            const { width, height } = canvas;
            const other = Object.assign(document.createElement('canvas'), { width, height });
            other.getContext('2d').drawImage(bitmap, 0, 0);
            return other.toDataURL() === canvas.toDataURL();
        }""",
        arg=[
            steps.picture.element_handle(),
            f"{steps.url}studio/runs/{run_id}/steps/3.png?look=full&show=estimate&again=1",
        ],
    )
    steps.expect_drawn(steps.picture, decoded)
    decodes = {
        url.partition("/steps/")[2] for url in asked if re.search(r"/steps/\d+\.png\?look=full&show=estimate$", url)
    }
    assert decodes == {"3.png?look=full&show=estimate"}
    tiles = [url for url in asked if "/steps/3/bands.png" in url]
    looks = [re.findall(r"look=(fast|full)", url)[0] for url in tiles]
    assert looks.index("fast") < looks.index("full") if "fast" in looks else looks == ["full"]


def test_hover_reads_the_numbers_of_ribbon_and_curves(steps: StepsPage, run_id: str) -> None:
    facts = steps.facts(run_id)
    hint = steps.page.locator(".wb-hint-box")
    ribbon = steps.page.locator(".wb-moved-box").bounding_box()
    assert ribbon is not None
    column = ribbon["width"] / STEPS
    for step in (1, 5):
        steps.page.mouse.move(ribbon["x"] + (step + 0.5) * column, ribbon["y"] + ribbon["height"] - 2)  # the coarsest
        moved, arrived = facts["steps"][step]["moved"][0], facts["arrived"]["picture"][step][0]
        expect(hint).to_have_text(
            f"step {step + 1}, Composition: {moved:.1f} % of the change, {arrived:.0f} % of its final energy"
        )
    curve = steps.page.locator(".wb-curve")
    box = curve.bounding_box()
    assert box is not None
    steps.curve("Change")
    for band, label in enumerate(band["label"] for band in facts["bands"]):
        dot = steps.page.locator(".wb-curve circle").nth(band)
        place = dot.bounding_box()
        assert place is not None
        steps.page.mouse.move(place["x"] + place["width"] / 2 - 1, place["y"] + place["height"] / 2)
        expect(hint).to_contain_text(f"step {STEPS}, ")
        expect(hint).to_contain_text("of its final energy changed")
        words = hint.inner_text()
        named = next(k for k, other in enumerate(facts["bands"]) if f", {other['label']}: " in words)
        percent = 100 * facts["change"]["picture"][-1][named] / facts["energy"]["picture"][-1][named]
        assert float(words.partition(": ")[2].partition(" %")[0]) == pytest.approx(percent, rel=0.06, abs=0.06)
        assert (
            named == band
            or abs(facts["change"]["picture"][-1][named] / facts["energy"]["picture"][-1][named] - percent / 100)
            < 1e-9
        ), label


def test_contrast_of_greys_is_turned_up_with_the_unit_kept_true(steps: StepsPage, run_id: str) -> None:
    scale = steps.facts(run_id)["scale"]["picture"]
    unit = steps.page.locator(".wb-scale-unit")

    def expect_unit(values: list[float]) -> None:
        expected = [f"{v:.0f}" if v >= 10 else f"{v:.2g}" for v in (min(values), max(values))]
        shown = re.findall(r"±([\d.]+)", unit.inner_text())
        assert [float(figure) for figure in shown] == [float(figure) for figure in expected]
        assert unit.inner_text().endswith("of 255")

    expect_unit(scale["bands"][1:])
    grain = steps.bands.nth(4).locator("canvas")
    steps.expect_other_pixels(grain, grain.evaluate(BLANK))
    before = steps.pixels(grain)
    steps.page.get_by_role("button", name="Stronger contrast").click()
    expect_unit([value / 2 for value in scale["bands"][1:]])
    steps.expect_other_pixels(grain, before)
    steps.scrubber.focus()
    steps.press("+")
    expect_unit([value / 4 for value in scale["bands"][1:]])
    steps.press("-", "-")
    expect_unit(scale["bands"][1:])
    steps.page.get_by_role("group", name="What to show").get_by_role("button", name="Added by this step").click()
    expect_unit(scale["added"])
    expect(steps.page.locator(".wb-big-scale")).to_contain_text("of 255")
    told = float(steps.page.locator(".wb-big-scale").inner_text().split()[0][1:])
    assert told == pytest.approx(scale["whole"], rel=0.06)
    steps.go_to(STEPS - 1)
    steps.page.wait_for_timeout(600)
    greys = steps.drawn(steps.picture).astype(float)
    assert greys.std() > 8, "a late step's change can be seen"


def test_what_the_page_is_called_can_be_asked(steps: StepsPage) -> None:
    link = steps.page.locator("link[rel=manifest]").get_attribute("href")
    answer = steps.page.request.get(f"{steps.url.rstrip('/')}{link}")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/manifest+json")
    assert answer.json()["name"] == "wavebrush"
