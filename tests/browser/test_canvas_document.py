"""The document on the canvas: where it is seen, its size, and its way to a server and back."""

from __future__ import annotations

import base64

import pytest
from canvas_page import CanvasPage, Pixel

RED = "#ff0000"
BLUE = "#0000ff"


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


def test_nothing_is_left_after_the_canvas_is_taken_down(canvas: CanvasPage) -> None:
    canvas.take("brush", "mask")
    canvas.drag((40, 40), (90, 90))
    canvas.ask("() => canvas.destroy()")
    assert canvas.ask("() => document.querySelector('#room').childElementCount") == 0
    canvas.page.mouse.move(300, 300)
    canvas.page.keyboard.press("b")
