"""The canvas under a hand: mouse, pen, fingers and keys do what a person expects, and undo takes it all back."""

from __future__ import annotations

import base64

import pytest
from canvas_page import CanvasPage, Pixel
from conftest import Studio
from playwright.sync_api import Page, expect

RED = "#ff0000"
BLUE = "#0000ff"


@pytest.fixture
def canvas(studio: Studio, page: Page) -> CanvasPage:
    opened = CanvasPage(page, studio.url)
    opened.open()
    return opened


def test_a_stroke_paints_where_the_mouse_went_and_is_seen_at_once(canvas: CanvasPage) -> None:
    canvas.take("brush", size=20, hardness=100, color=RED)
    canvas.drag((40, 60), (160, 60), up=False)
    canvas.settle()
    assert canvas.seen(80, 60)[:3] == (255, 0, 0)
    assert canvas.labels() == ["New"]  # it is no entry yet
    canvas.page.mouse.up()
    assert canvas.pixel(80, 60) == Pixel(255, 0, 0, 255)
    assert canvas.pixel(150, 66) == Pixel(255, 0, 0, 255)
    assert canvas.pixel(80, 80).alpha == 0
    assert canvas.labels() == ["New", "Brush"]


def test_mask_and_paint_are_kept_apart_and_the_eraser_takes_a_part_away(canvas: CanvasPage) -> None:
    canvas.take("brush", "mask", size=40, hardness=100)
    canvas.drag((60, 128), (200, 128))
    painted = canvas.count()
    assert 40 * 140 < painted < 40 * 190
    assert canvas.pixel(128, 128).alpha == 0
    canvas.take("eraser", "mask", size=40)
    canvas.drag((128, 90), (128, 170))
    assert canvas.masked(128, 128) == 0
    assert canvas.masked(80, 128) == 255
    assert canvas.count() < painted
    canvas.take("brush", "paint", size=40, color=RED)
    canvas.drag((60, 40), (200, 40))
    canvas.take("eraser", "paint", size=20)
    canvas.drag((128, 10), (128, 70))
    assert canvas.pixel(128, 40).alpha == 0
    assert canvas.pixel(80, 40) == Pixel(255, 0, 0, 255)
    assert canvas.masked(80, 128) == 255
    assert canvas.labels() == ["New", "Mask brush", "Mask eraser", "Brush", "Eraser"]


def test_the_mask_is_seen_where_it_acts(canvas: CanvasPage) -> None:
    hatched = """([x, y]) => {
        const shown = document.querySelector('.wb-canvas-hatch');
        const place = canvas.view.toClient(x, y);
        return shown.getContext('2d').getImageData(Math.floor(place.x), Math.floor(place.y), 12, 12).data
            .some((value, k) => k % 4 === 3 && value > 0);
    }"""
    canvas.take("rect", "mask")
    canvas.drag((50, 50), (120, 120))
    canvas.settle()
    assert canvas.ask(hatched, [80, 80])
    assert not canvas.ask(hatched, [180, 180])
    canvas.ask("() => { canvas.overlay.maskLook = 'none'; }")
    canvas.settle()
    assert not canvas.ask(hatched, [80, 80])


def test_lasso_and_ellipse_choose_what_they_enclose_and_alt_takes_away(canvas: CanvasPage) -> None:
    canvas.take("lasso", "mask")
    canvas.drag((40, 40), (200, 40), (200, 200), (40, 200), (40, 40))
    assert abs(canvas.ask("() => canvas.rawMask().data.filter(Boolean).length") - 160 * 160) < 700
    canvas.take("ellipse", "mask")
    canvas.page.keyboard.down("Alt")
    canvas.drag((80, 80), (160, 160))
    canvas.page.keyboard.up("Alt")
    assert canvas.masked(120, 120) == 0
    assert canvas.masked(84, 84) == 255
    canvas.page.keyboard.down("Shift")
    canvas.take("rect", "mask", mode="replace")
    canvas.drag((20, 20), (80, 40))
    canvas.page.keyboard.up("Shift")
    assert canvas.ask("() => canvas.rawMask().data.filter(Boolean).length") == 60 * 60  # a square
    assert canvas.labels()[-3:] == ["Mask lasso", "Mask ellipse", "Mask rectangle"]


