"""The whole history of a document in a panel: every way that was ever taken is there, and can be gone to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_core import violations
from conftest import Studio
from fill_page import FillPage, Pixels, ask, landscape
from playwright.sync_api import Locator, Page, expect


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


class History:
    """The panel, and what a person does with it."""

    def __init__(self, fill: FillPage) -> None:
        self.fill = fill
        self.opener = fill.page.get_by_role("button", name="History", exact=True)
        self.panel = fill.page.get_by_role("dialog", name="History", exact=True)
        self.rows = self.panel.get_by_role("listitem")
        self.shown = self.panel.locator("[aria-current]")

    def open(self) -> None:
        self.opener.click()
        expect(self.panel).to_be_visible()

    def close(self) -> None:
        self.fill.page.keyboard.press("Escape")
        expect(self.panel).not_to_be_visible()

    def row(self, node: str) -> Locator:
        return self.panel.locator(f'[data-id="{node}"]')

    def go(self, node: str) -> None:
        """Goes to a node, and waits until the server is there too."""
        self.row(node).click()
        expect(self.row(node)).to_have_attribute("aria-current", "true")
        self.fill.eventually(lambda: self.fill.head() == node)
        self.fill.expect_saved()


@pytest.fixture
def history(fill: FillPage) -> History:
    return History(fill)


def stroke(fill: FillPage, y: float) -> tuple[str, Pixels]:
    """Paints a line; answers the node that it made, and the picture."""
    before = fill.head()
    fill.drag((20, y), (100, y))
    fill.expect_moved(before)
    return fill.head(), fill.flat()


def add_changes(fill: FillPage, parent: str, count: int) -> str:
    """So many changes after a node, each on top of the last, without the page. Answers the last."""
    state = ask(fill.url, f"documents/{fill.document}")["state"]
    for k in range(count):
        node = {"id": f"{k:032x}", "parent": parent, "label": f"Change {k}", "state": state}
        parent = ask(fill.url, f"documents/{fill.document}/nodes", node)["id"]
    return parent


def test_both_ways_can_be_gone_to_and_after_a_reload_too(fill: FillPage, history: History) -> None:
    fill.open_picture(landscape())
    fill.target("Paint")
    root = fill.head()
    a, picture_a = stroke(fill, 30)
    fill.undo()
    b, picture_b = stroke(fill, 90)
    assert (picture_a != picture_b).any()

    history.open()
    expect(history.rows).to_have_count(3)
    expect(history.shown).to_have_attribute("data-id", b)
    expect(history.shown).to_be_focused()
    expect(history.row(a)).to_contain_text("another way")
    history.go(a)
    assert (fill.flat() == picture_a).all()
    expect(history.shown).to_have_count(1)
    expect(history.row(b)).to_contain_text("another way")
    history.close()
    expect(history.opener).to_be_focused()

    fill.page.reload()
    fill.expect_open()
    assert (fill.flat() == picture_a).all()
    history.open()
    history.go(b)
    assert (fill.flat() == picture_b).all()
    history.go(a)
    history.close()
    fill.undo()
    assert fill.head() == root
    assert (fill.flat()[..., :3] == landscape()).all()
    fill.redo()  # along the way that was gone to, not the newest
    assert (fill.head(), (fill.flat() == picture_a).all()) == (a, True)


def test_a_way_that_was_left_before_it_was_sent_is_there_too(
    fill: FillPage, history: History, expected_failures: list[str]
) -> None:
    expected_failures.append("net::ERR_FAILED")
    fill.open_picture(landscape())
    fill.target("Paint")
    away = re.compile(r".*/studio/(pixels/bundle|documents/.*/(nodes|head))$")
    fill.page.route(away, lambda route: route.abort())
    fill.drag((20, 30), (100, 30))
    fill.page.get_by_role("button", name="Undo", exact=True).click()
    fill.drag((20, 90), (100, 90))
    history.open()
    expect(history.panel.get_by_text("not saved yet")).to_have_count(2)
    fill.page.unroute(away)
    fill.page.reload()
    fill.expect_open()
    fill.eventually(lambda: len(ask(fill.url, f"documents/{fill.document}")["history"]) == 3)
    fill.expect_saved()
    assert (fill.flat()[90, 60, :3] == (0xC2, 0x3A, 0x2B)).all()
    nodes = ask(fill.url, f"documents/{fill.document}")["history"]
    assert [node["parent"] for node in nodes] == [None, nodes[0]["id"], nodes[0]["id"]]
    history.open()
    history.go(nodes[1]["id"])
    flat = fill.flat()
    assert (flat[30, 60, :3] == (0xC2, 0x3A, 0x2B)).all()
    assert (flat[90, 60, :3] == landscape()[90, 60]).all()


def test_an_offline_change_on_a_way_gone_to_is_done_again_on_that_way(
    fill: FillPage, history: History, expected_failures: list[str]
) -> None:
    expected_failures.append("net::ERR_FAILED")
    fill.open_picture(landscape())
    fill.target("Paint")
    root = fill.head()
    a, _ = stroke(fill, 30)
    fill.undo()
    stroke(fill, 90)
    history.open()
    history.go(a)
    history.close()
    fill.undo()
    away = re.compile(r".*/studio/(pixels/bundle|documents/.*/(nodes|head))$")
    fill.page.route(away, lambda route: route.abort())
    fill.page.get_by_role("button", name="Redo", exact=True).click()
    fill.drag((60, 50), (60, 110))
    expect(fill.saved).to_have_text("Not saved yet, trying again")
    assert fill.head() == root  # from there the newest way is the other one
    fill.page.unroute(away)
    fill.page.reload()
    fill.expect_open()
    fill.eventually(lambda: fill.head() != root)
    flat = fill.flat()
    red = (0xC2, 0x3A, 0x2B)
    assert (flat[30, 40, :3] == red).all() and (flat[80, 60, :3] == red).all()
    assert (flat[90, 30, :3] == landscape()[90, 30]).all()


def test_thousands_of_changes_come_in_parts(fill: FillPage, history: History) -> None:
    document = fill.open_picture(landscape())
    root = fill.head()
    last = add_changes(fill, root, 350)
    fill.open(document)
    fill.page.reload()
    fill.expect_open()
    history.open()
    expect(history.rows).to_have_count(100)
    expect(history.shown).to_have_attribute("data-id", last)
    earlier = history.panel.get_by_role("button", name="Show earlier")
    earlier.click()
    expect(history.rows).to_have_count(200)
    earlier.click()
    earlier.click()
    expect(earlier).not_to_be_visible()
    assert history.rows.count() <= 300
    history.go(root)
    expect(history.panel.get_by_role("button", name="Show later")).to_be_visible()
    history.close()
    history.open()
    expect(history.row(root)).to_be_focused()


def test_the_keyboard_walks_and_goes(fill: FillPage, history: History) -> None:
    fill.open_picture(landscape())
    root = fill.head()
    last = add_changes(fill, root, 3)
    fill.page.reload()
    fill.expect_open()
    history.opener.focus()
    fill.page.keyboard.press("Enter")
    expect(history.row(last)).to_be_focused()
    fill.page.keyboard.press("ArrowDown")
    fill.page.keyboard.press("ArrowDown")
    expect(history.row(f"{0:032x}")).to_be_focused()
    fill.page.keyboard.press("Enter")
    fill.eventually(lambda: fill.head() == f"{0:032x}")
    expect(history.shown).to_be_focused()
    fill.page.keyboard.press("End")
    expect(history.row(root)).to_be_focused()
    assert ask(fill.url, f"documents/{fill.document}")["head"] == f"{0:032x}"


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (1440, "light"), (390, "dark"), (390, "light")])
def test_everything_is_within_the_window_and_has_a_name(
    fill: FillPage, history: History, axe: Path, width: int, theme: str
) -> None:
    fill.page.set_viewport_size({"width": width, "height": 844})
    fill.page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    fill.open_picture(landscape())
    root = fill.head()
    last = add_changes(fill, root, 4)
    state = ask(fill.url, f"documents/{fill.document}")["state"]
    fork = {
        "id": "f" * 32,
        "parent": f"{1:032x}",
        "label": "Fill: A very long name of what was asked for, cut off here",
    }
    ask(fill.url, f"documents/{fill.document}/nodes", {**fork, "state": state})
    ask(fill.url, f"documents/{fill.document}/head", {"node": last})
    fill.page.reload()
    fill.expect_open()
    history.open()
    expect(history.rows).to_have_count(6)
    box = history.panel.bounding_box()
    assert box is not None
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= 844
    assert fill.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opener = history.opener.bounding_box()
    assert opener is not None and opener["x"] >= 0 and opener["x"] + opener["width"] <= width
    size = fill.page.get_by_role("spinbutton", name="Size, as a number", exact=True).bounding_box()
    undo = fill.page.get_by_role("button", name="Undo", exact=True).bounding_box()
    assert size is not None and undo is not None and size["x"] + size["width"] <= undo["x"]
    assert violations(fill.page, axe, ".wb-menu:popover-open") == []
    history.panel.get_by_role("button", name="Steps of Fill: A very long name").click()
    expect(fill.page.get_by_text("No recorded run belongs to this change.")).to_be_visible()


def test_a_kept_fill_leads_to_its_steps(fill: FillPage, history: History) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(30, 30, 90, 90)
    fill.settle_for(steps=2)
    fill.fill("a lighthouse")
    fill.keep()
    run = fill.state()["layers"][-1]["facts"]["run"]
    fill.undo()
    fill.tool("Brush")
    stroke(fill, 100)
    history.open()
    history.panel.get_by_role("button", name="Steps of Fill: A lighthouse").click()
    fill.page.wait_for_function("run => location.hash.startsWith(`#steps/${run}`)", arg=run)
    expect(history.panel).not_to_be_visible()
