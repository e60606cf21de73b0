"""Help with words, as a person uses it: weights, wildcards, elements, what a word did, styles, dropped pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import Studio, start_studio
from generate_page import GeneratePage
from playwright.sync_api import Locator, Page, expect
from tiny_poet import save_poet

from studio.diffusion.strengths import Strengths
from studio.imaging.png import REQUEST_KEY, write_png
from studio.requests import TextToImage

GREY = np.full((16, 16, 3), 128, np.uint8)


def open_panel(generate: GeneratePage, name: str) -> Locator:
    turn = generate.page.get_by_role("button", name=name, exact=True)
    if turn.get_attribute("aria-expanded") == "false":
        turn.click()
    panel = generate.page.locator(f"#{turn.get_attribute('aria-controls')}")
    expect(panel).to_be_visible()
    return panel


def test_help_is_folded_away_until_asked_for(generate: GeneratePage) -> None:
    expect(generate.page.get_by_role("button", name="Elements", exact=True)).to_have_attribute(
        "aria-expanded", "false"
    )
    expect(generate.page.locator(".wb-help-panel:visible")).to_have_count(0)
    open_panel(generate, "Elements")
    open_panel(generate, "Styles and lists")
    expect(generate.page.locator(".wb-help-panel:visible")).to_have_count(1)


def test_tokens_are_counted_and_what_is_beyond_the_limit_is_named(generate: GeneratePage) -> None:
    generate.prompt.fill("a mountain lake")
    meter = generate.page.locator(".wb-tokens")
    expect(meter).to_have_text(re.compile(r"^\d of 38 tokens$"))
    generate.prompt.fill("a mountain lake " * 15 + "<b>castle</b>")
    expect(meter).to_have_class(re.compile("over"))
    notes = generate.page.locator(".wb-help-notes")
    expect(notes).to_contain_text("Beyond the limit, not read:")
    expect(notes).to_contain_text("<b>castle</b>")


def test_weights_and_wildcards_are_read_back_and_painted(generate: GeneratePage) -> None:
    generate.set_seed(5)
    generate.prompt.fill("a (castle:1.3) {at night|at dawn}")
    notes = generate.page.locator(".wb-help-notes")
    expect(notes).to_contain_text("Weighs castle 1.3 ×")
    expect(notes).to_contain_text(re.compile("At this seed: at (night|dawn)"))
    chosen = re.search(r"at (night|dawn)", notes.inner_text())
    assert chosen is not None
    generate.paint(steps=2)
    generate.expect_result()
    expect(generate.page.locator(".wb-words-of")).to_have_text(f"a (castle:1.3) {chosen[0]}")
    _, content = generate.download()
    generate.prompt.fill("something else")
    generate.drop(content)
    expect(generate.prompt).to_have_value("a (castle:1.3) {at night|at dawn}")
    generate.press(generate.paint_button)
    generate.expect_result()
    assert generate.picture_bytes() == content


def test_a_list_that_is_not_there_is_said_while_it_is_typed(generate: GeneratePage) -> None:
    generate.prompt.fill("__nowhere__ at night")
    expect(generate.page.locator(".wb-help-notes .bad")).to_contain_text("There is no list 'nowhere'.")


def test_dropped_picture_brings_every_setting_back(generate: GeneratePage) -> None:
    request = TextToImage(
        "hills at dawn",
        negative_prompt="snow",
        width=192,
        height=128,
        num_inference_steps=60,
        guidance_scale=17.5,
        solver="Heun",
        seed=123456,
        correction=Strengths.low(0.02),
    )
    note = {"format": 1, "request": request.to_dict()}
    generate.drop(write_png(GREY, {REQUEST_KEY: json.dumps(note)}))
    expect(generate.prompt).to_have_value("hills at dawn")
    page = generate.page
    expect(page.locator("#wb-negative textarea")).to_have_value("snow")
    expect(page.locator("#wb-size input")).to_have_value("192 × 128")
    expect(page.locator("#wb-steps input[type=number]")).to_have_value("60")
    expect(page.locator("#wb-guidance input[type=number]")).to_have_value("17.5")
    expect(page.locator("#wb-solver input")).to_have_value("Heun")
    expect(page.locator("#wb-seed input")).to_have_value("123456")
    carried = page.locator(".wb-carried")
    expect(carried).to_contain_text("Correction +0.020, +0.000 (haar)")
    page.reload()
    generate.wait_until_ready()
    expect(carried).to_contain_text("+0.020")
    generate.set_size("64 × 64")
    generate.set_steps(2)
    generate.press(generate.paint_button)
    generate.expect_result()
    painted = generate.session()["pictures"][0]["request"]
    assert painted["correction"] == Strengths.low(0.02).to_dict()
    assert (painted["guidance_scale"], painted["solver"], painted["seed"]) == (17.5, "Heun", 123456)
    carried.get_by_role("button", name="Leave out").click()
    expect(carried).to_have_count(0)


def test_a_strangers_picture_says_what_it_could_not_use(generate: GeneratePage) -> None:
    evil = "<img src=x onerror=\"document.title='taken'\"> ${alert(1)} {{7*7}}"
    settings = "Steps: 12, Sampler: DPM++ 2M Karras, CFG scale: 6, Seed: 9, Size: 512x768, Clip skip: 2"
    text = f"a lake, {evil}\nNegative prompt: fog\n{settings}, Model: {evil}"
    title = generate.page.title()
    generate.drop(write_png(GREY, {"parameters": text}))
    expect(generate.prompt).to_have_value(re.compile("^a lake, <img src=x onerror"))
    expect(generate.page.locator("#wb-negative textarea")).to_have_value("fog")
    expect(generate.page.locator("#wb-seed input")).to_have_value("9")
    notice = generate.notice
    expect(notice).to_contain_text("as far as they go")
    for words in ("Karras", "clip skip 2", "512 × 768", "another picture"):
        expect(notice).to_contain_text(words)
    expect(notice.locator("img")).to_have_count(0)
    assert generate.page.title() == title
    notice.get_by_role("button", name="Close").click()
    expect(notice).to_have_count(0)


def test_elements_are_switched_changed_and_survive_a_reload(generate: GeneratePage) -> None:
    generate.prompt.fill("an oil painting of a mountain lake at sunset")
    panel = open_panel(generate, "Elements")
    dusk = panel.get_by_role("switch", name="at sunset, in the prompt")
    expect(panel.get_by_role("switch")).to_have_count(3)
    dusk.uncheck()
    expect(generate.prompt).to_have_value("an oil painting of a mountain lake")
    panel.get_by_role("combobox", name="Style").select_option("pixel art")
    expect(generate.prompt).to_have_value("a pixel art of a mountain lake")
    generate.page.reload()
    generate.wait_until_ready()
    expect(generate.prompt).to_have_value("a pixel art of a mountain lake")
    panel = open_panel(generate, "Elements")
    panel.get_by_role("switch", name="at sunset, in the prompt").check()
    expect(generate.prompt).to_have_value("a pixel art of a mountain lake at sunset")


def test_what_a_word_did_is_shown_with_its_bands(generate: GeneratePage) -> None:
    generate.set_steps(3)
    generate.set_seed(11)
    generate.prompt.fill("a mountain lake at sunset")
    open_panel(generate, "Elements").get_by_role("button", name="What does “at sunset” do?").click()
    view = generate.page.locator(".wb-effect")
    expect(view.locator(".wb-effect-says")).to_have_text(
        re.compile(r"^“at sunset” changed \d+ % of the picture\. \d+ % of that is "), timeout=240_000
    )
    expect(view.locator("figure img")).to_have_count(3)
    expect(view.locator(".wb-effect-bands dt")).to_have_count(5)
    for image in view.locator("figure img").all():
        assert image.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") == 128
    view.get_by_role("button", name="Leave it out").click()
    expect(generate.prompt).to_have_value("a mountain lake")
    generate.page.reload()
    generate.wait_until_ready()
    expect(view.locator(".wb-effect-bands dt")).to_have_count(5)
    first, second = (picture["request"] for picture in generate.session()["pictures"][:2])
    assert {first["prompt"], second["prompt"]} == {"a mountain lake at sunset", "a mountain lake"}
    assert first["seed"] == second["seed"] == 11


def test_styles_are_kept_used_deleted_and_put_back(generate: GeneratePage) -> None:
    generate.prompt.fill("{prompt}, pastel drawing")
    generate.set_steps(9)
    panel = open_panel(generate, "Styles and lists")
    name = panel.get_by_role("textbox", name="Name of the style")
    name.fill("Soft <i>chalk</i>")
    panel.get_by_role("button", name="Save the form as a style").click()
    style = panel.get_by_role("button", name="Soft <i>chalk</i>", exact=True)
    expect(style).to_be_visible()
    generate.page.reload()
    generate.wait_until_ready()
    generate.prompt.fill("a lake")
    generate.set_steps(4)
    panel = open_panel(generate, "Styles and lists")
    style.click()
    expect(generate.prompt).to_have_value("a lake, pastel drawing")
    expect(generate.page.locator("#wb-steps input[type=number]")).to_have_value("9")
    panel.get_by_role("button", name="Undo").click()
    expect(generate.prompt).to_have_value("a lake")
    panel.get_by_role("button", name="Delete Soft <i>chalk</i>").click()
    expect(style).to_have_count(0)
    panel.get_by_role("button", name="Undo").click()
    expect(style).to_be_visible()
    panel.get_by_role("button", name="Delete Soft <i>chalk</i>").click()
    expect(style).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1280])
def test_help_fits_the_window(generate: GeneratePage, width: int) -> None:
    generate.page.set_viewport_size({"width": width, "height": 844})
    generate.prompt.fill("an oil painting of a mountain lake at sunset, " + "unbroken" * 20)
    for panel in ("Elements", "Styles and lists"):
        open_panel(generate, panel)
        overflow = generate.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0


# -- richer words from a local language model -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def poet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that was started with a tiny language model."""
    folder = tmp_path_factory.mktemp("enriched")
    running = start_studio(folder, options=("--rewriter", str(save_poet(folder / "poet"))))
    yield running
    running.stop()


