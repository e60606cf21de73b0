"""What the canvas asks the server: a wand's edge. The picture goes up once, and the place is marked meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Studio
from fill_page import FillPage
from numpy.typing import NDArray
from playwright.sync_api import Page, Request, Route, expect

Y, X = np.mgrid[0:128, 0:128]
FAR = np.hypot(X - 63.5, Y - 63.5)


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def moon() -> NDArray[np.uint8]:
    """A light disc on a dark sky, its edge four pixels soft: RGB."""
    share = np.clip((34 - FAR) / 4, 0, 1)[..., None]
    return np.rint(share * (240, 236, 210) + (1 - share) * (20, 26, 70)).astype(np.uint8)


def fit_edge(fill: FillPage) -> None:
    fill.tool("Wand")
    fill.page.get_by_role("button", name="More of this tool").click()
    fill.page.get_by_role("checkbox", name="Fit the edge to the picture").check()
    fill.page.keyboard.press("Escape")


def sent(page: Page) -> list[str]:
    """The addresses that single pictures and selections are posted to, from now on."""
    addresses: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith(("/studio/pixels", "/selections/wand")):
            addresses.append(request.url.rsplit("/", 1)[1])

    page.on("request", note)
    return addresses


def test_a_fitted_wand_is_as_soft_as_the_picture_and_the_picture_goes_up_once(fill: FillPage) -> None:
    fill.open_picture(moon())
    fill.option("Feather", 0)
    fit_edge(fill)
    addresses = sent(fill.page)
    head = fill.head()
    fill.click(63, 63)
    fill.expect_moved(head)
    mask = fill.mask()
    assert (mask[FAR < 28] == 255).all()
    assert (mask[FAR > 38] == 0).all()
    assert ((mask > 20) & (mask < 235)).sum() > 60  # half there, half not
    assert addresses == ["pixels", "wand", "pixels"]  # the picture, the question, the mask for a reload
    head = fill.head()
    fill.page.keyboard.down("Alt")
    fill.click(5, 5)  # takes the sky away, so that of the soft edge less is left
    fill.page.keyboard.up("Alt")
    fill.expect_moved(head)
    assert addresses[3:] == ["wand", "pixels"]  # the mask is another one, the picture is not
    again = fill.mask()
    assert (again <= mask).all()
    assert (again[FAR < 28] == 255).all()
    fill.tool("Rectangle")
    fill.target("Paint")
    head = fill.head()
    fill.drag((0, 0), (20, 20))
    fill.expect_moved(head)
    fill.tool("Wand")
    head = fill.head()
    fill.canvas.focus()
    fill.page.keyboard.press("ArrowLeft")
    fill.page.keyboard.press("Enter")
    fill.expect_moved(head)
    assert addresses[5:] == ["pixels", "wand", "pixels"]
    before = fill.mask()
    fill.open(fill.document)
    np.testing.assert_array_equal(fill.mask(), before)


def test_the_place_is_marked_until_the_server_has_answered(fill: FillPage, expected_failures: list[str]) -> None:
    expected_failures.append("503")
    fill.open_picture(moon())
    fit_edge(fill)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    fill.page.route("**/selections/wand", hold)
    marked = """([x, y]) => {
        const above = document.querySelector(".wb-canvas-above");
        const box = above.getBoundingClientRect();
        const scale = above.width / box.width;
        const part = [(x - box.left - 13) * scale, (y - box.top - 13) * scale, 26 * scale, 26 * scale].map(Math.round);
        return above.getContext("2d").getImageData(...part).data.some((value, k) => k % 4 === 3 && value > 0);
    }"""
    place = list(fill.place(63.5, 63.5))
    assert not fill.page.evaluate(marked, place)
    fill.click(63, 63)
    fill.page.mouse.move(5, 5)
    fill.page.wait_for_function(marked, arg=place)
    fill.eventually(lambda: bool(held))
    assert fill.page.evaluate(marked, place)
    head = fill.head()
    held.pop().continue_()
    fill.expect_moved(head)
    fill.page.keyboard.press("Control+d")
    fill.eventually(lambda: fill.masked() == 0)
    fill.page.wait_for_function(f"(place) => !({marked})(place)", arg=place)
    fill.click(63, 63)
    fill.page.mouse.move(5, 5)
    fill.eventually(lambda: bool(held))
    held.pop().fulfill(status=503, json={"error": "The studio is busy."})
    expect(fill.notice).to_contain_text("The studio is busy.")
    fill.page.wait_for_function(f"(place) => !({marked})(place)", arg=place)
    assert fill.masked() == 0
