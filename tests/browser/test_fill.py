"""Generative fill in the page: paint a mask with the mouse, say what should be there, keep one. What was not masked is
compared byte by byte here, from what the server keeps, and not taken from the page."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import Studio
from fill_page import SLOW, FillPage, Pixels, ask, fetch, landscape, painted, png_of, read_png, same_outside
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def test_mask_is_painted_erased_and_selected_and_the_page_says_what_can_change(fill: FillPage) -> None:
    fill.open_picture(landscape())
    expect(fill.button).to_have_text(re.compile("Paint a mask first"))
    expect(fill.button).to_have_attribute("aria-disabled", "true")
    fill.option("Feather", 0)
    fill.option("Size", 20)
    fill.drag((30, 40), (80, 40))
    fill.eventually(lambda: fill.masked() > 800)
    brushed = fill.masked()
    expect(fill.button).to_have_text(re.compile(f"Fill {brushed:,} px"))
    expect(fill.badge).to_have_text(f"{brushed:,} pixels will change, {128 * 128 - brushed:,} cannot")
    fill.tool("Eraser")
    fill.drag((30, 40), (45, 40))
    fill.eventually(lambda: 0 < fill.masked() < brushed)
    left = fill.masked()
    fill.tool("Lasso")
    fill.drag((90, 80), (120, 80), (120, 110), (90, 110), (90, 82))
    fill.eventually(lambda: fill.masked() > left + 700)
    assert int((fill.mask() > 0).sum()) == fill.masked()


def test_wand_takes_what_has_one_colour(fill: FillPage) -> None:
    picture = np.full((96, 96, 3), 40, np.uint8)
    picture[20:60, 30:80] = (200, 30, 30)
    fill.open_picture(picture)
    fill.option("Feather", 0)
    fill.tool("Wand")
    fill.click(50, 40)
    fill.eventually(lambda: fill.masked() == 40 * 50)
    assert (fill.mask() > 0)[20:60, 30:80].all()


def test_feather_and_grow_are_set_apart(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.option("Feather", 0)
    fill.mask_rectangle(40, 40, 80, 80)
    square = fill.masked()
    fill.option("Grow", 6)
    fill.eventually(lambda: fill.masked() > square)
    grown = fill.masked()
    fill.option("Feather", 8)
    fill.expect_saved()
    state = fill.state()["mask"]
    assert (state["grow"], state["feather"]) == (6, 8)
    assert fill.masked() == grown  # feathering goes inward: what can change does not grow


def bright(pixels: Pixels, region: Pixels) -> NDArray[np.bool_]:
    """Where a region is brighter by 50 of 255 than the mean of the 6 px around it."""
    lightness = pixels[..., :3].mean(axis=2)
    around = grown(region, 6) & (region == 0)
    return (region > 0) & (lightness > lightness[around].mean() + 50)


def grown(region: Pixels, by: int) -> NDArray[np.bool_]:
    """A rectangle and what lies within so many px of it."""
    rows, columns = np.nonzero(region)
    made = np.zeros(region.shape, bool)
    made[max(0, rows.min() - by) : rows.max() + by + 1, max(0, columns.min() - by) : columns.max() + by + 1] = True
    return made


@pytest.mark.parametrize(
    ("prompt", "scene", "box", "seed"),
    [
        ("a lighthouse", "a matte painting of a rocky coast at sunset", (14, 10, 60, 84), 11),
        ("a full moon", "a flat illustration of hills at night under a clear sky", (70, 8, 112, 50), 15),
    ],
    ids=["lighthouse", "moon"],
)
def test_fill_changes_the_masked_part_and_not_one_byte_besides(
    fill: FillPage, studio: Studio, prompt: str, scene: str, box: tuple[int, int, int, int], seed: int
) -> None:
    _, picture = painted(studio.url, scene)
    fill.open_picture(picture)
    before = fill.flat()
    fill.mask_rectangle(*box)
    fill.settle_for(steps=8, variations=1, seed=seed)
    fill.fill(prompt)
    fill.keep()
    after = fill.flat()
    region = fill.mask() > 0
    assert same_outside(before, after, region)
    assert (before != after)[region].any(axis=1).mean() > 0.5  # something else stands there now
    if "moon" in prompt:
        assert not bright(before, fill.mask()).any()
        rows, columns = np.nonzero(bright(after, fill.mask()))
        assert 0.03 < len(rows) / region.sum() < 0.5  # a disc of a tenth of the square's area, and not the whole sky
        assert max(rows.std(), columns.std()) < 8  # px: in one place
    expect(fill.badge).to_have_text(f"{int((~region).sum()):,} pixels untouched, 0 changed")
    expect(fill.layers.first).to_contain_text(prompt.capitalize())
    fill.undo()
    assert (fill.flat() == before).all()
    fill.redo()
    assert (fill.flat() == after).all()


def test_two_variations_stand_beside_what_was_there_and_one_is_kept(fill: FillPage) -> None:
    fill.open_picture(landscape())
    before = fill.flat()
    fill.mask_rectangle(30, 30, 90, 90)
    fill.settle_for(variations=2, seed=5)
    fill.fill("a red barn")
    expect(fill.variations).to_have_count(3)
    expect(fill.variations.first).to_have_text(re.compile("Before"))
    fill.variations.first.click()
    expect(fill.keep_button).to_be_disabled()  # Before is there already
    fill.variations.nth(2).click()
    expect(fill.variations.nth(2)).to_have_attribute("aria-pressed", "true")
    assert (fill.flat() == before).all()  # looking changes nothing
    fill.keep()
    facts = fill.state()["layers"][-1]["facts"]
    assert facts["fill"]["painting"]["seed"] == 6  # the second of the seeds 5 and 6
    expect(fill.variations).to_have_count(0)


def test_discarded_variations_leave_nothing(fill: FillPage) -> None:
    fill.open_picture(landscape())
    before = fill.flat()
    fill.mask_rectangle(30, 30, 90, 90)
    fill.settle_for()
    fill.fill("a pond")
    fill.page.get_by_role("button", name="Discard all").click()
    expect(fill.variations).to_have_count(0)
    expect(fill.layers).to_have_count(1)
    assert (fill.flat() == before).all()
    expect(fill.button).to_contain_text("Fill ")


def test_kept_fill_gives_its_request_back_and_runs_again_to_the_same_bytes(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(20, 20, 80, 70)
    fill.settle_for(seed=21)
    fill.fill("a lighthouse")
    fill.keep()
    first = fill.flat()
    fill.page.locator(".wb-layer-pick").last.click()
    fill.prompt.fill("something else")
    fill.page.locator(".wb-layer-pick").first.click()
    expect(fill.prompt).to_have_value("a lighthouse")
    expect(fill.button).to_contain_text("Run again")
    expect(fill.page.get_by_role("button", name="Open its steps")).to_be_visible()
    fill.fill()
    fill.keep()
    expect(fill.layers).to_have_count(3)  # the one before is hidden below it
    assert [layer["visible"] for layer in fill.state()["layers"]] == [True, False, True]
    again = fill.flat()
    assert (again == first).all()


def test_remove_needs_no_words(fill: FillPage) -> None:
    picture = landscape()
    picture[50:70, 50:70] = 255
    fill.open_picture(picture)
    before = fill.flat()
    fill.mask_rectangle(44, 44, 76, 76)
    fill.intent("Remove")
    expect(fill.prompt).to_be_disabled()
    expect(fill.button).to_contain_text(f"Remove {fill.masked():,} px")
    fill.settle_for()
    fill.fill()
    fill.keep()
    after = fill.flat()
    assert same_outside(before, after, fill.mask())
    there = after[50:70, 50:70, :3].reshape(-1, 3).mean(axis=0)
    around = before[grown(fill.mask(), 8) & (fill.mask() == 0)][:, :3].mean(axis=0)
    assert np.linalg.norm(there - around) < 0.6 * np.linalg.norm(
        there - 255
    )  # as what is around, and not as what was there


def test_expand_to_the_right_by_half(fill: FillPage) -> None:
    fill.open_picture(landscape(128, 96))
    before = fill.flat()
    fill.intent("Expand")
    expect(fill.button).to_have_attribute("aria-disabled", "true")
    fill.page.get_by_role("button", name="50 % right").click()
    expect(fill.button).to_contain_text("Expand to 192 × 96")
    fill.settle_for()
    fill.fill("hills")
    assert fill.flat().shape == (96, 128, 4)  # larger only once it is kept
    fill.keep()
    after = fill.flat()
    assert after.shape == (96, 192, 4)
    overlap = 12  # an eighth of the shorter side, at most 16
    assert (after[:, : 128 - overlap] == before[:, : 128 - overlap]).all()
    assert (after[..., 3] == 255).all()
    fill.undo()
    assert (fill.flat() == before).all()


def test_expand_by_dragging_the_frame(fill: FillPage) -> None:
    fill.open_picture(landscape(96, 96))
    fill.intent("Expand")
    fill.page.wait_for_timeout(300)  # the view has settled on the frame
    fill.drag((96, 96), (128, 120))
    fill.eventually(lambda: "Expand to" in fill.button.inner_text())
    found = re.search(r"Expand to (\d+) × (\d+)", fill.button.inner_text())
    assert found is not None
    assert int(found[1]) > 110
    assert int(found[2]) > 105


def test_ten_fills_in_a_row_keep_the_first_untouched_region(fill: FillPage) -> None:
    fill.open_picture(landscape(192, 128))
    before = fill.flat()
    flats = [before]
    touched = np.zeros(before.shape[:2], bool)
    fill.settle_for(steps=2)
    for number in range(10):
        x, y = 8 + (number % 5) * 36, 8 + (number // 5) * 60
        if number:
            fill.page.get_by_role("button", name="Clear", exact=True).click()
            fill.eventually(lambda: fill.masked() == 0)
        fill.mask_rectangle(x, y, x + 30, y + 40)
        touched |= fill.mask() > 0
        fill.fill("flowers")
        fill.keep()
        flats.append(fill.flat())
    after = flats[-1]
    assert not touched.all()
    assert same_outside(before, after, touched)
    expect(fill.layers).to_have_count(11)
    for number in reversed(range(10)):
        fill.undo()
        assert (fill.flat() == flats[number]).all()
        for _ in range(2 if number else 1):  # the rectangle, and the mask before it
            fill.undo()
    expect(fill.layers).to_have_count(1)
    assert fill.masked() == 0
    expect(fill.page.get_by_role("button", name="Undo", exact=True)).to_be_disabled()
    for number in range(10):
        for _ in range(2 if number else 1):
            fill.redo()
        assert (fill.flat() == flats[number]).all()
        fill.redo()
        assert (fill.flat() == flats[number + 1]).all()


def test_refine_starts_late_and_the_slider_says_how_late(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(20, 20, 100, 100)
    fill.settle_for(steps=10)
    start = fill.page.get_by_role("slider", name="Start from step")
    expect(start).to_have_value("1")
    fill.intent("Refine")
    expect(start).to_have_value("6")
    fill.option("Start from step", 9)
    fill.fill("meadow")
    fill.keep()
    assert fill.state()["layers"][-1]["facts"]["fill"]["start"] == 8


def test_reload_during_a_fill_finds_it_again(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(20, 20, 100, 100)
    fill.settle_for(steps=50, variations=4)
    fill.prompt.fill("a lake")
    fill.button.click()
    expect(fill.page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    fill.page.reload()
    fill.expect_open()
    expect(fill.variations).to_have_count(5, timeout=SLOW)
    stop = fill.page.get_by_role("button", name="Stop", exact=True)
    if stop.is_visible():
        fill.variations.nth(1).locator("canvas").wait_for(timeout=SLOW)
        stop.click()
    fill.expect_variations()
    fill.keep()
    expect(fill.layers).to_have_count(2)


def test_a_stopped_variation_says_that_it_is_unfinished(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(20, 20, 100, 100)
    fill.settle_for(steps=50, variations=2)
    fill.prompt.fill("a lake")
    fill.button.click()
    expect(fill.page.locator(".wb-fill-run")).to_contain_text(re.compile(r"step ([5-9]|[1-4]\d) of 50"), timeout=SLOW)
    fill.page.get_by_role("button", name="Stop", exact=True).click()
    fill.expect_variations()
    early = fill.page.get_by_role("button", name=re.compile(r"^Variation \d, stopped at step \d+ of 50$"))
    expect(early).to_have_count(1)
    expect(early).to_contain_text("unfinished")


def test_empty_prompt_is_asked_for_in_words(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(20, 20, 60, 60)
    fill.prompt.fill("")
    fill.button.click()
    expect(fill.page.locator(".wb-prompt-bar .wb-error")).to_contain_text("Say what should be there")
    expect(fill.prompt).to_be_focused()


def test_words_that_the_model_does_not_know_are_named_and_replaced(fill: FillPage) -> None:
    fill.open_picture(landscape(64, 64))
    fill.prompt.fill("a lighthuse on a cliff")
    hint = fill.page.locator(".wb-fill-words")
    expect(hint).to_contain_text("does not know lighthuse")
    hint.get_by_role("button").first.click()
    expect(fill.prompt).not_to_have_value("a lighthuse on a cliff")
    expect(fill.prompt).to_have_value(re.compile("on a cliff$"))


def test_large_picture_is_filled_and_kept_to_the_byte(fill: FillPage) -> None:
    fill.open_picture(landscape(1100, 700))
    before = fill.flat()
    fill.mask_rectangle(500, 300, 700, 420)
    fill.settle_for(steps=2)
    fill.fill("a pond")
    fill.keep()
    assert same_outside(before, fill.flat(), fill.mask())


def test_mask_over_everything_is_filled_too(fill: FillPage) -> None:
    fill.open_picture(landscape(64, 64))
    fill.menu(fill.page.get_by_role("button", name="More on the mask"), "Select everything")
    fill.eventually(lambda: fill.masked() == 64 * 64)
    fill.settle_for()
    fill.fill("a field")
    fill.keep()
    expect(fill.badge).to_have_text("0 pixels untouched, 0 changed")


def test_server_refuses_a_fill_without_a_mask_in_words(studio: Studio) -> None:
    source = ask(studio.url, "pixels", png_of(landscape(64, 64)))["id"]
    mask = ask(studio.url, "pixels", png_of(np.zeros((64, 64), np.uint8)))["id"]
    with pytest.raises(AssertionError, match="mask"):
        ask(
            studio.url, "fills", {"source": source, "mask": mask, "count": 1, "request": {"painting": {"prompt": "a"}}}
        )


def test_mask_and_fill_by_keyboard_alone(fill: FillPage) -> None:
    fill.open_picture(landscape(64, 64))
    fill.settle_for(steps=2)
    keyboard = fill.page.keyboard
    fill.canvas.focus()
    keyboard.press("b")
    for _ in range(3):
        keyboard.press("]")
    for _ in range(4):
        keyboard.press("ArrowRight")
    keyboard.down(" ")
    for _ in range(8):
        keyboard.press("ArrowDown")
    keyboard.up(" ")
    fill.eventually(lambda: fill.masked() > 0)
    for _ in range(40):
        keyboard.press("Tab")
        if fill.prompt.evaluate("field => field === document.activeElement"):
            break
    expect(fill.prompt).to_be_focused()
    keyboard.type("a rock")
    keyboard.press("Enter")
    fill.expect_variations()
    keyboard.press("Control+Enter")
    expect(fill.layers).to_have_count(2)
    fill.expect_saved()
    fill.canvas.focus()
    keyboard.press("Control+z")
    expect(fill.layers).to_have_count(1)


def test_its_steps_open_from_the_layer(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(20, 20, 100, 100)
    fill.settle_for()
    fill.fill("a lake")
    fill.keep()
    run = fill.state()["layers"][-1]["facts"]["run"]
    fill.page.locator(".wb-layer-pick").first.click()
    fill.page.get_by_role("button", name="Open its steps").click()
    fill.page.wait_for_function("id => location.hash.startsWith(`#steps/${id}`)", arg=run, timeout=SLOW)


def test_saved_masks_come_back_and_travel_as_files(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(10, 10, 50, 50)
    painted_mask = fill.mask()
    fill.page.get_by_role("region", name="Mask", exact=True).get_by_role("button", name="Save", exact=True).click()
    fill.page.get_by_role("textbox", name="Save the mask as").fill("Corner")
    fill.page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    more = fill.page.get_by_role("button", name="More on the mask")
    name, content = fill.download(lambda: fill.menu(more, "Save the mask as PNG"))
    assert name.endswith(".png")
    assert (read_png(content) == painted_mask).all()
    fill.page.get_by_role("button", name="Clear", exact=True).click()
    fill.eventually(lambda: fill.masked() == 0)
    fill.menu(more, "Corner")
    fill.eventually(lambda: fill.masked() > 0)
    assert (fill.mask() == painted_mask).all()
    fill.page.get_by_role("button", name="Clear", exact=True).click()
    fill.eventually(lambda: fill.masked() == 0)
    with fill.page.expect_file_chooser() as chooser:
        fill.menu(more, "Open a mask from a file")
    chooser.value.set_files({"name": "mask.png", "mimeType": "image/png", "buffer": content})
    fill.eventually(lambda: fill.masked() > 0)
    assert (fill.mask() == painted_mask).all()


def test_painting_over_a_region_and_refining_it_is_one_flow(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.page.get_by_role("button", name="Add a layer").click()
    expect(fill.layers).to_have_count(2)
    fill.target("Paint")
    fill.option("Size", 30)
    fill.drag((40, 60), (90, 60))
    fill.expect_saved()
    before = fill.flat()
    assert (before != read_png(fetch(fill.url, f"documents/{fill.document}/flat.png?node={_first(fill)}"))).any()
    fill.mask_rectangle(30, 35, 100, 90)
    fill.intent("Refine")
    fill.settle_for(steps=6)
    fill.fill("a red roof")
    fill.keep()
    assert same_outside(before, fill.flat(), fill.mask())


def _first(fill: FillPage) -> str:
    return str(ask(fill.url, f"documents/{fill.document}")["history"][0]["id"])


def test_picture_with_holes_is_shown_and_saved_as_it_is(fill: FillPage) -> None:
    pixels = np.dstack([landscape(80, 80), np.tile(np.arange(80, dtype=np.uint8), (80, 1))])
    pixels[pixels[..., 3] == 0] = 0
    fill.open_picture(Image.fromarray(pixels, "RGBA"))
    assert (fill.flat() == pixels).all()