def test_fill_and_wand_take_one_colour_within_the_tolerance(canvas: CanvasPage) -> None:
    canvas.take("rect", color="#646464")
    canvas.drag((0, 0), (256, 256))
    canvas.take("rect", color="#6e6e6e")
    canvas.drag((100, 0), (140, 256))
    canvas.take("fill", tolerance=9, color=RED)
    canvas.click(20, 20)
    assert canvas.pixel(99, 128) == Pixel(255, 0, 0, 255)
    assert canvas.pixel(100, 128) == Pixel(0x6E, 0x6E, 0x6E, 255)
    assert canvas.pixel(200, 20) == Pixel(0x64, 0x64, 0x64, 255)
    canvas.take("wand", tolerance=10)
    canvas.click(200, 20)
    assert canvas.count() == (256 - 100) * 256
    canvas.press("Control+z")
    canvas.ask("() => canvas.set({ tolerance: 9 })")
    canvas.click(200, 20)
    assert canvas.count() == (256 - 140) * 256


def test_smudge_drags_and_clone_copies(canvas: CanvasPage) -> None:
    canvas.take("rect", color="#ffffff")
    canvas.drag((0, 0), (256, 256))
    canvas.take("rect", color="#000000")
    canvas.drag((0, 0), (100, 256))
    canvas.take("smudge", size=40, strength=80)
    canvas.drag((80, 60), (150, 60))
    assert canvas.pixel(110, 60).red < 200
    assert canvas.pixel(110, 160).red == 255
    canvas.take("clone", size=40, hardness=100)
    canvas.click(200, 200)
    assert "Alt" in canvas.heard("notice")[-1]["words"]
    canvas.page.keyboard.down("Alt")
    canvas.click(50, 200)
    canvas.page.keyboard.up("Alt")
    canvas.drag((200, 200), (205, 200))
    assert canvas.pixel(200, 200) == Pixel(0, 0, 0, 255)
    assert canvas.labels()[-2:] == ["Smudge", "Clone"]


def test_smudge_and_clone_act_on_paint_while_others_act_on_the_mask(canvas: CanvasPage) -> None:
    canvas.take("rect", color="#ffffff")
    canvas.drag((0, 0), (256, 256))
    canvas.take("rect", color="#000000")
    canvas.drag((0, 0), (100, 256))
    canvas.take("smudge", "mask", size=40, strength=80)
    canvas.drag((80, 60), (150, 60))
    assert canvas.pixel(110, 60).red < 200
    canvas.take("clone", "mask", size=40, hardness=100)
    canvas.page.keyboard.down("Alt")
    canvas.click(50, 200)
    canvas.page.keyboard.up("Alt")
    canvas.drag((200, 200), (205, 200))
    assert canvas.pixel(200, 200) == Pixel(0, 0, 0, 255)
    assert canvas.count() == 0
    assert canvas.labels()[-2:] == ["Smudge", "Clone"]
    assert canvas.ask("() => canvas.target") == "mask"  # for the tools that know both


def test_the_picker_takes_the_colour_that_is_seen_and_x_swaps(canvas: CanvasPage) -> None:
    canvas.take("rect", color="#12ab34")
    canvas.drag((0, 0), (256, 256))
    canvas.take("picker", color=RED, color2=BLUE)
    canvas.click(50, 50)
    assert canvas.heard("color")[-1] == {"color": "#12ab34"}
    canvas.press("x")
    assert canvas.ask("() => [canvas.settings.color, canvas.settings.color2]") == [BLUE, "#12ab34"]


def test_a_pen_presses_and_its_other_end_erases(canvas: CanvasPage) -> None:
    canvas.take("brush", size=60, hardness=100, color=RED, pressureSize=True)
    canvas.pen((40, 60, 0.25), (120, 60, 0.25), (200, 60, 0.25))
    assert canvas.pixel(120, 64).alpha == 255
    assert canvas.pixel(120, 80).alpha == 0
    canvas.pen((40, 160, 1), (120, 160, 1), (200, 160, 1))
    assert canvas.pixel(120, 186).alpha == 255
    canvas.pen_eraser((100, 160), (110, 160), (120, 160))
    assert canvas.pixel(110, 160).alpha == 0
    assert canvas.labels() == ["New", "Brush", "Brush", "Eraser"]


