"""Cropping on the Fill page: by mouse, fingers and keys, without losing what lies outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from axe_core import violations
from conftest import Studio
from fill_page import FillPage, landscape
from playwright.sync_api import Locator, Page, expect


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def bar(fill: FillPage) -> Locator:
    return fill.page.get_by_role("region", name="Crop", exact=True)


def sizes(fill: FillPage) -> list[int]:
    names = ("Width in pixels", "Height in pixels")
    return [int(bar(fill).get_by_role("spinbutton", name=name).input_value()) for name in names]


def handle(fill: FillPage, name: str) -> Locator:
    return fill.page.get_by_role("slider", name=name, exact=True)


def settle(fill: FillPage) -> None:
    """Until the picture has taken the room of the prompt bar."""
    expect(bar(fill)).to_be_visible()
    expect(fill.prompt).not_to_be_visible()
    for _ in range(4):
        fill.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done()))")


def begin(fill: FillPage) -> None:
    fill.tool("Crop")
    settle(fill)


def labels(fill: FillPage) -> list[str]:
    fill.page.get_by_role("button", name="Undo", exact=True).hover()
    return [
        str(fill.page.get_by_role("button", name=name, exact=True).get_attribute("title")) for name in ("Undo", "Redo")
    ]


def test_what_is_in_the_frame_becomes_the_picture_and_undo_brings_the_same_bytes_back(fill: FillPage) -> None:
    fill.open_picture(landscape(300, 200))
    fill.option("Feather", 0)
    fill.mask_rectangle(120, 60, 200, 140)
    before, mask, state = fill.flat(), fill.mask(), fill.state()
    fill.canvas.focus()
    fill.page.keyboard.press("Shift+C")
    settle(fill)
    assert sizes(fill) == [300, 200]
    expect(bar(fill).get_by_role("button", name="Apply")).to_be_disabled()
    fill.drag((80, 40), (230, 160))
    expect(handle(fill, "Top left corner")).to_have_attribute("aria-valuetext", "80, 40; 150 × 120 px")
    fill.drag((230, 160), (240, 150))
    fill.drag((100, 60), (110, 70))  # inside: the whole frame
    expect(handle(fill, "Top left corner")).to_have_attribute("aria-valuetext", "90, 50; 160 × 110 px")
    head = fill.head()
    np.testing.assert_array_equal(fill.flat(), before)  # nothing is done yet
    fill.page.keyboard.press("Enter")
    fill.expect_moved(head)
    expect(bar(fill)).not_to_be_visible()
    expect(fill.prompt).to_be_visible()
    cropped = fill.flat()
    np.testing.assert_array_equal(cropped, before[50:160, 90:250])
    np.testing.assert_array_equal(fill.mask(), mask[50:160, 90:250])
    assert fill.state()["layers"][0]["tiles"] == state["layers"][0]["tiles"]  # what lies beyond is still there
    assert labels(fill)[0] == "Undo: Crop"
    fill.undo()
    np.testing.assert_array_equal(fill.flat(), before)
    np.testing.assert_array_equal(fill.mask(), mask)
    assert {**fill.state(), "active": None} == {**state, "active": None}
    fill.redo()
    np.testing.assert_array_equal(fill.flat(), cropped)
    fill.open(fill.document)  # a reload
    np.testing.assert_array_equal(fill.flat(), cropped)
    begin(fill)  # outwards again, and all is there
    fill.drag((0, 0), (-90, -50))
    head = fill.head()
    bar(fill).get_by_role("button", name="Apply").click()
    fill.expect_moved(head)
    np.testing.assert_array_equal(fill.flat(), before[:160, :250])


def test_escape_and_cancel_let_go_and_another_tool_does(fill: FillPage) -> None:
    fill.open_picture(landscape(160, 120))
    fill.tool("Eraser")
    head = fill.head()
    leave = (
        lambda: fill.page.keyboard.press("Escape"),
        lambda: bar(fill).get_by_role("button", name="Cancel").click(),
        lambda: fill.tool("Eraser"),
    )
    for act in leave:
        begin(fill)
        fill.drag((30, 20), (120, 100))
        assert sizes(fill) == [90, 80]
        act()
        expect(bar(fill)).not_to_be_visible()
        eraser = fill.page.get_by_role("toolbar", name="Tools").get_by_role("button", name="Eraser")
        expect(eraser).to_have_attribute("aria-pressed", "true")
        expect(fill.prompt).to_be_visible()
    fill.expect_saved()
    assert fill.head() == head


def test_ratios_are_held_typed_sizes_too_and_x_turns_the_frame(fill: FillPage) -> None:
    fill.open_picture(landscape(320, 200))
    begin(fill)
    ratio = bar(fill).get_by_role("combobox", name="Ratio")
    for name, wanted in (("1:1", [200, 200]), ("4:3", [267, 200]), ("As it is", [320, 200])):
        ratio.select_option("Free")
        bar(fill).get_by_role("spinbutton", name="Width in pixels").fill("320")
        bar(fill).get_by_role("spinbutton", name="Height in pixels").fill("200")
        bar(fill).get_by_role("spinbutton", name="Height in pixels").press("Tab")
        ratio.select_option(name)
        assert sizes(fill) == wanted
    ratio.select_option("16:9")
    assert sizes(fill) == [320, 180]
    bar(fill).get_by_role("spinbutton", name="Width in pixels").fill("160")
    bar(fill).get_by_role("spinbutton", name="Width in pixels").press("Tab")
    assert sizes(fill) == [160, 90]
    fill.canvas.focus()
    fill.page.keyboard.press("x")
    assert sizes(fill) == [90, 160]
    fill.drag((205, 180), (240, 188))  # its bottom right corner
    width, height = sizes(fill)
    assert height > 160
    assert abs(width - height * 9 / 16) <= 1
    height_field = bar(fill).get_by_role("spinbutton", name="Height in pixels")
    for typed, kept in (("9000", 4096), ("0", 1)):
        ratio.select_option("Free")
        height_field.fill(typed)
        height_field.press("Tab")
        assert sizes(fill)[1] == (kept if typed == "9000" else 4096)  # nothing is no size
    fill.page.keyboard.press("Escape")


def test_the_frame_by_keyboard_alone_with_names_for_every_handle(fill: FillPage, axe: Path) -> None:
    fill.open_picture(landscape(200, 160))
    fill.canvas.focus()
    fill.page.keyboard.press("Shift+C")
    expect(bar(fill)).to_be_visible()
    assert violations(fill.page, axe, ".wb-fill") == []
    names = ["Crop frame", "Top left corner", "Top edge", "Top right corner", "Right edge", "Bottom right corner"]
    for name in names:
        fill.page.keyboard.press("Tab")
        expect(handle(fill, name)).to_be_focused()
    for _ in range(3):
        fill.page.keyboard.press("Shift+ArrowLeft")
    fill.page.keyboard.press("ArrowUp")
    expect(handle(fill, "Bottom right corner")).to_have_attribute("aria-valuetext", "170, 159; 170 × 159 px")
    for _ in range(4):
        fill.page.keyboard.press("Shift+Tab")
    expect(handle(fill, "Top left corner")).to_be_focused()
    for key in ("Shift+ArrowRight", "ArrowRight", "ArrowDown"):
        fill.page.keyboard.press(key)
    expect(handle(fill, "Top left corner")).to_have_attribute("aria-valuetext", "11, 1; 159 × 158 px")
    fill.page.keyboard.press("Shift+Tab")
    expect(handle(fill, "Crop frame")).to_be_focused()
    fill.page.keyboard.press("ArrowRight")
    before, head = fill.flat(), fill.head()
    fill.page.keyboard.press("Enter")
    fill.expect_moved(head)
    np.testing.assert_array_equal(fill.flat(), before[1:159, 12:171])
    expect(fill.canvas).to_be_focused()


def test_a_finger_crops_on_a_phone(fill: FillPage) -> None:
    fill.page.set_viewport_size({"width": 390, "height": 844})
    fill.open_picture(landscape(256, 256))
    begin(fill)
    room = bar(fill).bounding_box()
    assert room is not None
    assert room["x"] >= 0 and room["x"] + room["width"] <= 390
    cdp = fill.page.context.new_cdp_session(fill.page)

    def touch(kind: str, *fingers: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(fingers)]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def pull(start: tuple[float, float], end: tuple[float, float], off: float = 0) -> None:
        (x, y), (u, v) = fill.place(*start), fill.place(*end)
        touch("touchStart", (x + off, y + off))
        touch("touchMove", ((x + u) / 2, (y + v) / 2))
        touch("touchMove", (u, v))
        touch("touchEnd")

    pull((256, 256), (160, 180), off=-12)  # a finger need not hit it
    assert sizes(fill) == [160, 180]
    pull((0, 90), (40, 90), off=10)
    assert sizes(fill) == [120, 180]
    pull((100, 90), (110, 120))
    expect(handle(fill, "Top left corner")).to_have_attribute("aria-valuetext", "50, 30; 120 × 180 px")
    frame, place = sizes(fill), fill.place(0, 0)
    left, right = fill.place(90, 120), fill.place(130, 120)
    touch("touchStart", left)
    touch("touchStart", left, right)
    touch("touchMove", (left[0] - 20, left[1]), (right[0] + 20, right[1]))
    touch("touchEnd")
    assert sizes(fill) == frame  # two fingers look closer
    assert fill.place(0, 0) != place
    corner = fill.place(170, 210)
    touch("touchStart", corner)
    touch("touchMove", fill.place(174, 214))
    touch("touchStart", fill.place(174, 214), fill.place(120, 120))  # a second finger lets the handle go
    touch("touchEnd")
    assert sizes(fill) == [124, 184]
    pull((174, 214), (170, 210))
    assert sizes(fill) == [120, 180]
    before, head = fill.flat(), fill.head()
    bar(fill).get_by_role("button", name="Apply").click()
    fill.expect_moved(head)
    np.testing.assert_array_equal(fill.flat(), before[30:210, 50:170])


def test_nothing_is_cropped_while_variations_wait_for_a_choice(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(30, 30, 80, 80)
    fill.settle_for(steps=2)
    fill.fill("a pond")
    fill.page.get_by_role("toolbar", name="Tools").get_by_role("button", name="Crop").click()
    expect(fill.notice).to_contain_text("Keep a variation or discard them first.")
    expect(bar(fill)).not_to_be_visible()
    fill.keep()
    layer = fill.state()["layers"][-1]
    begin(fill)
    fill.drag((20, 20), (108, 118))
    before, head = fill.flat(), fill.head()
    fill.page.keyboard.press("Enter")
    fill.expect_moved(head)
    np.testing.assert_array_equal(fill.flat(), before[20:118, 20:108])
    moved = fill.state()["layers"][-1]
    assert (moved["x"], moved["y"]) == (layer["x"] - 20, layer["y"] - 20)
    frame, was = moved["facts"]["frame"], layer["facts"]["frame"]
    assert (frame["x"], frame["y"]) == (was["x"] - 20, was["y"] - 20)


@pytest.mark.parametrize("width", [390, 360])
def test_all_settings_of_a_tool_are_within_reach_on_a_phone(fill: FillPage, width: int) -> None:
    fill.page.set_viewport_size({"width": width, "height": 844})
    fill.open_picture(landscape())
    fill.mask_rectangle(30, 30, 80, 80)
    fill.tool("Brush")
    fill.target("Paint")
    more = fill.page.get_by_role("button", name="More of this tool")
    expect(more).to_be_in_viewport(ratio=0.95)  # its edge may lie on half a pixel
    more.click()
    panel = fill.page.get_by_role("dialog", name="More of this tool")
    inside = panel.get_by_role("button", name="Inside the mask only")
    expect(inside).to_be_in_viewport(ratio=1)
    expect(inside).to_have_text("Inside the mask only")
    inside.click()
    expect(inside).to_have_attribute("aria-pressed", "true")
    for name in ("Hardness", "Opacity", "Flow"):
        expect(panel.get_by_role("slider", name=name, exact=True)).to_be_in_viewport(ratio=1)
    fill.page.keyboard.press("Escape")
    before, head = fill.flat(), fill.head()
    fill.drag((10, 55), (120, 55))
    fill.expect_moved(head)
    changed = (fill.flat() != before).any(axis=2)
    assert changed.any()
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 30 and rows.max() < 80 and columns.min() >= 30 and columns.max() < 80
    fill.tool("Wand")
    more.click()
    expect(panel.get_by_role("combobox", name="With the mask that is there")).to_be_in_viewport(ratio=1)
    fill.page.set_viewport_size({"width": 1440, "height": 900})
    row = fill.page.get_by_role("group", name="Tool and view")
    expect(row.get_by_role("combobox", name="With the mask that is there")).to_be_visible()  # and back in the row
