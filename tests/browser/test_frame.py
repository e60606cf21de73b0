"""The page around the job: text stays text, the theme is remembered, phones have room, keys and names are there."""

from __future__ import annotations

import pytest
from generate_page import LARGE, GeneratePage
from playwright.sync_api import expect

NASTY = (
    "a lake ${window.harmed = 3} {{constructor}} `tick` "
    '<img src=x onerror="window.harmed = 1"> <script>window.harmed = 2</script>'
)


def test_prompt_that_looks_like_code_renders_as_text(generate: GeneratePage) -> None:
    generate.paint(NASTY, steps=2)
    generate.expect_result()
    expect(generate.page.locator(".wb-words-of")).to_have_text(NASTY)
    expect(generate.picture).to_have_attribute("alt", NASTY)
    generate.page.reload()
    generate.wait_until_ready()
    expect(generate.page.locator(".wb-words-of")).to_have_text(NASTY)
    expect(generate.prompt).to_have_value(NASTY)
    assert generate.page.evaluate("window.harmed") is None
    assert generate.page.locator("img[src='x']").count() == 0


def test_prompt_from_a_strangers_png_renders_as_text(generate: GeneratePage) -> None:
    generate.set_seed(3)
    generate.paint(NASTY, steps=2)
    generate.expect_result()
    content = generate.picture_bytes()
    generate.prompt.fill("")
    generate.drop(content, "<img src=x onerror=alert(1)>.png")
    expect(generate.prompt).to_have_value(NASTY)
    assert generate.page.evaluate("window.harmed") is None


def test_page_follows_the_system_until_the_person_chooses(generate: GeneratePage) -> None:
    body = generate.page.locator("body")
    dark, light = "rgb(22, 22, 22)", "rgb(236, 236, 236)"
    expect(body).to_have_css("background-color", dark)
    generate.page.emulate_media(color_scheme="light")
    expect(generate.page.get_by_role("button", name="Switch to dark")).to_be_visible()
    expect(body).to_have_css("background-color", light)
    generate.page.emulate_media(color_scheme="dark")
    generate.page.get_by_role("button", name="Switch to light").click()
    expect(body).to_have_css("background-color", light)
    generate.page.reload()
    generate.wait_until_ready()
    expect(generate.page.get_by_role("button", name="Switch to dark")).to_be_visible()
    expect(body).to_have_css("background-color", light)


def test_help_lists_the_keys_and_the_chip_tells_of_the_model(generate: GeneratePage) -> None:
    generate.page.locator(".wb-stage").click(position={"x": 5, "y": 5})
    generate.page.keyboard.press("?")
    keys = generate.page.get_by_role("dialog", name="Keys and help")
    expect(keys).to_be_visible()
    expect(keys).to_contain_text("look through the pictures")
    expect(keys).to_contain_text("In the Gallery")
    generate.page.keyboard.press("Escape")
    expect(keys).not_to_be_visible()
    generate.page.locator("#wb-model").click()
    expect(generate.page.get_by_role("dialog", name="The model")).to_contain_text("DPM++ 2M")


def test_grey_around_the_picture_can_be_chosen_and_is_remembered(generate: GeneratePage) -> None:
    stage = generate.page.locator(".wb-stage")
    expect(stage).to_have_css("background-color", "rgb(43, 43, 43)")
    generate.page.get_by_role("button", name="Keys and help").click()
    generate.page.get_by_role("button", name="Light", exact=True).click()
    expect(stage).to_have_css("background-color", "rgb(205, 205, 205)")
    generate.page.reload()
    generate.wait_until_ready()
    expect(stage).to_have_css("background-color", "rgb(205, 205, 205)")


@pytest.mark.parametrize(
    "size", [(390, 844), (820, 1180), (1024, 600), (1440, 900), (3840, 2160)], ids=lambda size: f"{size[0]}"
)
def test_nothing_scrolls_sideways(generate: GeneratePage, size: tuple[int, int]) -> None:
    generate.page.set_viewport_size({"width": size[0], "height": size[1]})
    generate.paint("a waterfall", steps=2, count=1)
    generate.expect_result()
    generate.eventually(lambda: _overhang(generate), 0)
    generate.show_examples()
    generate.eventually(lambda: _overhang(generate), 0)


def _overhang(generate: GeneratePage) -> int:
    return int(generate.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_phone_shows_settings_in_a_line_that_opens(generate: GeneratePage) -> None:
    generate.page.set_viewport_size({"width": 390, "height": 844})
    steps = generate.page.locator("#wb-steps")
    expect(steps).not_to_be_visible()
    line = generate.page.locator("#wb-more button")
    expect(line).to_contain_text("Steps ")
    line.click()
    expect(steps).to_be_visible()
    expect(line).to_have_attribute("aria-expanded", "true")


@pytest.mark.parametrize("size", [(390, 844), (1440, 900)], ids=lambda size: f"{size[0]}")
def test_picture_and_paint_button_fit_the_window(generate: GeneratePage, size: tuple[int, int]) -> None:
    generate.page.set_viewport_size({"width": size[0], "height": size[1]})
    generate.paint_button.scroll_into_view_if_needed()
    generate.set_size(LARGE)
    generate.page.keyboard.press("Control+Enter")
    generate.expect_running()

    def fits() -> bool:
        box = generate.page.locator(".wb-work .wb-frame").bounding_box()
        assert box is not None
        inside = box["y"] >= 0 and box["y"] + box["height"] <= size[1]
        return inside and box["width"] == pytest.approx(box["height"], abs=1)

    generate.eventually(fits, True)


def test_every_control_has_a_name(generate: GeneratePage) -> None:
    generate.paint("hills", steps=2)
    generate.expect_result()
    nameless = """() => [...document.querySelectorAll("button, input, textarea, a[href]")]
            .filter((element) => element.checkVisibility() && !element.closest("[aria-hidden=true]"))
            .filter((element) => !(element.getAttribute("aria-label") || element.title || element.textContent.trim()
                || element.labels?.length || element.placeholder))
            .map((element) => element.outerHTML)"""
    generate.eventually(lambda: generate.page.evaluate(nameless), [])