def test_one_finger_paints_and_two_pinch_and_pan(studio: Studio, page: Page) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    canvas.take("brush", size=20, hardness=100, color=RED)
    start, middle, end = (canvas.at(*place) for place in ((60, 60), (120, 60), (180, 60)))
    canvas.touch("touchStart", start)
    canvas.touch("touchMove", middle)
    canvas.touch("touchMove", end)
    canvas.touch("touchEnd")
    assert canvas.pixel(120, 60) == Pixel(255, 0, 0, 255)
    before, zoom = canvas.print(), canvas.ask("() => canvas.view.zoom")
    left, right = canvas.at(100, 128), canvas.at(156, 128)
    canvas.touch("touchStart", left)
    canvas.touch("touchStart", left, right)
    for far in range(10, 110, 10):
        canvas.touch("touchMove", (left[0] - far, left[1] + far / 2), (right[0] + far, right[1] + far / 2))
    held = canvas.ask(
        "([x, y]) => canvas.view.toDocument(x, y)", [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2 + 50]
    )
    canvas.touch("touchEnd")
    assert canvas.ask("() => canvas.view.zoom") > 1.5 * zoom
    assert held == pytest.approx({"x": 128, "y": 128}, abs=1)  # what was between the fingers stays there
    assert canvas.print() == before
    assert canvas.labels() == ["New", "Brush"]


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


def test_undo_and_redo_come_back_to_the_same_bytes_64_deep(canvas: CanvasPage) -> None:
    canvas.take("brush", size=24, hardness=20, opacity=60, color=RED)
    prints = [canvas.print()]
    for k in range(66):
        x = 10 + 3.5 * k
        canvas.take("brush", "mask" if k % 3 == 0 else "paint")
        canvas.drag((x, 30 + k), (x + 20, 120), steps=2)
        prints.append(canvas.print())
    assert len(set(prints)) == 67
    for wanted in reversed(prints[:-1]):
        canvas.press("Control+z")
        assert canvas.print() == wanted
    assert canvas.ask("() => canvas.history.canUndo") is False
    for wanted in prints[1:]:
        canvas.press("Control+Shift+Z")
        assert canvas.print() == wanted
    canvas.settle()
    shown = canvas.seen(100, 80)
    canvas.ask("() => { canvas.view.zoomBy(2); canvas.view.fit(); }")
    canvas.settle()
    assert canvas.seen(100, 80) == shown  # what undo left on the screen is what is there


def test_strokes_are_seen_as_they_are_after_undo(canvas: CanvasPage) -> None:
    canvas.take("rect", color=BLUE)
    canvas.drag((0, 0), (256, 256))
    canvas.take("brush", size=30, hardness=100, color=RED)
    canvas.drag((60, 60), (160, 160))
    canvas.settle()
    assert canvas.seen(100, 100)[:3] == (255, 0, 0)
    canvas.press("Control+z")
    canvas.settle()
    assert canvas.seen(100, 100)[:3] == (0, 0, 255)
    canvas.press("Control+y")
    canvas.settle()
    assert canvas.seen(100, 100)[:3] == (255, 0, 0)


def test_a_stroke_whose_pointer_is_taken_away_stays_and_escape_lets_one_go(canvas: CanvasPage) -> None:
    canvas.take("brush", size=20, hardness=100, color=RED)
    canvas.drag((40, 60), (160, 60), up=False)
    canvas.ask("() => canvas.element.releasePointerCapture(1)")
    canvas.page.mouse.move(*canvas.at(200, 200))
    canvas.expect_labels(["New", "Brush"])
    assert canvas.pixel(100, 60).alpha == 255
    assert canvas.pixel(195, 190).alpha == 0
    canvas.page.mouse.up()
    kept = canvas.print()
    canvas.drag((40, 160), (160, 160), up=False)
    canvas.settle()
    assert canvas.seen(100, 160)[:3] == (255, 0, 0)
    canvas.press("Escape")
    canvas.settle()
    assert canvas.seen(100, 160)[:3] != (255, 0, 0)
    canvas.page.mouse.up()
    assert canvas.print() == kept
    finger = canvas.at(60, 200)
    canvas.touch("touchStart", finger)
    canvas.touch("touchMove", (finger[0] + 60, finger[1]))
    canvas.touch("touchCancel")
    canvas.expect_labels(["New", "Brush", "Brush"])


