"""Variations of a fill: what is shown staged is what is kept, in every byte, and none goes that was not let go."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from conftest import Studio
from fill_page import SLOW, FillPage, Pixels, ask, fetch, landscape, read_png, same_outside
from playwright.sync_api import Locator, Page, Route, expect


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def seen(fill: FillPage) -> Pixels:
    """What the canvas shows of an opaque document at 100 %, the mask's hatch and the ants left out: RGB."""
    width, height = fill.state()["width"], fill.state()["height"]
    found = fill.page.evaluate(
        """async ([width, height]) => {
            await new Promise((next) => requestAnimationFrame(() => setTimeout(next, 100)));
            const canvas = document.querySelector(".wb-canvas-picture");
            const box = canvas.getBoundingClientRect();
            const [left, top, zoom] = JSON.parse(document.querySelector(".wb-fill-canvas").dataset.place);
            if (zoom !== 1 || canvas.width !== Math.round(box.width)) throw new Error(`At ${zoom}, not at 100 %.`);
            const context = canvas.getContext("2d");
            const [x, y] = [left - box.left, top - box.top].map(Math.round);
            return [...context.getImageData(x, y, width, height).data];
        }""",
        [width, height],
    )
    return np.array(found, np.uint8).reshape(height, width, 4)[..., :3]


def at_full_size(fill: FillPage) -> None:
    fill.canvas.focus()
    fill.page.keyboard.press("1")
    fill.page.wait_for_function("JSON.parse(document.querySelector('.wb-fill-canvas').dataset.place)[2] === 1")


def paint_a_stripe(fill: FillPage, *points: tuple[float, float]) -> None:
    """An opaque stroke on the layer that is active."""
    before = fill.head()
    fill.tool("Brush")
    fill.target("Paint")
    fill.option("Size", 24)
    fill.drag(*points)
    fill.expect_moved(before)


def add_layer(fill: FillPage) -> None:
    before = fill.head()
    fill.page.get_by_role("button", name="Add a layer").click()
    fill.expect_moved(before)


def layer(fill: FillPage, place: int) -> Locator:
    """A layer in the list, the topmost first."""
    return fill.page.locator(".wb-layer-pick").nth(place)


def jobs(fill: FillPage) -> list[dict[str, Any]]:
    """The fills whose variations are looked at, as the studio tells of them."""
    kept = fill.page.evaluate(f"localStorage.getItem('wavebrush.journal.{fill.document}')")
    assert kept is not None
    return [ask(fill.url, f"jobs/{one['job']}") for one in fill.page.evaluate("JSON.parse", kept)["fill"]["jobs"]]


def crop(fill: FillPage, slot: dict[str, Any]) -> Pixels:
    return read_png(fetch(fill.url, f"pixels/{slot['layer']['pixels']}.png"))


def tile(fill: FillPage, of: dict[str, Any]) -> Pixels:
    return read_png(fetch(fill.url, f"pixels/{of['tiles']['0,0']}.png"))


def wait_for(fill: FillPage, variations: int) -> None:
    """Until so many are there and the last one is looked at."""
    expect(fill.variations).to_have_count(variations + 1)
    expect(fill.variations.nth(variations)).to_have_attribute("aria-pressed", "true", timeout=SLOW)
    fill.expect_variations()


def one_more(fill: FillPage) -> None:
    have = fill.variations.count() - 1
    fill.page.get_by_role("button", name="One more").click()
    wait_for(fill, have + 1)


def test_what_is_staged_is_kept_above_all_other_layers(fill: FillPage) -> None:
    fill.open_picture(landscape())
    add_layer(fill)
    paint_a_stripe(fill, (20, 64), (108, 64))
    layer(fill, 1).click()  # the ground is active
    fill.mask_rectangle(40, 40, 90, 90)
    at_full_size(fill)
    before = fill.flat()
    assert (seen(fill) == before[..., :3]).all()
    fill.settle_for(seed=4)
    fill.fill("a red barn")
    staged = seen(fill)
    stripe = (slice(58, 70), slice(50, 80))
    assert (staged != before[..., :3])[stripe].any(axis=2).mean() > 0.9
    fill.keep()
    assert (fill.flat()[..., :3] == staged).all()
    assert (seen(fill) == staged).all()
    assert [layer["kind"] for layer in fill.state()["layers"]] == ["picture", "paint", "fill"]


