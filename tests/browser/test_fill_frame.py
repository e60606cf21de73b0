"""The Fill tab's room: windows of every size, drawer and sheet, names; and a step that is painted on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_core import violations
from conftest import Studio
from fill_page import SLOW, FillPage, ask, landscape
from playwright.sync_api import Page, expect
from steps_page import StepsPage, paint_run


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


NAMELESS = """() => [...document.querySelectorAll(".wb-fill :is(button, input, select, textarea, a[href])")]
    .filter((element) => element.checkVisibility())
    .filter((element) => !(element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.length))
    .map((element) => element.outerHTML)"""


def overhang(fill: FillPage) -> int:
    return int(fill.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize(
    "size", [(390, 844), (820, 1180), (1024, 600), (1440, 900), (3840, 2160)], ids=lambda size: f"{size[0]}"
)
def test_everything_has_a_place_and_a_name(fill: FillPage, size: tuple[int, int]) -> None:
    fill.page.set_viewport_size({"width": size[0], "height": size[1]})
    fill.open_picture(landscape())
    fill.drag((30, 40), (80, 60))
    expect(fill.button).to_contain_text("Fill ")
    assert overhang(fill) == 0
    box = fill.button.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= size[0]
    assert box["y"] + box["height"] <= size[1]
    x, y = fill.place(0, 0)
    right, bottom = fill.place(128, 128)
    assert 0 <= x < right <= size[0]
    assert 0 <= y < bottom <= box["y"] + box["height"]
    assert fill.page.evaluate(NAMELESS) == []
    expect(fill.badge).to_have_count(1)


@pytest.mark.parametrize("width", [390, 820])
def test_dock_is_a_drawer_or_a_sheet_where_there_is_no_room(fill: FillPage, width: int) -> None:
    fill.page.set_viewport_size({"width": width, "height": 844})
    fill.open_picture(landscape())
    layers = fill.page.get_by_role("region", name="Layers")
    expect(layers).not_to_be_visible()
    opener = fill.page.get_by_role("button", name="Layers, mask and settings")
    opener.click()
    expect(layers).to_be_visible()
    expect(opener).to_have_attribute("aria-expanded", "true")
    fill.page.keyboard.press("Escape")
    expect(layers).not_to_be_visible()
    expect(opener).to_be_focused()


def test_phone_paints_a_mask_and_fills_it(fill: FillPage) -> None:
    fill.page.set_viewport_size({"width": 390, "height": 844})
    fill.open_picture(landscape())
    fill.drag((30, 40), (80, 60))
    expect(fill.badge).to_contain_text("will change")
    opener = fill.page.get_by_role("button", name="Layers, mask and settings")
    opener.click()
    fill.settle_for(steps=2)
    fill.page.get_by_role("button", name="Close", exact=True).click()
    fill.fill("a hut")
    fill.keep_button.click()
    expect(fill.badge).to_contain_text("untouched, 0 changed")
    opener.click()
    expect(fill.layers).to_have_count(2)


def test_an_empty_studio_says_what_to_do_first(fill: FillPage) -> None:
    away = re.compile(r"/studio/documents(\?|$)")
    fill.page.route(away, lambda route: route.fulfill(json={"documents": [], "cursor": None, "count": 0, "in_bin": 0}))
    fill.open_empty_tab()
    expect(
        fill.page.get_by_role("heading", name="Open, paste or drop a picture, or make one in Generate")
    ).to_be_visible()
    expect(fill.page.get_by_role("button", name="Open a picture", exact=True)).to_be_visible()
    expect(fill.prompt).not_to_be_visible()
    assert overhang(fill) == 0


def test_a_steps_picture_is_painted_on_and_goes_on_from_there(fill: FillPage, studio: Studio) -> None:
    run = paint_run(studio.url, "hills by the sea", steps=6)
    steps = StepsPage(fill.page, studio.url)
    steps.open(run, 4)
    fill.page.get_by_role("button", name="Paint on it").click()
    bar = fill.page.get_by_role("region", name="A recorded step")
    expect(bar).to_contain_text("Step 4 of", timeout=SLOW)
    go = bar.get_by_role("button", name="Continue from 4")
    expect(go).to_be_disabled()
    expect(fill.prompt).not_to_be_visible()
    fill.drag((40, 40), (90, 70))
    expect(go).to_be_enabled()
    documents = ask(studio.url, "documents")["count"]
    go.click()
    branch = steps.expect_branch("Painted at step 4")
    assert branch != run
    assert ask(studio.url, "documents")["count"] == documents  # a step is no document
    fill.page.get_by_role("tab", name="Fill", exact=True).click()
    expect(bar).not_to_be_visible()


def test_cancelled_step_gives_the_document_back(fill: FillPage, studio: Studio) -> None:
    run = paint_run(studio.url, "hills by the sea", steps=6)
    fill.open_picture(landscape(), "Here before")
    before = fill.flat()
    steps = StepsPage(fill.page, studio.url)
    steps.open(run, 2)
    fill.page.get_by_role("button", name="Paint on it").click()
    bar = fill.page.get_by_role("region", name="A recorded step")
    expect(bar).to_be_visible(timeout=SLOW)
    fill.drag((40, 40), (90, 70))
    bar.get_by_role("button", name="Cancel").click()
    steps.expect_shown(run)
    fill.page.get_by_role("tab", name="Fill", exact=True).click()
    fill.expect_open()
    expect(fill.name).to_have_text("Here before")
    assert (fill.flat() == before).all()


@pytest.mark.parametrize(
    ("size", "theme"), [((1440, 900), "dark"), ((1440, 900), "light"), ((820, 1180), "light"), ((390, 844), "dark")]
)
def test_axe_finds_nothing_serious(fill: FillPage, axe: Path, size: tuple[int, int], theme: str) -> None:
    fill.page.set_viewport_size({"width": size[0], "height": size[1]})
    fill.page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    fill.open_picture(landscape())
    fill.drag((30, 40), (80, 60))
    expect(fill.button).to_contain_text("Fill ")
    assert violations(fill.page, axe, ".wb-fill") == []
    if size[0] < 1024:
        fill.page.get_by_role("button", name="Layers, mask and settings").click()
        expect(fill.page.get_by_role("region", name="Layers")).to_be_visible()
        assert violations(fill.page, axe, ".wb-fill") == []