def test_a_stroke_that_was_not_finished_is_drawn_again_from_its_vectors(canvas: CanvasPage) -> None:
    canvas.take("brush", size=32, hardness=30, opacity=70, color=RED)
    canvas.drag((40, 60), (160, 90), (100, 200), up=False)
    kept = canvas.ask("() => JSON.stringify(heard.filter(([name]) => name === 'progress').at(-1)[1].op)")
    canvas.page.mouse.up()
    whole = canvas.print()
    canvas.press("Control+z")
    assert canvas.print() != whole
    answer = canvas.ask("(op) => canvas.replay([JSON.parse(op)])", kept)
    assert answer["failed"] == []
    assert canvas.print() == whole
    assert canvas.heard("progress")[-1] == {"op": None}


def test_the_wheel_zooms_at_the_pointer_and_space_pans(canvas: CanvasPage) -> None:
    spot = canvas.at(200, 60)
    canvas.page.mouse.move(*spot)
    zoom = canvas.ask("() => canvas.view.zoom")
    canvas.page.mouse.wheel(0, -400)
    canvas.page.wait_for_function("(zoom) => canvas.view.zoom > 1.5 * zoom", arg=zoom)
    assert canvas.at(200, 60) == pytest.approx(spot, abs=1)  # a wheel knows its place to the pixel
    spot = canvas.at(200, 60)
    canvas.page.mouse.move(*spot)
    canvas.room.focus()
    canvas.page.mouse.move(spot[0] - 1, spot[1])
    before = canvas.ask("() => [canvas.view.zoom, canvas.labels]")
    canvas.page.mouse.down(button="middle")
    canvas.page.mouse.move(spot[0] + 39, spot[1] + 20)
    canvas.page.mouse.up(button="middle")
    assert canvas.at(200, 60) == pytest.approx((spot[0] + 40, spot[1] + 20), abs=0.01)
    canvas.page.keyboard.down("h")
    canvas.page.mouse.down()
    canvas.page.mouse.move(spot[0] + 59, spot[1] + 20)
    canvas.page.mouse.up()
    canvas.page.keyboard.up("h")
    assert canvas.at(200, 60) == pytest.approx((spot[0] + 60, spot[1] + 20), abs=0.01)
    canvas.page.keyboard.down(" ")
    canvas.page.mouse.down()
    canvas.page.mouse.move(spot[0] + 59, spot[1] + 50)
    canvas.page.mouse.up()
    canvas.page.keyboard.up(" ")
    assert canvas.at(200, 60) == pytest.approx((spot[0] + 60, spot[1] + 50), abs=0.01)
    assert canvas.ask("() => [canvas.view.zoom, canvas.labels]") == before
    assert canvas.labels() == ["New"]  # nothing was painted on the way
    canvas.press("0")
    assert canvas.ask("() => canvas.view.zoom") == zoom


def test_magnified_pixels_have_sharp_edges(canvas: CanvasPage) -> None:
    canvas.take("rect", color=RED)
    canvas.drag((0, 0), (128, 256))
    canvas.take("rect", color=BLUE)
    canvas.drag((128, 0), (256, 256))
    canvas.ask("() => { canvas.view.actual(); canvas.view.zoomBy(16); }")
    canvas.settle()
    assert canvas.ask("() => canvas.view.zoom") == 16
    assert canvas.seen(127.9, 128)[:3] == (255, 0, 0)
    assert canvas.seen(128.1, 128)[:3] == (0, 0, 255)


def test_the_document_grows_and_shrinks_and_undo_brings_back_what_was_cut(canvas: CanvasPage) -> None:
    canvas.take("rect", color=RED)
    canvas.drag((10, 10), (250, 250))
    canvas.take("rect", "mask")
    canvas.drag((200, 200), (240, 240))
    before = canvas.print()
    canvas.ask("() => canvas.resize(384, 300, 64, 20)")
    assert canvas.ask("() => [canvas.width, canvas.height]") == [384, 300]
    assert canvas.pixel(74, 30) == Pixel(255, 0, 0, 255)
    assert canvas.pixel(73, 30).alpha == 0
    assert canvas.masked(264, 220) == 255
    assert canvas.masked(263, 220) == 0
    canvas.take("brush", size=30, hardness=100, color=BLUE)
    canvas.drag((20, 20), (20, 120))  # left of where the layer began
    assert canvas.pixel(20, 60) == Pixel(0, 0, 255, 255)
    canvas.ask("() => canvas.resize(100, 100, -200, -200)")
    assert canvas.pixel(80, 20) == Pixel(255, 0, 0, 255)
    canvas.press("Control+z", "Control+z", "Control+z")
    assert canvas.ask("() => [canvas.width, canvas.height]") == [256, 256]
    assert canvas.print() == before


