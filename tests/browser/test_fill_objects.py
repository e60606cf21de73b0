"""Objects cut out: by a rough box, and by scribbling over them until the answer is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from axe_core import violations
from conftest import Studio
from fill_page import FillPage
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

Y, X = np.mgrid[0:128, 0:128]
RED = (X - 44) ** 2 + (Y - 60) ** 2 < 22**2
YELLOW = (X - 88) ** 2 + (Y - 60) ** 2 < 22**2  # touches it


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def meadow() -> NDArray[np.uint8]:
    """A red and a yellow disc on green: RGB."""
    picture = np.full((128, 128, 3), (60, 110, 60), np.uint8)
    picture += np.random.default_rng(1).integers(0, 20, picture.shape, dtype=np.uint8)
    picture[RED] = (200, 50, 40)
    picture[YELLOW] = (220, 190, 40)
    return picture


def share(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """How much of both together is in both."""
    return float((found & wanted).sum() / (found | wanted).sum())


class Scribble:
    """The tool and its bar."""

    def __init__(self, fill: FillPage) -> None:
        self.fill = fill
        self.bar = fill.page.get_by_role("region", name="Cut out an object")
        self.apply = self.bar.get_by_role("button", name="Apply")
        self.words = self.bar.get_by_role("status")

    def take(self) -> None:
        self.fill.tool("Cut out")
        self.fill.page.get_by_role("radio", name="Scribble", exact=True).click()
        self.fill.option("Size", 10)
        expect(self.words).to_have_text("Draw roughly over the object.")

    def expect_found(self, otherwise: int = 0) -> int:
        """How many pixels the bar says were found, once it says other than `otherwise`."""
        found = 0

        def other() -> bool:
            nonlocal found
            words = self.words.inner_text()
            found = int(words.partition(" px")[0].replace(",", "")) if "px found" in words else 0
            return found not in (0, otherwise)

        self.fill.eventually(other)
        return found


@pytest.fixture
def scribble(fill: FillPage) -> Scribble:
    fill.open_picture(meadow())
    fill.option("Feather", 0)
    return Scribble(fill)


def test_object_is_cut_out_from_a_rough_box(fill: FillPage) -> None:
    picture = meadow()
    picture[YELLOW & ~RED] = picture[:128, :1].repeat(128, axis=1)[YELLOW & ~RED]
    fill.open_picture(picture)
    fill.option("Feather", 0)
    fill.tool("Cut out")
    fill.drag((14, 30), (76, 92))
    fill.eventually(lambda: fill.masked() > 0)
    assert share(fill.mask() > 127, RED) > 0.95


def test_object_is_scribbled_over_corrected_and_taken(fill: FillPage, scribble: Scribble) -> None:
    scribble.take()
    fill.drag((36, 60), (96, 60))  # over both discs
    both = scribble.expect_found()
    assert both == pytest.approx((RED | YELLOW).sum(), rel=0.1)
    assert fill.masked() == 0  # it is looked at, not yet taken
    before = fill.head()
    fill.page.keyboard.down("Alt")
    fill.drag((73, 60), (98, 60))  # this one is not meant
    fill.page.keyboard.up("Alt")
    one = scribble.expect_found(otherwise=both)
    assert one == pytest.approx(RED.sum(), rel=0.1)
    fill.page.keyboard.press("Enter")
    fill.expect_moved(before)
    assert share(fill.mask() > 127, RED) > 0.9
    assert not (fill.mask() > 127)[YELLOW & ~RED].mean() > 0.05
    expect(scribble.words).to_have_text("Draw roughly over the object.")  # ready for the next
    fill.undo()
    assert fill.masked() == 0


def test_marks_are_taken_back_one_by_one_and_escape_drops_them(fill: FillPage, scribble: Scribble) -> None:
    scribble.take()
    node = fill.head()
    fill.drag((40, 60), (50, 60))
    one = scribble.expect_found()
    fill.drag((84, 60), (94, 60))
    both = scribble.expect_found(otherwise=one)
    assert both > one
    fill.page.keyboard.press("Control+z")
    assert scribble.expect_found(otherwise=both) == one
    fill.page.keyboard.press("Control+Shift+Z")
    assert scribble.expect_found(otherwise=one) == both
    fill.page.keyboard.press("Escape")
    expect(scribble.words).to_have_text("Draw roughly over the object.")
    expect(scribble.apply).to_be_disabled()
    assert (fill.masked(), fill.head()) == (0, node)
    fill.page.keyboard.press("Control+Shift+Z")  # dropped by mistake
    scribble.expect_found()


def test_scribbling_by_keyboard_alone(fill: FillPage, scribble: Scribble) -> None:
    scribble.take()
    fill.canvas.focus()
    press = fill.page.keyboard.press
    for key, times in (("ArrowLeft", 20), ("ArrowUp", 4)):  # from the middle to the red disc
        for _ in range(times):
            press(key)
    fill.page.keyboard.down(" ")
    press("Shift+ArrowLeft")
    fill.page.keyboard.up(" ")
    found = scribble.expect_found()
    before = fill.head()
    press("x")  # what comes next lies beside it
    expect(scribble.bar.get_by_role("radio", name="Beside it")).to_have_attribute("aria-checked", "true")
    for _ in range(54):
        press("ArrowRight")
    fill.page.keyboard.down(" ")
    press("ArrowDown")
    fill.page.keyboard.up(" ")
    scribble.expect_found()
    press("Enter")
    fill.expect_moved(before)
    assert share(fill.mask() > 127, RED) > 0.9
    assert found > 0


def test_another_tool_takes_what_was_found_and_a_reload_keeps_the_marks(fill: FillPage, scribble: Scribble) -> None:
    scribble.take()
    fill.drag((36, 60), (52, 60))
    found = scribble.expect_found()
    fill.page.reload()
    fill.expect_open()
    assert scribble.expect_found() == found
    assert fill.masked() == 0
    before = fill.head()
    fill.tool("Brush")
    fill.expect_moved(before)
    expect(scribble.bar).not_to_be_visible()
    assert share(fill.mask() > 127, RED) > 0.9


def test_fill_button_takes_the_object_that_is_seen(fill: FillPage, scribble: Scribble) -> None:
    fill.drag((8, 8), (20, 8))  # some mask, so that the button can be pressed
    fill.settle_for(steps=2)
    scribble.take()
    fill.drag((36, 60), (52, 60))
    scribble.expect_found()
    fill.fill("a hut")
    assert (fill.mask() > 127)[RED].mean() > 0.9


def test_words_say_what_is_missing_and_axe_finds_nothing_serious(
    fill: FillPage, scribble: Scribble, axe: Path
) -> None:
    scribble.take()
    scribble.bar.get_by_role("radio", name="Beside it").click()
    fill.drag((10, 10), (20, 10))
    expect(scribble.words).to_have_text("Now draw over the object itself.")
    expect(scribble.apply).to_be_disabled()
    scribble.bar.get_by_role("radio", name="On it").click()
    fill.drag((36, 60), (52, 60))
    scribble.expect_found()
    fill.intent("Refine")
    assert violations(fill.page, axe, ".wb-fill") == []


def test_a_finger_scribbles_on_a_phone(fill: FillPage) -> None:
    fill.page.set_viewport_size({"width": 390, "height": 844})
    fill.open_picture(meadow())
    scribble = Scribble(fill)
    scribble.take()
    cdp = fill.page.context.new_cdp_session(fill.page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [dict(zip("xy", fill.place(*place), strict=True)) for place in places]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (36, 60))
    for x in range(40, 56, 4):
        touch("touchMove", (x, 60))
    touch("touchEnd")
    scribble.expect_found()
    before = fill.head()
    scribble.apply.click()
    fill.expect_moved(before)
    assert share(fill.mask() > 127, RED) > 0.9
    assert fill.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = scribble.bar.bounding_box()
    assert box is not None and box["y"] + box["height"] <= fill.place(0, 0)[1]  # the picture is not covered
