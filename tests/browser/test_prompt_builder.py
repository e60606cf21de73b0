"""Help with words for models that know more than the bundled one; and lists and words to leave out that are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import Studio, start_studio
from generate_page import GeneratePage
from playwright.sync_api import Locator, Page, expect
from test_prompts import open_panel
from tiny_models import save_tiny

LAKE = "mountain lake, 50mm lens, serene"
WRITING = "text, watermark, signature, logo, frame, border"
FAULTS = "blurry, low quality, jpeg artifacts, noise, oversaturated"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that was started with a model of the Stable Diffusion family."""
    folder = tmp_path_factory.mktemp("general")
    running = start_studio(folder, options=("--model", str(save_tiny("sd", folder / "tiny"))))
    yield running
    running.stop()


def _left_out(generate: GeneratePage) -> Locator:
    return generate.page.locator("#wb-negative textarea")


def _pressed(generate: GeneratePage, category: str, phrase: str, prompt: str) -> None:
    generate.press_chip(category, phrase)
    expect(generate.prompt).to_have_value(prompt)


def test_a_prompt_is_built_of_parts_that_change_alone_and_survive_a_reload(tiny: Studio, page: Page) -> None:
    generate = GeneratePage(page, tiny.url)
    generate.open()
    expect(page.locator("#wb-chips").get_by_role("tab")).to_have_text(
        ["Subject", "Shot", "Light", "Camera", "Lens", "Style", "Mood", "Colour"]
    )
    _pressed(generate, "Mood", "serene", "serene")
    _pressed(generate, "Lens", "50mm lens", "50mm lens, serene")
    _pressed(generate, "Subject", "mountain lake", LAKE)  # in their order, whatever was pressed first
    _pressed(generate, "Lens", "macro lens", LAKE.replace("50mm", "macro"))
    expect(generate.chip("Lens", "50mm lens")).not_to_be_checked()

    panel = open_panel(generate, "Elements")
    expect(panel).not_to_contain_text("Painter knows")
    expect(panel.get_by_role("switch")).to_have_count(3)
    panel.get_by_role("combobox", name="Lens").select_option("fisheye lens")
    expect(generate.prompt).to_have_value("mountain lake, fisheye lens, serene")
    panel.get_by_role("switch", name="serene, in the prompt").uncheck()
    expect(generate.prompt).to_have_value("mountain lake, fisheye lens")
    expect(generate.chip("Mood", "serene")).not_to_be_checked()

    panel = open_panel(generate, "Styles and lists")
    panel.get_by_role("button", name="Writing", exact=True).click()
    expect(_left_out(generate)).to_have_value(WRITING)
    panel.get_by_role("button", name="Faults of pictures", exact=True).click()
    panel.get_by_role("button", name="Writing", exact=True).click()
    expect(_left_out(generate)).to_have_value(f"{WRITING}, {FAULTS}")

    page.reload()
    generate.wait_until_ready()
    expect(generate.prompt).to_have_value("mountain lake, fisheye lens")
    expect(_left_out(generate)).to_have_value(f"{WRITING}, {FAULTS}")
    expect(generate.chip("Lens", "fisheye lens")).to_be_checked()
    generate.paint(steps=2)
    generate.expect_result()
    painted = generate.session()["pictures"][0]["request"]
    assert (painted["prompt"], painted["negative_prompt"]) == ("mountain lake, fisheye lens", f"{WRITING}, {FAULTS}")
    mood = open_panel(generate, "Elements").get_by_role("switch", name="serene, in the prompt")
    expect(mood).not_to_be_checked()
    mood.check()
    expect(generate.prompt).to_have_value("mountain lake, fisheye lens, serene")


def test_a_part_changes_alone_in_a_sentence_of_somebodys_own(tiny: Studio, page: Page) -> None:
    generate = GeneratePage(page, tiny.url)
    generate.open()
    generate.prompt.fill("an oil painting of my grandmother's house at dusk, 35mm lens")
    _pressed(generate, "Style", "gouache", "a gouache of my grandmother's house at dusk, 35mm lens")
    _pressed(generate, "Light", "moonlight", "a gouache of my grandmother's house at dusk, 35mm lens, moonlight")
    open_panel(generate, "Elements").get_by_role("combobox", name="Lens").select_option("deep focus")
    expect(generate.prompt).to_have_value("a gouache of my grandmother's house at dusk, deep focus, moonlight")
    generate.chip("Style", "gouache").click()
    expect(generate.prompt).to_have_value("my grandmother's house at dusk, deep focus, moonlight")


def test_a_list_is_kept_pressed_and_painted(generate: GeneratePage) -> None:
    generate.set_seed(5)
    generate.prompt.fill("a lake at night")
    panel = open_panel(generate, "Styles and lists")
    panel.get_by_role("textbox", name="Entries, one per line").fill("castle\n\n  boat \n{red|green} house")
    panel.get_by_role("textbox", name="Name, such as trees").fill("trees")
    panel.get_by_role("button", name="Save the list").click()
    expect(panel.get_by_role("status")).to_contain_text("“trees” is kept.")
    panel.get_by_role("button", name="__trees__", exact=True).click()
    expect(generate.prompt).to_have_value("a lake at night, __trees__")
    notes = generate.page.locator(".wb-help-notes")
    expect(notes).to_contain_text(re.compile("At this seed: (castle|boat|(red|green) house)"))
    generate.paint(steps=2)
    generate.expect_result()
    prompt = generate.session()["pictures"][0]["request"]["prompt"]
    assert re.fullmatch("a lake at night, (castle|boat|(red|green) house)", prompt)
    assert prompt.rpartition(", ")[2].split()[0] in notes.inner_text()
    panel.get_by_role("button", name="Delete trees").click()
    expect(panel.get_by_role("button", name="__trees__", exact=True)).to_have_count(0)
    generate.prompt.fill("a lake, __trees__")
    expect(notes.locator(".bad")).to_contain_text("There is no list 'trees'.")


def test_words_to_leave_out_are_kept_used_and_deleted(generate: GeneratePage) -> None:
    left_out = _left_out(generate)
    panel = open_panel(generate, "Styles and lists")
    expect(panel).to_contain_text("Words to leave out, kept under a name.")
    expect(panel.get_by_role("button", name="Writing", exact=True)).to_have_count(0)  # of which this model knows none
    panel.get_by_role("button", name="Save what is left out").click()
    expect(panel.get_by_role("status")).to_contain_text("Give it a name first.")
    left_out.fill("fog, rain")
    panel.get_by_role("textbox", name="Name of the words").fill("Wet <b>days</b>")
    panel.get_by_role("button", name="Save what is left out").click()
    words = panel.get_by_role("button", name="Wet <b>days</b>", exact=True)
    expect(words).to_be_visible()
    left_out.fill("people")
    words.click()
    expect(left_out).to_have_value("people, fog, rain")
    words.click()
    expect(left_out).to_have_value("people, fog, rain")
    panel.get_by_role("button", name="Undo").click()
    panel.get_by_role("button", name="Delete Wet <b>days</b>").click()
    expect(words).to_have_count(0)
    generate.page.reload()
    generate.wait_until_ready()
    expect(left_out).to_have_value("people, fog, rain")
    expect(open_panel(generate, "Styles and lists")).to_contain_text("Words to leave out, kept under a name.")