def test_layers_are_added_hidden_faded_moved_merged_and_copied(canvas: CanvasPage) -> None:
    canvas.take("rect", color=RED)
    canvas.drag((0, 0), (256, 256))
    canvas.ask("() => canvas.addLayer({ id: 'two', name: 'Two' })")
    canvas.take("rect", color=BLUE)
    canvas.drag((0, 0), (128, 256))
    assert canvas.pixel(50, 50) == Pixel(0, 0, 255, 255)
    canvas.ask("() => canvas.showLayer('two', false)")
    assert canvas.pixel(50, 50) == Pixel(255, 0, 0, 255)
    canvas.ask("() => { canvas.showLayer('two', true); canvas.setOpacity('two', 50); }")
    assert canvas.pixel(50, 50) == Pixel(127, 0, 128, 255)
    mixed = canvas.ask("() => [...canvas.composite().data].join()")
    canvas.ask("() => canvas.duplicateLayer('two')")
    assert canvas.pixel(50, 50).blue > 180
    canvas.press("Control+z")
    canvas.ask("() => canvas.mergeDown('two')")
    assert canvas.ask("() => canvas.layers.length") == 1
    assert canvas.ask("() => [...canvas.composite().data].join()") == mixed
    canvas.press("Control+z")
    canvas.ask("() => canvas.moveLayer('two', 0)")
    assert canvas.pixel(50, 50) == Pixel(255, 0, 0, 255)
    canvas.settle()
    assert canvas.seen(50, 50)[:3] == (255, 0, 0)
    canvas.ask("() => canvas.removeLayer('two')")
    assert [layer["name"] for layer in canvas.ask("() => canvas.layers")] == ["Paint"]


def test_grow_and_feather_say_what_they_will_change_before_they_do(canvas: CanvasPage) -> None:
    canvas.take("rect", "mask")
    canvas.drag((100, 100), (140, 140))
    assert canvas.count() == 40 * 40
    canvas.ask("() => canvas.mask.preview({ grow: 5 })")
    assert canvas.count() > 49 * 49
    assert canvas.ask("() => canvas.mask.info.bounds") == {"x": 95, "y": 95, "width": 50, "height": 50}
    canvas.ask("() => canvas.mask.preview(null)")
    assert canvas.count() == 40 * 40
    assert canvas.labels() == ["New", "Mask rectangle"]
    canvas.ask("() => { canvas.mask.setGrow(-8); canvas.mask.setFeather(6); }")
    assert canvas.count() == 24 * 24
    rim, inside = canvas.ask(
        "() => { const mask = canvas.effectiveMask().data; return [mask[120 * 256 + 108], mask[120 * 256 + 120]]; }"
    )
    assert 0 < rim < 255
    assert inside == 255
    canvas.ask("() => canvas.mask.invert()")
    assert canvas.masked(10, 10) == 255
    kept = canvas.ask("() => { canvas.mask.save('Sky'); return canvas.masks[0]; }")
    assert kept["name"] == "Sky"
    canvas.ask("() => canvas.mask.clear()")
    canvas.ask("(id) => canvas.mask.use(id)", kept["id"])
    assert canvas.masked(10, 10) == 255


def test_the_frame_is_dragged_by_its_corners(canvas: CanvasPage) -> None:
    canvas.take("hand")
    canvas.ask("() => canvas.overlay.setFrame({ x: 50, y: 50, width: 100, height: 80 })")
    expect(canvas.page.locator(".wb-canvas-hud")).to_have_text("what the model sees")
    canvas.drag((150, 130), (180, 200))
    told = canvas.heard("frame")
    assert told[-1] == {"box": {"x": 50, "y": 50, "width": 130, "height": 150}, "done": True}
    assert any(not each["done"] for each in told)
    canvas.drag((50, 50), (-60, -80))
    assert canvas.heard("frame")[-1]["box"] == {"x": 0, "y": 0, "width": 180, "height": 200}
    canvas.take("brush")
    canvas.ask("() => canvas.overlay.setFrame({ x: 0, y: 0, width: 256, height: 256 }, { beyond: true })")
    canvas.drag((256, 128), (330, 128))
    assert canvas.heard("frame")[-1]["box"] == {"x": 0, "y": 0, "width": 330, "height": 256}
    assert canvas.labels() == ["New"]


