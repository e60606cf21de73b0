"""What should not be: files that are no pictures, masks that are none or all, pictures of one pixel.

The page says so in words, and everything is as it was.
"""

from __future__ import annotations

import io
import re
import struct
import zlib

import numpy as np
import pytest
from conftest import Studio
from fill_page import FillPage, landscape, png_of
from PIL import Image
from playwright.sync_api import Page, expect

RED = (200, 30, 40)


@pytest.fixture
def fill(studio: Studio, page: Page, expected_failures: list[str]) -> FillPage:
    expected_failures.extend(["422", "413"])
    return FillPage(page, studio.url)


def bomb(side: int) -> bytes:
    """A small PNG that says it is large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def moving(kind: str) -> bytes:
    """Two frames, red and blue."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (30, 30), colour) for colour in (RED, (10, 20, 220))]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


BAD = {
    "empty.png": (b"", "This file is empty."),
    "truncated.png": (png_of(landscape())[:600], "broken or cut short"),
    "bomb.png": (bomb(30_000), "This picture is 30000 × 30000 pixels. At most"),
    "letter.png": (b"Dear reader", "Use a PNG, JPEG, WebP, AVIF or TIFF"),
    "moving.gif": (moving("GIF"), "Use a PNG, JPEG, WebP, AVIF or TIFF"),
}


@pytest.mark.parametrize("door", ["As a layer", "As a new document", "mask"])
def test_file_that_is_no_picture_is_refused_in_words_and_nothing_is_lost(fill: FillPage, door: str) -> None:
    fill.open_picture(landscape())
    fill.drag((20, 20), (60, 60))
    fill.expect_saved()
    before, mask, head = fill.flat(), fill.mask(), fill.head()
    alert = fill.page.get_by_role("alert")
    for name, (content, words) in BAD.items():
        if door == "mask":
            with fill.page.expect_file_chooser() as chooser:
                fill.menu(fill.page.get_by_role("button", name="More on the mask"), "Open a mask from a file")
            chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})
        else:
            fill.give(content, name)
            fill.page.get_by_role("button", name=door).click()
        expect(alert, name).to_contain_text(words)
        alert.get_by_role("button", name="Close").click()
    assert (fill.head(), fill.opened()) == (head, fill.document)
    assert (fill.flat() == before).all()
    assert (fill.mask() == mask).all()


def test_mask_of_another_size_is_refused_and_the_mask_stays(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.drag((20, 20), (60, 60))
    fill.expect_saved()
    mask = fill.mask()
    with fill.page.expect_file_chooser() as chooser:
        fill.menu(fill.page.get_by_role("button", name="More on the mask"), "Open a mask from a file")
    small = png_of(np.full((64, 100), 255, np.uint8))
    chooser.value.set_files({"name": "small.png", "mimeType": "image/png", "buffer": small})
    expect(fill.page.get_by_role("alert")).to_contain_text("This mask is 100 × 64 px and the document 128 × 128.")
    assert (fill.mask() == mask).all()


def test_mask_outside_of_the_picture_is_no_mask(fill: FillPage) -> None:
    fill.open_picture(landscape())
    head = fill.head()
    fill.drag((-40, 20), (-20, 100))  # beside it
    for tool in ("Rectangle", "Lasso"):
        fill.tool(tool)
        fill.drag((-40, 20), (-30, 60), (-15, 90))
    expect(fill.button).to_have_text(re.compile("Paint a mask first"))
    expect(fill.button).to_have_attribute("aria-disabled", "true")
    assert (fill.masked(), fill.head()) == (0, head)
    fill.tool("Rectangle")
    fill.drag((-20, 5), (10, 30))  # what lies within counts
    fill.eventually(lambda: abs(fill.masked() - 10 * 25) <= 10 + 2 * 25)  # half a pixel on each side
    assert fill.mask()[15, :8].all() and not fill.mask()[:, 12:].any()


def test_object_in_no_box_and_in_all_of_the_picture_is_asked_for_again(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.tool("Cut out")
    alert = fill.page.get_by_role("alert")
    fill.drag((-40, 10), (-20, 60))
    expect(alert).to_contain_text("The box is outside of this picture of 128 × 128 pixels.")
    alert.get_by_role("button", name="Close").click()
    fill.drag((-2, -2), (130, 130))
    expect(alert).to_contain_text("The box holds the whole picture. Leave some of what is around the object outside.")
    assert fill.masked() == 0
    fill.page.get_by_role("radio", name="Scribble", exact=True).click()
    fill.option("Size", 1000)
    fill.drag((60, 60), (70, 60))  # over everything
    words = fill.page.get_by_role("region", name="Cut out an object").get_by_role("status")
    expect(words).to_contain_text("too little to tell the object from what is around it")
    fill.page.keyboard.press("Escape")
    assert fill.masked() == 0


def test_picture_of_one_pixel_is_painted_on_and_too_small_to_fill(fill: FillPage) -> None:
    fill.open_picture(np.full((1, 1, 3), RED, np.uint8))
    fill.menu(fill.page.get_by_role("button", name="More on the mask"), "Select everything")
    fill.eventually(lambda: fill.masked() == 1)
    fill.prompt.fill("a hut")
    fill.button.click()
    alert = fill.page.get_by_role("alert")
    expect(alert).to_contain_text("This picture is 1 × 1 pixels. A fill needs at least 16 on each side.")
    expect(fill.button).to_contain_text("Fill 1 px")  # it can be asked for again
    fill.target("Paint")
    fill.drag((0.2, 0.5), (0.8, 0.5))
    fill.eventually(lambda: tuple(fill.flat()[0, 0, :3]) == (0xC2, 0x3A, 0x2B))


def test_mask_that_shrinks_to_nothing_cannot_be_filled(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(30, 30, 50, 50)
    fill.option("Grow", -30)
    expect(fill.button).to_have_text(re.compile("Paint a mask first"))
    fill.option("Grow", 0)
    expect(fill.button).to_contain_text("Fill 400 px")  # it was not lost


def test_odd_pictures_open_as_what_they_show(fill: FillPage) -> None:
    fill.open_picture(landscape())
    one = Image.new("RGB", (1, 1), RED)
    palette = Image.new("RGB", (20, 20), RED).quantize(4)
    files = [
        (png_of(one), "one.png", None),
        (png_of(palette), "palette.png", "Its palette became full colours."),
        (moving("PNG"), "moving.png", "Only its first frame was taken."),
        (moving("WEBP"), "moving.webp", "Only its first frame was taken."),
    ]
    for number, (content, name, words) in enumerate(files, start=2):
        fill.give(content, name)
        fill.page.get_by_role("button", name="As a layer").click()
        expect(fill.layers).to_have_count(number)
        fill.expect_saved()
        np.testing.assert_allclose(fill.flat()[64, 64, :3], RED, atol=3, err_msg=name)  # WebP is not exact
        if words:
            expect(fill.notice).to_contain_text(words)
