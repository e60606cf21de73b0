"""Layers on the canvas, and what lies over them without being there: frames and variations."""

from __future__ import annotations

import pytest
from canvas_page import CanvasPage, Pixel
from playwright.sync_api import expect

RED = "#ff0000"
BLUE = "#0000ff"


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