def test_strokes_begin_in_a_corner_of_the_frame_and_beside_it_the_frame_is_dragged(canvas: CanvasPage) -> None:
    canvas.ask("() => canvas.overlay.setFrame({ x: 0, y: 0, width: 256, height: 256 })")
    canvas.take("brush", "mask", size=20, hardness=100)
    canvas.drag((0, 0), (40, 40))
    canvas.drag((255, 255), (200, 255))
    assert canvas.masked(20, 20) == canvas.masked(230, 254) == 255
    canvas.take("rect", "mask")
    canvas.drag((256, 0), (200, 40))
    assert canvas.masked(254, 2) == 255
    assert canvas.heard("frame") == []
    painted = canvas.labels()
    corner, zoom = canvas.at(256, 256), canvas.ask("() => canvas.view.zoom")
    canvas.drag((256 + 6 / zoom, 256 + 6 / zoom), (200, 220))
    assert canvas.heard("frame")[-1] == {"box": {"x": 0, "y": 0, "width": 200, "height": 220}, "done": True}
    assert canvas.labels() == painted
    told = len(canvas.heard("frame"))
    canvas.page.mouse.move(*canvas.at(200, 220))
    canvas.page.keyboard.down(" ")
    canvas.drag((200, 220), (210, 220))  # nor does the frame keep a hand from panning
    canvas.page.keyboard.up(" ")
    assert len(canvas.heard("frame")) == told
    assert canvas.at(256, 256) == pytest.approx((corner[0] + 10 * zoom, corner[1]), abs=1)
    assert canvas.labels() == painted


def test_a_layer_is_moved_by_hand_and_by_arrows(canvas: CanvasPage) -> None:
    canvas.take("rect", color=RED)
    canvas.drag((0, 0), (256, 256))
    canvas.ask("() => canvas.addLayer({ id: 'two', name: 'Two' })")
    canvas.take("rect", color=BLUE)
    canvas.drag((40, 40), (80, 80))
    before = canvas.print()
    canvas.room.focus()
    canvas.press("v")
    assert canvas.ask("() => canvas.tool") == "move"
    canvas.drag((60, 60), (75, 68), (80, 70), up=False)
    canvas.settle()
    assert canvas.seen(62, 52)[:3] == (0, 0, 255)  # it follows
    assert canvas.seen(50, 45)[:3] == (255, 0, 0)
    assert canvas.labels()[-1] == "Rectangle"
    canvas.page.mouse.up()
    assert canvas.labels()[-1] == "Moved Two"
    assert canvas.pixel(60, 50) == canvas.pixel(99, 89) == Pixel(0, 0, 255, 255)
    assert canvas.pixel(59, 50) == canvas.pixel(100, 60) == Pixel(255, 0, 0, 255)
    canvas.press("Control+z")
    canvas.settle()
    assert canvas.print() == before
    assert canvas.seen(50, 45)[:3] == (0, 0, 255)
    canvas.press("ArrowRight", "ArrowRight", "Shift+ArrowDown", "ArrowUp")
    assert canvas.pixel(42, 49) == canvas.pixel(81, 88) == Pixel(0, 0, 255, 255)
    assert canvas.pixel(41, 60) == canvas.pixel(60, 89) == Pixel(255, 0, 0, 255)
    canvas.expect_words("Two lies at 2, 9.")
    assert canvas.heard("change")[-1]["entry"]["op"]["op"] == "placeLayer"
    while canvas.labels()[-1] == "Moved Two" and canvas.print() != before:
        canvas.press("Control+z")
    assert canvas.print() == before
    canvas.page.keyboard.down("Shift")
    canvas.drag((60, 60), (90, 65))
    canvas.page.keyboard.up("Shift")
    assert canvas.ask("() => canvas.layers.map(({ x, y }) => [x, y])")[-1] == [30, 0]
    canvas.drag((90, 60), (120, 90), up=False)
    canvas.press("Escape")
    canvas.page.mouse.up()
    canvas.settle()
    assert canvas.ask("() => canvas.layers.map(({ x, y }) => [x, y])")[-1] == [30, 0]
    assert canvas.seen(72, 42)[:3] == (0, 0, 255)


