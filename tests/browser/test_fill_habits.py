"""What people bring along from other programs: keys, the Space bar, handles and layers that do what a hand expects."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Studio
from fill_page import FillPage, landscape, same_outside
from playwright.sync_api import Page, expect

BRICK = (0xC2, 0x3A, 0x2B)  # the colour that a fresh page paints with


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def test_smudge_and_clone_change_the_picture_at_once(fill: FillPage) -> None:
    fill.open_picture(landscape())
    before = fill.flat()
    head = fill.head()
    fill.tool("Smudge")
    expect(fill.page.get_by_role("radio", name="Mask", exact=True)).not_to_be_visible()
    fill.drag((30, 60), (90, 60))
    fill.expect_moved(head)
    smudged = fill.flat()
    assert (smudged != before).any()
    head = fill.head()
    fill.tool("Clone")
    fill.page.keyboard.down("Alt")
    fill.click(30, 30)
    fill.page.keyboard.up("Alt")
    fill.drag((90, 100), (94, 100))
    fill.expect_moved(head)
    cloned = fill.flat()
    assert (cloned[100, 90, :3] == before[30, 30, :3]).all()
    assert fill.masked() == 0
    assert not fill.mask().any()


def test_letters_choose_tools_after_a_click_beside_the_canvas_but_not_on_the_way_by_tab(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.tool("Brush")
    keys = fill.page.keyboard
    fill.page.get_by_role("button", name="History").click()
    keys.press("Escape")  # the focus is on the button again
    keys.press("e")
    fill.expect_tool("Eraser")
    fill.page.get_by_role("slider", name="Feather").click()
    keys.press("Shift+C")
    fill.expect_tool("Crop")
    keys.press("Escape")
    fill.expect_tool("Eraser")
    fill.prompt.click()
    keys.type("boat")
    expect(fill.prompt).to_have_value("boat")
    fill.expect_tool("Eraser")
    keys.press("Tab")  # on a button, by keyboard
    keys.press("w")
    fill.expect_tool("Eraser")


def test_paint_can_be_kept_inside_of_the_mask_without_looking_for_it(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.option("Feather", 0)
    before = fill.flat()
    inside = fill.page.get_by_role("button", name="Inside the mask only")
    fill.tool("Brush")
    fill.target("Paint")
    expect(inside).not_to_be_visible()  # there is no mask
    fill.mask_rectangle(20, 20, 60, 60)
    expect(inside).not_to_be_visible()  # a mask needs no mask
    fill.tool("Brush")
    fill.target("Paint")
    inside.click()
    expect(inside).to_have_attribute("aria-pressed", "true")
    head = fill.head()
    fill.option("Size", 30)
    fill.drag((10, 40), (110, 40))
    fill.expect_moved(head)
    after = fill.flat()
    region = fill.mask() > 0
    assert (after[40, 40, :3] == BRICK).all()
    assert same_outside(before, after, region)


def test_layer_is_moved_kept_and_taken_back(fill: FillPage) -> None:
    fill.open_picture(landscape())
    ground = fill.flat()
    fill.page.get_by_role("button", name="Add a layer").click()
    expect(fill.layers).to_have_count(2)
    head = fill.head()
    fill.tool("Rectangle")
    fill.target("Paint")
    fill.drag((16, 20), (56, 44))
    fill.expect_moved(head)
    before = fill.flat()
    head = fill.head()
    fill.canvas.focus()
    fill.page.keyboard.press("v")
    expect(fill.page.get_by_role("button", name="Move the layer")).to_have_attribute("aria-pressed", "true")
    fill.drag((30, 30), (50, 40))
    fill.expect_moved(head)
    moved = ground.copy()
    moved[30:54, 36:76, :3] = BRICK
    assert (fill.flat() == moved).all()
    fill.undo()
    assert (fill.flat() == before).all()
    fill.redo()
    fill.page.reload()
    fill.expect_open()
    assert (fill.flat() == moved).all()
    fill.tool("Move the layer")
    fill.canvas.focus()
    for key in ("Shift+ArrowRight", "ArrowUp", "ArrowUp", "ArrowLeft"):
        fill.page.keyboard.press(key)
    layer = fill.state()["layers"][-1]
    assert (layer["x"], layer["y"]) == (29, 8)


def test_pushes_that_were_not_saved_yet_survive_a_reload(fill: FillPage, expected_failures: list[str]) -> None:
    expected_failures.append("ERR_FAILED")
    fill.open_picture(landscape())
    fill.tool("Move the layer")
    fill.canvas.focus()
    nodes = "**/studio/documents/*/nodes"
    fill.page.route(nodes, lambda route: route.abort())
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown"):
        fill.page.keyboard.press(key)
    fill.page.unroute(nodes)
    fill.page.reload()
    fill.expect_open()
    layer = fill.state()["layers"][0]
    assert (layer["x"], layer["y"]) == (2, 10)
    flat = fill.flat()
    assert (flat[10:, 2:, :3] == landscape()[:-10, :-2]).all()
    assert (flat[:10] == 0).all()


def test_strokes_begin_in_the_pictures_corner_and_pan_drags_the_frame(fill: FillPage) -> None:
    fill.open_picture(landscape())
    around = fill.page.get_by_role("region", name="Around the mask")
    fill.mask_rectangle(30, 30, 80, 80)
    expect(around).to_contain_text("128 × 128 px, automatic")  # the frame is the whole picture
    fill.tool("Brush")
    fill.target("Mask")
    head = fill.head()
    fill.drag((0, 0), (20, 20))
    fill.expect_moved(head)
    assert fill.mask()[4, 4] == 255
    expect(around).to_contain_text("128 × 128 px, automatic")
    fill.tool("Pan")
    fill.drag((128, 128), (100, 110))
    expect(around).to_contain_text("100 × 110 px, drawn")
    before = fill.flat()
    fill.settle_for(steps=2)
    fill.fill("a pond")
    fill.keep()
    facts = fill.state()["layers"][-1]["facts"]
    assert facts["fill"]["context"] == {"x": 0, "y": 0, "width": 100, "height": 110}
    assert same_outside(before, fill.flat(), fill.mask() > 0)
    # the hand that kept it with the mouse pans with Space, and a key on the way changes nothing of that
    fill.tool("Brush")
    fill.canvas.focus()
    head, place = fill.head(), fill.place(64, 64)
    fill.page.keyboard.press("ArrowLeft")
    fill.page.mouse.move(*fill.place(60, 60), steps=3)
    fill.page.keyboard.down(" ")
    fill.drag((60, 60), (70, 60))
    fill.page.keyboard.up(" ")
    assert fill.place(64, 64)[0] > place[0] + 5
    fill.expect_saved()
    assert fill.head() == head


def test_fill_that_was_moved_is_run_again_where_it_lies(fill: FillPage) -> None:
    fill.open_picture(landscape())
    ground = fill.flat()
    fill.option("Feather", 0)
    fill.mask_rectangle(10, 20, 50, 60)
    fill.settle_for(steps=2)
    fill.fill("a pond")
    fill.keep()
    head = fill.head()
    fill.page.locator(".wb-layer-pick").first.click()
    fill.tool("Move the layer")
    fill.drag((30, 40), (90, 50))
    fill.expect_moved(head)
    moved = fill.state()["layers"][-1]
    assert moved["x"] > 60 and moved["y"] > 25
    expect(fill.button).to_contain_text("Run again")
    fill.fill()
    fill.keep()
    changed = (fill.flat() != ground).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), columns.min()) == (moved["y"], moved["x"])
    assert (rows.max(), columns.max()) == (moved["y"] + 39, moved["x"] + 39)


def test_usual_keys_mask_everything_nothing_and_the_rest_wherever_the_focus_is(fill: FillPage) -> None:
    fill.open_picture(landscape())
    for place in (fill.canvas, fill.page.get_by_role("tab", name="Fill", exact=True), fill.layers.first):
        place.evaluate("element => (document.activeElement.blur(), element.focus())")
        fill.page.keyboard.press("Control+a")
        fill.eventually(lambda: fill.masked() == 128 * 128)
        fill.page.keyboard.press("Control+Shift+I")
        fill.eventually(lambda: fill.masked() == 0)
        fill.page.keyboard.press("Control+a")
        fill.eventually(lambda: fill.masked() == 128 * 128)
        fill.page.keyboard.press("Control+d")
        fill.eventually(lambda: fill.masked() == 0)
    fill.prompt.fill("a pond")
    fill.prompt.press("Control+a")
    fill.prompt.press("Delete")
    expect(fill.prompt).to_have_value("")  # a field keeps its keys
    fill.expect_saved()
    assert not fill.mask().any()


def test_saving_says_that_it_is_done_already(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.page.evaluate("addEventListener('keydown', (event) => (window.taken = [event.key, event.defaultPrevented]))")
    fill.drag((30, 40), (80, 40))
    fill.page.keyboard.press("Control+s")
    expect(fill.notice).to_contain_text("Everything is saved.")
    assert fill.page.evaluate("window.taken") == ["s", True]  # so the browser asks nothing
    assert np.count_nonzero(fill.mask()) > 0
    fill.page.get_by_role("tab", name="Generate", exact=True).click()
    expect(fill.room).not_to_be_visible()
    fill.page.evaluate("document.activeElement.blur()")
    fill.page.keyboard.press("Control+d")
    fill.page.keyboard.press("Control+s")
    assert fill.page.evaluate("window.taken") == ["s", False]
    assert np.count_nonzero(fill.mask()) > 0