def test_without_a_language_model_nothing_is_offered(generate: GeneratePage, expected_failures: list[str]) -> None:
    expect(generate.page.get_by_role("button", name="Elements", exact=True)).to_be_visible()
    expect(generate.page.get_by_role("button", name="Enrich", exact=True)).to_have_count(0)
    expected_failures.append("404")
    answer = generate.page.request.post(f"{generate.url}studio/rewrite", data={"prompt": "a lake"})
    assert answer.status == 404
    assert "--rewriter" in answer.json()["error"]


def test_richer_words_are_proposed_changed_used_and_taken_back(poet: Studio, page: Page) -> None:
    generate = GeneratePage(page, poet.url)
    generate.open()
    proposed = page.request.post(f"{poet.url}studio/rewrite", data={"prompt": "a lake"}).json()["text"].strip()
    assert proposed
    assert proposed != "a lake"
    generate.prompt.fill("a lake")
    expect(page.get_by_role("button", name="Enrich", exact=True)).to_have_attribute("aria-expanded", "false")
    panel = open_panel(generate, "Enrich")
    expect(panel).to_contain_text("poet runs on this computer. Nothing is painted before you have read its words.")
    words = panel.get_by_role("textbox", name="Proposed prompt")
    expect(words).not_to_be_visible()
    panel.get_by_role("button", name="Propose richer words").click()
    expect(words).to_have_value(proposed)
    expect(words).to_be_focused()
    expect(generate.prompt).to_have_value("a lake")
    words.fill("a wide lake, as I want it")
    panel.get_by_role("button", name="Use these words").click()
    expect(generate.prompt).to_have_value("a wide lake, as I want it")
    expect(panel.get_by_role("status")).to_have_text("The words are in the prompt.")
    panel.get_by_role("button", name="Undo").click()
    expect(generate.prompt).to_have_value("a lake")
    assert generate.session()["pictures"] == []
    assert generate.session()["jobs"] == []


def test_what_the_language_model_cannot_do_is_said_in_its_panel(
    poet: Studio, page: Page, expected_failures: list[str]
) -> None:
    generate = GeneratePage(page, poet.url)
    generate.open()
    generate.prompt.fill(" ")
    panel = open_panel(generate, "Enrich")
    expected_failures.append("422")
    panel.get_by_role("button", name="Propose richer words").click()
    expect(panel.get_by_role("status")).to_contain_text("a few words first")
    generate.prompt.fill("a lake")
    panel.get_by_role("button", name="Propose richer words").click()
    expect(panel.get_by_role("textbox", name="Proposed prompt")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