def test_run_again_stays_below_what_lies_above_and_gives_the_same_bytes(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(seed=9)
    fill.fill("a red barn")
    fill.keep()
    add_layer(fill)
    paint_a_stripe(fill, (20, 64), (108, 64))
    layer(fill, 1).click()
    expect(fill.button).to_contain_text("Run again")
    at_full_size(fill)
    before = fill.flat()
    fill.fill()
    assert (seen(fill) == before[..., :3]).all()  # the stripe was not there when it was painted first
    fill.keep()
    assert (fill.flat() == before).all()
    assert [layer["visible"] for layer in fill.state()["layers"]] == [True, False, True, True]
    assert [layer["kind"] for layer in fill.state()["layers"]] == ["picture", "fill", "fill", "paint"]


def test_run_again_hides_a_layer_that_was_painted_on_and_takes_its_opacity_over(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(seed=9)
    fill.fill("a red barn")
    fill.keep()
    first = fill.state()["layers"][-1]
    paint_a_stripe(fill, (50, 64), (80, 64))
    before = fill.head()
    opacity = fill.page.get_by_role("spinbutton", name="Opacity of A red barn, in percent")
    opacity.fill("60")
    opacity.press("Enter")
    fill.expect_moved(before)
    worked_on = fill.state()["layers"][-1]
    layer(fill, 0).click()
    expect(fill.button).to_contain_text("Run again")
    at_full_size(fill)
    fill.fill()
    staged = seen(fill)
    fill.keep()
    assert (fill.flat()[..., :3] == staged).all()
    _, old, new = fill.state()["layers"]
    assert old == {**worked_on, "visible": False}
    assert (new["visible"], new["opacity"]) == (True, 60)
    assert new["tiles"] == first["tiles"] != old["tiles"]  # the strokes are on the old one alone
    fill.undo()
    assert fill.state()["layers"][-1] == worked_on


def test_one_more_stands_beside_the_first_which_can_still_be_kept(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(variations=1, seed=5)
    at_full_size(fill)
    fill.fill("a red barn")
    expect(fill.variations).to_have_count(2)
    first = seen(fill)
    one_more(fill)
    second = seen(fill)
    assert (first != second).any()
    [[slot], [other]] = [job["pictures"] for job in jobs(fill)]
    assert [slot["seed"], other["seed"]] == [5, 6]
    fill.variations.nth(1).click()
    assert (seen(fill) == first).all()
    fill.keep()
    assert (fill.flat()[..., :3] == first).all()
    kept = fill.state()["layers"][-1]
    assert (kept["facts"]["run"], kept["facts"]["frame"]) == (slot["id"], slot["frame"])
    pixels = crop(fill, slot)
    assert (tile(fill, kept)[: pixels.shape[0], : pixels.shape[1]] == pixels).all()
    expect(fill.badge).to_have_text(f"{slot['count']['untouched']:,} pixels untouched, 0 changed")
    expect(fill.variations).to_have_count(0)


def test_other_words_for_the_same_mask_stand_beside_what_is_there(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(variations=2, seed=5)
    fill.fill("a red barn")
    fill.prompt.fill("a pond")
    fill.button.click()
    expect(fill.variations).to_have_count(5)
    expect(fill.variations.nth(3)).to_have_attribute("aria-pressed", "true", timeout=SLOW)
    fill.expect_variations()
    fill.page.reload()
    fill.expect_open()
    wait_for_all(fill, 5)
    fill.variations.nth(2).click()
    fill.keep()
    painting = fill.state()["layers"][-1]["facts"]["fill"]["painting"]
    assert (painting["prompt"], painting["seed"]) == ("a red barn", 6)


def wait_for_all(fill: FillPage, slots: int) -> None:
    """After a reload: all of them are there with their pictures, and one is looked at."""
    expect(fill.variations).to_have_count(slots, timeout=SLOW)
    expect(fill.page.locator(".wb-variation canvas")).to_have_count(slots, timeout=SLOW)
    fill.expect_variations()


def test_reload_while_one_more_is_painted_finds_both(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(steps=16, seed=5)
    fill.fill("a red barn")
    fill.page.get_by_role("button", name="One more").click()
    expect(fill.page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    fill.page.reload()
    fill.expect_open()
    wait_for_all(fill, 3)
    fill.variations.nth(1).click()
    fill.keep()
    assert fill.state()["layers"][-1]["facts"]["fill"]["painting"]["seed"] == 5


def test_another_mask_asks_before_variations_go(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(20, 20, 60, 60)
    fill.settle_for(variations=2, seed=5)
    fill.fill("a red barn")
    fill.mask_rectangle(80, 80, 110, 110)
    fill.button.click()
    asked = fill.page.get_by_role("dialog", name="2 variations are not kept")
    asked.get_by_role("button", name="Go back").click()
    expect(fill.variations).to_have_count(3)
    assert len(jobs(fill)) == 1
    fill.button.click()
    asked.get_by_role("button", name="Discard and fill").click()
    fill.eventually(lambda: [slot["seed"] for job in jobs(fill) for slot in job["pictures"]] == [5, 6])
    expect(fill.variations).to_have_count(3)
    fill.expect_variations()


def test_nothing_goes_where_one_more_is_refused_or_comes_to_nothing(
    fill: FillPage, expected_failures: list[str]
) -> None:
    expected_failures.append("429")
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(seed=5)
    at_full_size(fill)
    fill.fill("a red barn")
    first = seen(fill)
    more = fill.page.get_by_role("button", name="One more")

    def refuse(route: Route) -> None:
        route.fulfill(status=429, json={"error": "Too many are waiting.", "field": None})

    fill.page.route("**/studio/fills", refuse)
    more.click()
    expect(fill.notice).to_contain_text("Too many are waiting.")
    expect(fill.variations).to_have_count(2)
    fill.page.unroute("**/studio/fills", refuse)

    [job] = jobs(fill)
    waiting = {**job["pictures"][0], "state": "waiting", "id": None, "layer": None, "count": None}
    nothing = {**job, "id": "0" * 32, "state": "stopped", "pictures": [waiting]}
    fill.page.route("**/studio/fills", lambda route: route.fulfill(status=202, json=nothing))
    more.click()
    expect(fill.notice).to_contain_text("Stopped before anything was painted")
    expect(fill.variations).to_have_count(2)
    expect(fill.variations.nth(1)).to_have_attribute("aria-pressed", "true")
    assert (seen(fill) == first).all()
    assert [one["id"] for one in jobs(fill)] == [job["id"]]
    fill.keep()
    assert (fill.flat()[..., :3] == first).all()


def test_variations_that_were_not_kept_come_back_in_the_place_of_the_one_that_was(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(variations=3, seed=5)
    at_full_size(fill)
    fill.fill("a red barn")
    slots = jobs(fill)[0]["pictures"]
    ids = [slot["id"] for slot in slots]
    fill.variations.nth(2).click()
    second = seen(fill)
    fill.variations.nth(1).click()
    first = seen(fill)
    assert (first != second).any()
    fill.keep()
    kept = fill.state()["layers"][-1]
    assert (kept["facts"]["run"], kept["facts"]["variations"]) == (ids[0], ids[1:])
    fill.page.reload()
    fill.expect_open()
    at_full_size(fill)
    others = fill.page.get_by_role("button", name="2 other variations")
    others.click()
    expect(fill.variations).to_have_count(3)  # Before is the one that was kept
    fill.expect_variations()
    expect(fill.variations.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(fill.page.get_by_role("button", name=re.compile("more$"))).not_to_be_visible()
    assert (seen(fill) == second).all()
    fill.variations.first.click()
    assert (seen(fill) == first).all()
    fill.variations.nth(1).click()
    fill.keep()
    assert (fill.flat()[..., :3] == second).all()
    ground, other = fill.state()["layers"]
    assert ground["kind"] == "picture"
    assert (other["facts"]["run"], other["facts"]["variations"]) == (ids[1], [ids[0], ids[2]])
    assert (other["name"], other["facts"]["frame"]) == (kept["name"], kept["facts"]["frame"])
    assert other["facts"]["mask"] == kept["facts"]["mask"]
    pixels = crop(fill, slots[1])
    assert (tile(fill, other)[: pixels.shape[0], : pixels.shape[1]] == pixels).all()
    expect(fill.badge).to_have_text(f"{slots[1]['count']['untouched']:,} pixels untouched, 0 changed")
    fill.undo()
    assert (fill.flat()[..., :3] == first).all()
    assert fill.state()["layers"][-1] == kept
    fill.redo()
    assert (fill.flat()[..., :3] == second).all()
    others.click()
    expect(fill.variations).to_have_count(3)
    fill.expect_variations()
    fill.keep()
    assert (fill.flat()[..., :3] == first).all()
    assert fill.state()["layers"][-1]["tiles"] == kept["tiles"]


def test_what_was_painted_on_a_kept_variation_stays_when_another_takes_its_place(
    fill: FillPage, expected_failures: list[str]
) -> None:
    expected_failures.append("404")
    fill.open_picture(landscape())
    fill.mask_rectangle(40, 40, 90, 90)
    fill.settle_for(variations=3, seed=5)
    fill.fill("a red barn")
    [_, other, lost] = jobs(fill)[0]["pictures"]
    fill.keep()
    before = fill.head()
    fill.tool("Move")
    fill.drag((60, 60), (70, 53))
    fill.expect_moved(before)
    moved = fill.state()["layers"][-1]
    paint_a_stripe(fill, (60, 64), (90, 64))
    worked_on = fill.state()["layers"][-1]

    def answer(route: Route) -> None:
        if route.request.post_data_json["run"] == lost["id"]:
            route.fulfill(status=404, json={"error": "There is no such picture here (any more).", "field": None})
        else:
            route.continue_()

    fill.page.route("**/studio/fills/layer", answer)
    others = fill.page.get_by_role("button", name="2 other variations")
    others.click()
    expect(fill.notice).to_contain_text("1 of 2 is not in the gallery any more.")
    expect(fill.variations).to_have_count(2)
    fill.expect_variations()
    fill.page.get_by_role("button", name="Leave it as it is").click()
    expect(fill.variations).to_have_count(0)
    assert fill.state()["layers"][-1] == worked_on
    others.click()
    expect(fill.variations).to_have_count(2)
    fill.expect_variations()
    fill.keep()
    _, old, new = fill.state()["layers"]
    assert old == {**worked_on, "visible": False}
    assert new["facts"]["run"] == other["id"]
    assert new["facts"]["frame"] == worked_on["facts"]["frame"]
    assert (new["x"], new["y"]) == (moved["x"], moved["y"])  # where the strokes gave the other one a larger ground
    fill.undo()
    assert fill.state()["layers"][-1] == worked_on


def test_many_variations_scroll_within_their_row(fill: FillPage) -> None:
    fill.page.set_viewport_size({"width": 390, "height": 844})
    fill.open_picture(landscape())
    fill.drag((30, 40), (80, 60))
    opener = fill.page.get_by_role("button", name="Layers, mask and settings")
    opener.click()
    fill.settle_for(steps=1, variations=4)
    fill.page.get_by_role("button", name="Close", exact=True).click()
    fill.fill("a hut")
    fill.page.get_by_role("button", name="Four more").click()
    expect(fill.variations).to_have_count(9)
    fill.expect_variations()
    row = fill.page.locator(".wb-variation-row")
    assert row.evaluate("row => row.scrollWidth > row.clientWidth")
    assert fill.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    box, last = row.bounding_box(), fill.variations.last.bounding_box()
    assert box is not None
    assert last is not None
    assert last["x"] + last["width"] <= box["x"] + box["width"] + 1  # the newest is in sight
    before = fill.variations.first.bounding_box()
    assert before is not None
    assert before["x"] >= box["x"]  # and so is Before


SETTINGS = ("prefill", "harmonise", "match_colour", "method")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("intent", ["Replace", "Vary"])
def test_intent_and_setting_are_what_was_painted(fill: FillPage, intent: str, setting: str) -> None:
    fill.open_picture(landscape(96, 96))
    before = fill.flat()
    fill.mask_rectangle(30, 30, 70, 70)
    fill.intent(intent)
    fill.settle_for(steps=2, seed=3)
    section = fill.page.get_by_role("region", name="How it is painted")
    usual = ask(fill.url, "fills/usual")["intents"][intent.lower()]
    if setting == "prefill":
        section.get_by_label("What the hole holds first").select_option("noise")
        assert usual["prefill"] != "noise"
    elif setting == "harmonise":
        assert usual["harmonise"] != 2
        fill.option("Harmonise", 2)
    elif setting == "match_colour":
        section.get_by_label("Match the colours at the rim").uncheck()
    else:
        section.get_by_label("How the known part is held").select_option("known")
    fill.fill("a red barn")
    fill.keep()
    facts = fill.state()["layers"][-1]["facts"]["fill"]
    set_to = {"prefill": "noise", "harmonise": 2, "match_colour": False, "method": "known"}[setting]
    assert (facts["intent"], facts[setting]) == (intent.lower(), set_to)
    others = {"match_colour": True, "method": "auto", "harmonise": usual["harmonise"]}
    assert {name: facts[name] for name in others if name != setting} == {
        name: value for name, value in others.items() if name != setting
    }
    after, region = fill.flat(), fill.mask() > 0
    assert same_outside(before, after, region)
    assert (before != after)[region].any(axis=1).mean() > 0.5
    expect(fill.layers.first).to_contain_text(re.compile("A red barn"))