def test_what_cannot_be_moved_is_said_in_words(canvas: CanvasPage) -> None:
    canvas.take("move")
    canvas.room.focus()
    canvas.drag((60, 60), (80, 70))
    assert "is empty" in canvas.heard("notice")[-1]["words"]
    canvas.take("rect", color=RED)
    canvas.drag((40, 40), (80, 80))
    canvas.take("move")
    layer = canvas.ask("() => canvas.layers[0].id")
    canvas.ask("(id) => canvas.showLayer(id, false)", layer)
    canvas.press("ArrowRight")
    assert "is hidden" in canvas.heard("notice")[-1]["words"]
    canvas.ask("(id) => canvas.removeLayer(id)", layer)
    canvas.drag((60, 60), (80, 70))
    assert canvas.heard("notice")[-1]["words"] == "There is no layer to move. Add one first."
    assert not [label for label in canvas.labels() if label.startswith("Moved")]


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


def test_everything_nothing_and_the_rest_are_masked_by_the_usual_keys(canvas: CanvasPage) -> None:
    canvas.room.focus()
    canvas.press("Control+a")
    assert canvas.count() == 256 * 256
    canvas.press("Control+d")
    assert canvas.count() == 0
    canvas.press("Control+d")  # there is nothing left to clear
    canvas.take("rect", "mask")
    canvas.drag((0, 0), (64, 256))
    canvas.press("Control+Shift+I")
    assert canvas.count() == 192 * 256
    assert canvas.labels() == ["New", "Masked everything", "Cleared the mask", "Mask rectangle", "Inverted the mask"]


def test_a_variation_is_shown_without_being_there(canvas: CanvasPage) -> None:
    canvas.take("rect", color=RED)
    canvas.drag((0, 0), (256, 256))
    canvas.ask(
        """() => {
            const data = new Uint8Array(40 * 30 * 4).map((_, k) => [0, 255, 0, 255][k % 4]);
            canvas.overlay.setStaged({ picture: { width: 40, height: 30, channels: 4, data }, x: 100, y: 100 });
        }"""
    )
    canvas.settle()
    assert canvas.seen(120, 110)[:3] == (0, 255, 0)
    assert canvas.pixel(120, 110) == Pixel(255, 0, 0, 255)
    assert canvas.ask(
        "() => [...canvas.composite({ staged: true, box: { x: 120, y: 110, width: 1, height: 1 } }).data]"
    ) == [0, 255, 0, 255]
    canvas.ask("() => canvas.overlay.setBefore(canvas.history.entries[0].id)")
    canvas.settle()
    assert canvas.seen(120, 110)[:3] not in ((0, 255, 0), (255, 0, 0))
    canvas.ask("() => canvas.overlay.setBefore(null)")
    canvas.settle()
    assert canvas.seen(120, 110)[:3] == (0, 255, 0)
    canvas.ask("() => canvas.overlay.setStaged(null)")
    canvas.settle()
    assert canvas.seen(120, 110)[:3] == (255, 0, 0)


def test_a_variation_of_an_expansion_is_seen_beyond_the_picture(canvas: CanvasPage) -> None:
    canvas.ask(
        """() => {
            canvas.overlay.setFrame({ x: 0, y: 0, width: 384, height: 256 }, { beyond: true });
            const data = new Uint8Array(384 * 256 * 4).map((_, k) => [0, 255, 0, 255][k % 4]);
            const picture = { width: 384, height: 256, channels: 4, data };
            canvas.overlay.setStaged({ picture, x: 0, y: 0 });
            canvas.view.fit();
        }"""
    )
    canvas.settle()
    room = canvas.room.bounding_box()
    assert room is not None
    corner = canvas.at(384, 256)
    assert corner[0] < room["x"] + room["width"]  # what fits is the frame, not only the picture
    assert corner[1] < room["y"] + room["height"]
    beyond = canvas.ask(
        """() => {
            const place = canvas.view.toClient(330, 60);
            const shown = document.querySelector('.wb-canvas-above').getContext('2d');
            return [...shown.getImageData(Math.floor(place.x), Math.floor(place.y), 1, 1).data];
        }"""
    )
    assert beyond[1] > 200
    assert canvas.seen(100, 60)[:3] == (0, 255, 0)


def test_what_comes_in_during_a_stroke_is_not_lost(canvas: CanvasPage) -> None:
    canvas.take("brush", "mask", size=20, hardness=100)
    canvas.drag((40, 60), (160, 60), up=False)
    canvas.ask(
        """() => {
            const data = new Uint8Array(50 * 50).fill(255);
            canvas.mask.combine({ width: 50, height: 50, channels: 1, data }, 'add', { x: 100, y: 150 });
        }"""
    )
    canvas.page.mouse.up()
    assert canvas.masked(100, 60) == 255
    assert canvas.masked(120, 170) == 255
    assert canvas.labels() == ["New", "Mask", "Mask brush"]


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


