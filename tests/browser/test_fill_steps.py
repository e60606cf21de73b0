"""Between Steps and Fill: a run's picture opens as a document, and what is painted on a step outlives a reload."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import Studio
from fill_page import SLOW, FillPage, ask, fetch, landscape, read_png, same_outside
from gallery_page import GalleryPage
from playwright.sync_api import Locator, Page, expect
from steps_page import StepsPage, branch_of, paint_run


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


@pytest.fixture
def steps(studio: Studio, page: Page) -> StepsPage:
    return StepsPage(page, studio.url)


def drawn(fill: FillPage) -> str:
    """What the canvas shows, as text that is equal for equal pixels, once it shows what it was told to."""
    return str(
        fill.page.evaluate(
            """async () => {
                for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
                const drawn = [...document.querySelectorAll(".wb-canvas-picture, .wb-canvas-hatch")];
                return drawn.map((canvas) => canvas.toDataURL()).join(" ");
            }"""
        )
    )


def bar_of(fill: FillPage, words: str) -> Locator:
    bar = fill.page.get_by_role("region", name="A recorded step")
    expect(bar).to_contain_text(words, timeout=SLOW)
    fill.page.wait_for_timeout(300)  # until the room has settled around the bar
    return bar


@pytest.mark.parametrize("width", [1440, 390])
def test_finished_picture_of_a_run_opens_from_the_steps_tab(
    fill: FillPage, steps: StepsPage, studio: Studio, width: int
) -> None:
    fill.page.set_viewport_size({"width": width, "height": 844})
    run = paint_run(studio.url, "hills by the sea", steps=3)
    steps.open(run, 1)  # whatever step is shown, it is the last that opens
    if width == 390:
        fill.page.get_by_role("button", name="More", exact=True).click()
    fill.page.get_by_role("button", name="Open in Fill").click()
    fill.expect_open()
    fill.document = fill.opened()
    expect(fill.name).to_have_text("Hills by the sea")
    picture = read_png(fetch(studio.url, f"pictures/{run}.png"))
    assert (fill.flat()[..., :3] == picture).all()
    assert fill.state()["layers"][0]["facts"] == {"picture": run, "run": run}
    fill.page.go_back()
    steps.expect_shown(run)


def test_picture_opens_from_the_gallery(fill: FillPage, studio: Studio) -> None:
    run = paint_run(studio.url, "a lake that opens in fill", steps=2)
    gallery = GalleryPage(fill.page, studio.url)
    gallery.open("opens in fill", 1)
    gallery.cells.click()
    gallery.details.get_by_role("button", name="Paint or fill in it").click()
    fill.expect_open()
    fill.document = fill.opened()
    assert (fill.flat()[..., :3] == read_png(fetch(studio.url, f"pictures/{run}.png"))).all()


def test_strokes_on_a_step_survive_a_reload(fill: FillPage, steps: StepsPage, studio: Studio) -> None:
    run = paint_run(studio.url, "hills by the sea", steps=6)
    steps.open(run, 4)
    fill.page.get_by_role("button", name="Paint on it").click()
    bar_of(fill, "Step 4 of")
    bare = drawn(fill)
    fill.drag((20, 30), (60, 30))
    fill.drag((20, 90), (100, 90))
    fill.page.get_by_role("button", name="Undo", exact=True).click()
    one = drawn(fill)
    fill.page.get_by_role("button", name="Redo", exact=True).click()
    two = drawn(fill)
    assert len({bare, one, two}) == 3
    fill.page.reload()
    bar = bar_of(fill, "Step 4 of")
    fill.eventually(lambda: drawn(fill) == two)
    fill.page.get_by_role("button", name="Undo", exact=True).click()
    assert drawn(fill) == one
    fill.page.reload()  # what was undone is undone, and can be redone
    bar_of(fill, "Step 4 of")
    fill.eventually(lambda: drawn(fill) == one)
    fill.page.get_by_role("button", name="Redo", exact=True).click()
    assert drawn(fill) == two
    fill.drag((110, 20), (110, 60), (90, 100), release=False)
    fill.page.reload()  # in the middle of a stroke
    bar_of(fill, "Step 4 of")
    fill.eventually(lambda: drawn(fill) not in (bare, one, two))
    fill.page.get_by_role("button", name="Undo", exact=True).click()
    fill.eventually(lambda: drawn(fill) == two)
    bar.get_by_role("button", name="Continue from 4").click()
    branch = steps.expect_branch("Painted at step 4")
    assert ask(studio.url, f"runs/{branch}")["parent"] == run
    assert not fill.page.evaluate("Object.keys(localStorage).filter((key) => key.includes('journal.step'))")
    fill.page.reload()
    steps.expect_shown(branch)  # it was given back: nothing asks for it any more


def test_region_of_a_step_survives_a_reload_and_a_closed_tab(fill: FillPage, steps: StepsPage, studio: Studio) -> None:
    run = paint_run(studio.url, "hills by the sea", steps=6)
    steps.open(run, 3)
    fill.page.get_by_role("button", name="In a region").click()
    bar_of(fill, "Step 3 of")
    bare = drawn(fill)
    fill.drag((30, 30), (90, 30))
    marked = drawn(fill)
    assert marked != bare
    fill.page.evaluate("sessionStorage.clear()")  # which a closed tab takes along
    steps.open(run, 3)
    fill.page.reload()
    steps.expect_shown(run)
    fill.page.get_by_role("button", name="In a region").click()
    bar = bar_of(fill, "Step 3 of")
    fill.eventually(lambda: drawn(fill) == marked)
    bar.get_by_role("button", name="Cancel").click()
    steps.expect_shown(run)
    fill.page.get_by_role("button", name="In a region").click()  # what was let go is gone
    bar_of(fill, "Step 3 of")
    fill.eventually(lambda: drawn(fill) == bare)


def test_each_step_shows_its_own_picture(fill: FillPage, steps: StepsPage, studio: Studio) -> None:
    run = paint_run(studio.url, "hills by the sea", steps=6)
    shown = []
    for number in (2, 6):
        steps.open(run, number) if not shown else steps.go_to(number)
        fill.page.get_by_role("button", name="Paint on it").click()
        bar = bar_of(fill, f"Step {number} of")
        shown.append(drawn(fill))
        bar.get_by_role("button", name="Cancel").click()
        steps.expect_shown(run)
    assert shown[0] != shown[1]


def test_document_of_before_is_back_after_a_step(fill: FillPage, steps: StepsPage, studio: Studio) -> None:
    fill.open_picture(landscape(), "Here before")
    run = paint_run(studio.url, "hills by the sea", steps=6)
    steps.open(run, 2)
    fill.page.get_by_role("button", name="Paint on it").click()
    bar_of(fill, "Step 2 of")
    fill.drag((40, 40), (90, 70))
    fill.page.reload()
    bar = bar_of(fill, "Step 2 of")
    bar.get_by_role("button", name="Cancel").click()
    steps.expect_shown(run)
    fill.page.get_by_role("tab", name="Fill", exact=True).click()
    fill.expect_open()
    expect(fill.name).to_have_text("Here before")
    assert (fill.flat()[..., :3] == landscape()).all()


def test_step_that_makes_room_for_a_document_keeps_its_strokes(
    fill: FillPage, steps: StepsPage, studio: Studio
) -> None:
    run = paint_run(studio.url, "hills by the sea", steps=6)
    steps.open(run, 4)
    fill.page.get_by_role("button", name="Paint on it").click()
    bar = bar_of(fill, "Step 4 of")
    fill.drag((20, 30), (60, 30))
    painted = drawn(fill)
    fill.page.get_by_role("tab", name="Steps", exact=True).click()
    steps.expect_shown(run)
    fill.page.get_by_role("button", name="Open in Fill").click()
    fill.page.wait_for_function("() => /^#fill.[0-9a-f]+$/.test(location.hash)")
    fill.expect_open()
    expect(bar).not_to_be_visible()
    expect(fill.prompt).to_be_visible()
    fill.document = fill.opened()
    assert (fill.flat()[..., :3] == read_png(fetch(studio.url, f"pictures/{run}.png"))).all()
    steps.open(run, 4)
    fill.page.get_by_role("button", name="Paint on it").click()
    bar_of(fill, "Step 4 of")
    fill.eventually(lambda: drawn(fill) == painted)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_loop_of_painting_and_regenerating_is_one_flow(
    fill: FillPage, steps: StepsPage, studio: Studio, width: int
) -> None:
    """Generate, paint over a region, regenerate it from a step, go on with it in Steps, put it back, repeat."""
    fill.page.set_viewport_size({"width": width, "height": 844})
    run = paint_run(studio.url, "a coast at sunset", steps=4)
    fill.open_picture(read_png(fetch(studio.url, f"pictures/{run}.png")))
    fill.target("Paint")
    fill.drag((60, 30), (60, 80))
    fill.intent("Refine")
    hint = fill.page.get_by_role("button", name="Mask what you painted")
    fill.expect_saved()
    before = fill.head()
    hint.click()
    fill.expect_moved(before)
    expect(hint).not_to_be_visible()
    painted = fill.flat()
    mask = fill.mask()
    assert mask[55, 60] == 255 and mask[55, 100] == 0
    grow = fill.state()["mask"]["grow"]
    assert grow == fill.state()["mask"]["feather"] > 0  # it fades beside the strokes
    mask = cv2.dilate(mask, np.ones((2 * grow + 3, 2 * grow + 3), np.uint8))
    row = fill.page.locator(".wb-start-row")
    slider = row.get_by_role("slider", name="From step")
    slider.fill("4")
    expect(row).to_contain_text("early: takes them as a hint")
    slider.fill("17")
    expect(row).to_contain_text("late: keeps your strokes")
    fill.fill("a lighthouse")
    fill.keep()
    once = fill.flat()
    assert same_outside(painted, once, mask)
    layer = fill.state()["layers"][-1]
    assert layer["facts"]["fill"]["start"] == 16

    branch = branch_of(studio.url, layer["facts"]["run"], {"from": 1, "request": {"guidance_scale": 9.0}})
    steps.open(branch)
    if width == 390:
        fill.page.get_by_role("button", name="More", exact=True).click()
    before = fill.head()
    fill.page.get_by_role("button", name="Put into its picture").click()
    fill.expect_moved(before)
    expect(fill.notice).to_contain_text("pixels untouched, 0 changed")
    again = fill.flat()
    assert (again != once).any()
    assert same_outside(painted, again, mask)
    top, old = fill.state()["layers"][-1], fill.state()["layers"][-2]
    assert (top["facts"]["run"], old["visible"]) == (branch, False)
    assert top["facts"]["fill"]["painting"]["guidance_scale"] == 9.0
    fill.undo()
    assert (fill.flat() == once).all()


def test_a_run_goes_into_the_document_that_it_was_made_in_and_nowhere_else(
    fill: FillPage, steps: StepsPage, studio: Studio
) -> None:
    fill.open_picture(landscape(), "First")
    fill.mask_rectangle(30, 30, 80, 80)
    fill.settle_for(steps=2)
    fill.fill("a hut")
    fill.keep()
    run = fill.state()["layers"][-1]["facts"]["run"]
    first, head = fill.document, fill.head()
    another = fill.open_picture(landscape(), "Another")
    untouched = fill.head()
    steps.open(run)
    fill.page.get_by_role("button", name="Put into its picture").click()
    expect(fill.notice).to_contain_text("It is in its place")
    assert fill.opened() == first != another
    assert fill.head() == untouched
    fill.document = first
    fill.expect_moved(head)
    fill.undo()
    fill.undo()  # the fill itself: now no document shows it
    before = fill.head()
    steps.open(run)
    fill.page.get_by_role("button", name="Put into its picture").click()
    expect(fill.notice).to_contain_text("No document shows a layer that came of that run")
    assert fill.head() == before
    plain = paint_run(studio.url, "a coast at sunset", steps=2)
    steps.open(plain)
    expect(fill.page.get_by_role("button", name="Open in Fill")).to_be_visible()
    expect(fill.page.get_by_role("button", name="Put into its picture")).not_to_be_visible()
