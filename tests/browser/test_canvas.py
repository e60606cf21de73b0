"""The canvas under a hand: mouse, pen and fingers do what a person expects, and undo takes it all back."""

from __future__ import annotations

import pytest
from canvas_page import CanvasPage, Pixel
from conftest import Studio
from playwright.sync_api import Page

RED = "#ff0000"
BLUE = "#0000ff"


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
