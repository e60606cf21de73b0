"""Seeing a run: step by step, band by band, with numbers that are the library's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Studio
from generate_page import GeneratePage
from playwright.sync_api import Page, expect
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


def test_sheet_and_animation_are_downloaded(steps: StepsPage) -> None:
    name, content = steps.download("Contact sheet")
    assert name.endswith(".png")
    assert content.startswith(b"\x89PNG")
    name, content = steps.download("Animation")
    assert name.endswith(".gif")
    assert content.startswith(b"GIF8")


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
    page.goto(f"{studio.url}#steps")  # the same document: the address alone opens nothing
    page.goto("about:blank")
    page.goto(f"{studio.url}#steps/1000000000000-0123456789abcdef")
    expect(steps.notice).to_contain_text("no such run")
    steps.expect_shown()  # and another run is shown
    assert steps.shown_id() in [run["id"] for run in ask(studio.url, "runs")["runs"]]
