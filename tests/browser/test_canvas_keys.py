"""The canvas by keyboard: its cursor, its keys, its focus, and the names that a screen reader finds."""

from __future__ import annotations

from canvas_page import CanvasPage
from playwright.sync_api import expect

RED = "#ff0000"


def test_a_mask_by_keyboard_alone(canvas: CanvasPage) -> None:
    canvas.page.get_by_role("button", name="Elsewhere").focus()
    canvas.page.keyboard.press("Shift+Tab")
    expect(canvas.room).to_be_focused()
    canvas.press("m", "e", "b")
    assert canvas.ask("() => [canvas.tool, canvas.target]") == ["brush", "mask"]
    canvas.ask("() => canvas.set({ size: 20, hardness: 100 })")
    expect(canvas.page.locator(".wb-canvas-cursor")).to_be_visible()
    for _ in range(8):
        canvas.press("Shift+ArrowLeft", "Shift+ArrowUp")
    canvas.press("ArrowRight", "ArrowRight", "ArrowDown")
    canvas.expect_words("Cursor 50, 49. Mask 0 pixels.")
    canvas.page.keyboard.down(" ")
    for _ in range(6):
        canvas.press("Shift+ArrowRight")
    canvas.page.keyboard.up(" ")
    assert canvas.masked(52, 49) == 255
    assert canvas.masked(108, 49) == 255
    assert canvas.masked(52, 90) == 0
    canvas.expect_words(f"Cursor 110, 49. Mask {canvas.count():,} pixels.")
    assert canvas.count() > 1200
    canvas.press("r", "Enter", "Shift+ArrowDown", "Shift+ArrowRight", "Enter")
    assert canvas.labels() == ["New", "Mask brush", "Mask rectangle"]
    canvas.press("Control+z", "Control+z")
    assert canvas.count() == 0
    canvas.press("Control+Shift+Z", "Delete")
    assert canvas.labels() == ["New", "Mask brush", "Cleared the mask"]
    assert canvas.count() == 0


def test_keys_choose_tools_sizes_and_zoom_only_while_the_canvas_has_the_focus(canvas: CanvasPage) -> None:
    tools = {"v": "move", "b": "brush", "e": "eraser", "l": "lasso", "w": "wand", "i": "picker", "g": "fill"}
    canvas.room.focus()
    for key, tool in tools.items():
        canvas.press(key)
        assert canvas.ask("() => canvas.tool") == tool
    canvas.ask("() => canvas.set({ size: 100, hardness: 50 })")
    canvas.press("]")
    assert canvas.ask("() => canvas.settings.size") == 120
    canvas.press("[", "[")
    assert canvas.ask("() => canvas.settings.size") == 83
    canvas.press("Shift+BracketRight")
    assert canvas.ask("() => canvas.settings.hardness") == 60
    canvas.press("Shift+BracketLeft", "Shift+BracketLeft")
    assert canvas.ask("() => canvas.settings.hardness") == 40
    canvas.press("1")
    assert canvas.ask("() => canvas.view.zoom") == 1
    canvas.press("+")
    assert canvas.ask("() => canvas.view.zoom") == 1.25
    canvas.page.get_by_role("button", name="Elsewhere").focus()
    canvas.press("e", "]", "0")
    assert canvas.ask("() => [canvas.tool, canvas.settings.size, canvas.view.zoom]") == ["fill", 83, 1.25]


def test_the_question_mark_lists_every_key(canvas: CanvasPage) -> None:
    canvas.room.focus()
    canvas.press("?")
    dialog = canvas.page.get_by_role("dialog", name="Keys of the canvas")
    expect(dialog).to_be_visible()
    for words in ("Brush", "Swap the two colours", "Redo", "Move the keyboard's cursor (Shift: farther)"):
        expect(dialog.get_by_text(words, exact=True)).to_be_attached()
    canvas.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_mouse_that_is_moved_takes_the_cursor_from_the_keyboard(canvas: CanvasPage) -> None:
    canvas.take("brush", size=20, color=RED)
    canvas.page.mouse.move(*canvas.at(100, 100))
    canvas.room.focus()
    for key in ("ArrowLeft", "ArrowDown"):
        start = canvas.at(128, 128)
        canvas.press(key)
        canvas.page.mouse.move(*canvas.at(120, 120), steps=3)
        canvas.page.keyboard.down(" ")
        canvas.drag((120, 120), (140, 120))
        canvas.page.keyboard.up(" ")
        assert canvas.at(128, 128)[0] > start[0] + 10
        assert canvas.labels() == ["New"]
    canvas.press("ArrowLeft")
    canvas.page.keyboard.down(" ")  # who does not touch the mouse draws
    canvas.press("Shift+ArrowLeft")
    canvas.page.mouse.move(*canvas.at(60, 60), steps=3)  # a stroke that is being drawn goes on
    canvas.press("Shift+ArrowLeft")
    canvas.page.keyboard.up(" ")
    assert canvas.labels() == ["New", "Brush"]


def test_a_script_that_gives_the_focus_after_a_click_leaves_the_mouse_its_cursor(canvas: CanvasPage) -> None:
    canvas.ask(
        """() => document.querySelector('#foot button').addEventListener('click', ({ target }) => {
            target.blur(); // as a button that hides after its click
            canvas.focus();
        })"""
    )
    canvas.page.get_by_role("button", name="Elsewhere").click()
    expect(canvas.room).to_be_focused()
    canvas.page.keyboard.press(" ")
    assert canvas.labels() == ["New"]
    canvas.page.get_by_role("button", name="Elsewhere").focus()
    canvas.press("Enter")
    expect(canvas.room).to_be_focused()
    expect(canvas.page.locator(".wb-canvas-cursor")).to_be_visible()


def test_a_ring_tells_a_keyboards_focus_and_not_a_mouses(canvas: CanvasPage) -> None:
    ring = "() => getComputedStyle(canvas.element, '::after').content !== 'none'"
    canvas.click(60, 60)
    expect(canvas.room).to_be_focused()
    assert not canvas.ask(ring)
    canvas.press("ArrowLeft")
    assert canvas.ask(ring)
    canvas.click(60, 60)
    assert not canvas.ask(ring)
    canvas.page.get_by_role("button", name="Elsewhere").focus()
    canvas.press("Shift+Tab")
    expect(canvas.room).to_be_focused()
    assert canvas.ask(ring)


def test_every_tool_has_a_name_and_the_toolbar_is_one_stop_of_the_tab_key(canvas: CanvasPage) -> None:
    bar = canvas.page.get_by_role("toolbar", name="Tools")
    names = bar.get_by_role("button").evaluate_all("(all) => all.map((each) => each.getAttribute('aria-label'))")
    assert names == canvas.ask("() => TOOLS.map(({ label }) => label)")
    assert bar.locator("[tabindex='0']").count() == 1
    canvas.page.get_by_role("button", name="Elsewhere").focus()
    canvas.press("Tab")
    expect(bar.get_by_role("button", name="Brush")).to_be_focused()
    canvas.press("ArrowRight", "Enter")
    assert canvas.ask("() => canvas.tool") == "eraser"
    expect(bar.get_by_role("button", name="Eraser")).to_have_attribute("aria-pressed", "true")
    canvas.press("End")
    expect(bar.get_by_role("button", name="Clone")).to_be_focused()
