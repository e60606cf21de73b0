"""Selecting on the canvas: what a mask takes, what it shows, and how it is made larger or smaller."""

from __future__ import annotations

from canvas_page import CanvasPage, Pixel

RED = "#ff0000"


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
    canvas.take("fill", tolerance=8, color=RED)
    canvas.click(20, 20)
    assert canvas.pixel(99, 128) == Pixel(255, 0, 0, 255)
    assert canvas.pixel(100, 128) == Pixel(0x6E, 0x6E, 0x6E, 255)
    assert canvas.pixel(200, 20) == Pixel(0x64, 0x64, 0x64, 255)
    canvas.take("wand", tolerance=9)
    canvas.click(200, 20)
    assert canvas.count() == (256 - 100) * 256
    canvas.press("Control+z")
    canvas.ask("() => canvas.set({ tolerance: 8 })")
    canvas.click(200, 20)
    assert canvas.count() == (256 - 140) * 256


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


def test_the_wand_looks_at_all_layers_or_at_the_one_that_is_painted_on(canvas: CanvasPage) -> None:
    canvas.take("rect", color=RED)
    canvas.drag((0, 0), (128, 256))
    canvas.ask("() => canvas.addLayer({ id: 'two', name: 'Two' })")
    canvas.take("rect", color="#00ff00")
    canvas.drag((0, 0), (256, 64))
    canvas.take("wand", tolerance=20)
    canvas.click(30, 128)
    assert canvas.count() == 128 * 192
    canvas.press("Control+z")
    canvas.ask("() => canvas.set({ sample: 'layer' })")
    canvas.click(30, 128)  # where the layer is empty, and it is so all along its foot
    assert canvas.count() == 256 * 192


def test_a_wand_whose_edge_is_fitted_asks_and_leaves_the_mask_alone_until_it_is_answered(canvas: CanvasPage) -> None:
    canvas.take("wand", tolerance=40, contiguous=False, fitEdge=True, mode="replace")
    canvas.click(30.3, 128.3)
    canvas.page.keyboard.down("Alt")
    canvas.click(40.3, 90.3)
    canvas.page.keyboard.up("Alt")
    canvas.press("ArrowRight", "Enter")
    asked = canvas.heard("select")
    wanted = {"tool": "wand", "tolerance": 40, "contiguous": False, "layer": None}
    assert asked[0] == wanted | {"x": 30, "y": 128, "mode": "replace"}
    assert [(wish["x"], wish["y"], wish["mode"]) for wish in asked[1:]] == [(40, 90, "subtract"), (41, 90, "replace")]
    assert canvas.labels() == ["New"]