def test_the_picture_stays_where_it_is_seen_when_the_document_grows_to_the_left(canvas: CanvasPage) -> None:
    canvas.page.mouse.move(*canvas.at(128, 128))
    canvas.page.mouse.wheel(0, 200)
    canvas.page.wait_for_function("() => canvas.view.zoom < 2.4")
    before = canvas.at(0, 0)
    canvas.ask("() => canvas.resize(320, 256, 64, 0)")
    assert canvas.at(64, 0) == pytest.approx(before, abs=0.01)
    canvas.room.focus()
    canvas.press("Control+z")
    assert canvas.at(0, 0) == pytest.approx(before, abs=0.01)


def test_the_browsers_own_png_is_read_to_the_byte_and_ours_by_the_browser(canvas: CanvasPage) -> None:
    differs = canvas.ask(
        """async () => {
            const made = new OffscreenCanvas(97, 61);
            const context = made.getContext('2d');
            const image = new ImageData(97, 61);
            image.data.forEach((_, k) => { image.data[k] = k % 4 === 3 ? 255 : (k * 7919) >> 3; });
            context.putImageData(image, 0, 0);
            const file = await (await made.convertToBlob({ type: 'image/png' })).arrayBuffer();
            const read = png.asRgba(await png.decodePng(file));
            const ours = await png.encodePng(read);
            const bitmap = await createImageBitmap(new Blob([ours], { type: 'image/png' }));
            context.clearRect(0, 0, 97, 61);
            context.drawImage(bitmap, 0, 0);
            const back = context.getImageData(0, 0, 97, 61).data;
            return image.data.filter((value, k) => read.data[k] !== value || back[k] !== value).length;
        }"""
    )
    assert differs == 0


def test_a_document_goes_to_a_server_and_comes_back_the_same(canvas: CanvasPage) -> None:
    canvas.take("brush", size=70, hardness=0, opacity=35, color=RED)
    canvas.drag((30, 30), (220, 200))
    canvas.take("brush", "mask", size=50)
    canvas.drag((60, 200), (200, 60))
    before = canvas.print()
    state = canvas.ask(
        """async () => {
            globalThis.shelf = new Map();
            const keep = (file) => { shelf.set(`p${shelf.size}`, file); return `p${shelf.size - 1}`; };
            const send = async (files) => files.map(keep);
            return canvas.stored(canvas.history.head, send);
        }"""
    )
    assert list(state["layers"][0]["tiles"].values()) != [None]
    png = canvas.ask("() => btoa(String.fromCharCode(...shelf.get('p0').slice(0, 8)))")
    assert base64.b64decode(png) == b"\x89PNG\r\n\x1a\n"
    canvas.ask("() => canvas.create(64, 64)")
    assert canvas.print() != before
    canvas.ask("(state) => canvas.load(state, async (id) => shelf.get(id), { node: 'n' })", state)
    assert canvas.print() == before
    assert canvas.ask("() => canvas.history.entries.map(({ id }) => id)") == ["n"]


@pytest.mark.parametrize("side", [64, 4096])
def test_the_smallest_and_the_largest_picture(canvas: CanvasPage, side: int) -> None:
    canvas.ask("(side) => canvas.create(side, side, { color: '#336699' })", side)
    canvas.take("brush", size=max(4, side // 20), hardness=100, color=RED)
    canvas.drag((side * 0.2, side * 0.5), (side * 0.8, side * 0.5))
    canvas.settle()
    assert canvas.seen(side * 0.5, side * 0.5)[:3] == (255, 0, 0)
    assert canvas.seen(side * 0.5, side * 0.9)[:3] == (0x33, 0x66, 0x99)
    assert canvas.pixel(side // 2, side // 2) == Pixel(255, 0, 0, 255)
    canvas.press("Control+z")
    assert canvas.pixel(side // 2, side // 2) == Pixel(0x33, 0x66, 0x99, 255)


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


def test_nothing_is_left_after_the_canvas_is_taken_down(canvas: CanvasPage) -> None:
    canvas.take("brush", "mask")
    canvas.drag((40, 40), (90, 90))
    canvas.ask("() => canvas.destroy()")
    assert canvas.ask("() => document.querySelector('#room').childElementCount") == 0
    canvas.page.mouse.move(300, 300)
    canvas.page.keyboard.press("b")
