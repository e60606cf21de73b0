"""What is asked for belongs to the document: it is there after a reload, elsewhere, in a copy and in a file."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import Studio
from fill_page import SLOW, FillPage, ask, landscape, make_document
from playwright.sync_api import Page, expect


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def kept(fill: FillPage) -> dict[str, Any]:
    """What the server has of the settings."""
    settings: dict[str, Any] = ask(fill.url, f"documents/{fill.document}")["settings"]
    return settings


def set_all(fill: FillPage) -> None:
    fill.intent("Replace")
    fill.settle_for(steps=7, variations=2, seed=41)
    fill.page.get_by_role("textbox", name="Words to leave out").fill("fog")
    fill.page.get_by_role("combobox", name="What the hole holds first").select_option("edge")
    fill.option("Start from step", 3)
    fill.option("Harmonise", 2)
    fill.prompt.fill("a mill by a brook")


def expect_all(fill: FillPage) -> None:
    fill.more()
    expect(fill.prompt).to_have_value("a mill by a brook")
    expect(fill.page.get_by_role("radio", name="Replace", exact=True)).to_have_attribute("aria-checked", "true")
    expect(fill.page.get_by_role("spinbutton", name="Seed", exact=True)).to_have_value("41")
    expect(fill.page.get_by_role("textbox", name="Words to leave out")).to_have_value("fog")
    expect(fill.page.get_by_role("combobox", name="What the hole holds first")).to_have_value("edge")
    for name, value in (("Steps", "7"), ("Start from step", "3"), ("Harmonise", "2")):
        expect(fill.page.get_by_role("spinbutton", name=f"{name}, as a number", exact=True)).to_have_value(value)
    variations = fill.page.get_by_role("radiogroup", name="Variations").get_by_role("radio", name="2")
    expect(variations).to_have_attribute("aria-checked", "true")


def test_settings_are_there_after_a_reload_on_another_machine_and_in_their_document_alone(
    fill: FillPage, studio: Studio
) -> None:
    other = make_document(studio.url, landscape(80, 64), "Another")
    first = fill.open_picture(landscape(), "The mill")
    set_all(fill)
    fill.page.reload()  # before anything was waited for
    fill.expect_open()
    expect_all(fill)

    fill.open(other)
    expect(fill.prompt).to_have_value("")
    fill.more()
    expect(fill.page.get_by_role("spinbutton", name="Seed", exact=True)).to_have_value("")
    expect(fill.page.get_by_role("spinbutton", name="Steps, as a number", exact=True)).to_have_value("7")  # a habit
    assert kept(fill) == {}, "nobody has asked anything of it"
    fill.prompt.fill("gulls")
    fill.open(first)  # while it is still being typed
    expect_all(fill)
    assert ask(fill.url, f"documents/{other}")["settings"]["prompt"] == "gulls"

    fill.page.evaluate("localStorage.clear()")
    fill.page.goto("about:blank")
    fill.open(first)
    expect_all(fill)


def test_settings_go_along_with_a_copy_and_with_a_file(fill: FillPage) -> None:
    first = fill.open_picture(landscape(), "Going along")
    set_all(fill)
    fill.documents_menu("Duplicate")
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=first)
    copy = fill.opened()
    expect_all(fill)
    fill.prompt.fill("only in the copy")
    out = fill.page.get_by_role("button", name="Save as a file")
    name, whole = fill.download(lambda: fill.menu(out, "wavebrush everything"))
    fill.give(whole, name, kind="application/octet-stream")
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=copy)
    fill.document = fill.opened()
    assert fill.document not in (first, copy)
    expect(fill.prompt).to_have_value("only in the copy")
    expect(fill.page.get_by_role("spinbutton", name="Seed", exact=True)).to_have_value("41")
    fill.open(first)
    expect_all(fill)


def test_undo_leaves_alone_what_was_typed_since(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.prompt.fill("before")
    fill.mask_rectangle(20, 20, 60, 60)
    fill.prompt.fill("after")
    fill.option("Context", 50)
    fill.undo()
    expect(fill.prompt).to_have_value("after")
    fill.redo()
    fill.page.reload()
    fill.expect_open()
    expect(fill.prompt).to_have_value("after")
    expect(fill.page.get_by_role("spinbutton", name="Context, as a number", exact=True)).to_have_value("50")
    assert len(ask(fill.url, f"documents/{fill.document}/history")["history"]) == 2, (
        "settings are no change of the picture"
    )


def test_settings_that_could_not_be_sent_wait_in_the_browser(fill: FillPage, expected_failures: list[str]) -> None:
    expected_failures.append("net::ERR_FAILED")
    fill.open_picture(landscape())
    one = re.compile(rf".*/studio/documents/{fill.document}$")
    fill.page.route(one, lambda route: route.abort() if route.request.method == "PATCH" else route.continue_())
    fill.prompt.fill("said offline")
    expect(fill.saved).to_have_text("Not saved yet, trying again")
    assert kept(fill) == {}
    fill.page.reload()
    expect(fill.prompt).to_have_value("said offline", timeout=SLOW)
    fill.page.unroute(one)
    fill.expect_saved()
    assert kept(fill)["prompt"] == "said offline"
    ask(
        fill.url,
        f"documents/{fill.document}",
        {"settings": kept(fill) | {"prompt": "said elsewhere", "at": 2**52}},
        "PATCH",
    )
    fill.page.reload()
    fill.expect_open()
    expect(fill.prompt).to_have_value("said elsewhere")


def test_settings_of_a_later_version_are_read_as_far_as_they_go(fill: FillPage) -> None:
    fill.document = make_document(fill.url, landscape(), "Later")
    later = {
        "intent": "animate",
        "prompt": "<b>a windmill</b> ${1}",
        "seed": "many",
        "steps": 120,
        "count": 99,
        "prefill": {"kind": "edge"},
        "context": [1, 2],
        "motion": {"frames": [1, 2, 3]},
    }
    ask(fill.url, f"documents/{fill.document}", {"settings": later}, "PATCH")
    fill.open(fill.document)
    expect(fill.prompt).to_have_value("<b>a windmill</b> ${1}")
    expect(fill.page.get_by_role("radio", name="Fill", exact=True)).to_have_attribute("aria-checked", "true")
    fill.more()
    expect(fill.page.get_by_role("spinbutton", name="Steps, as a number", exact=True)).to_have_value("120")
    expect(fill.page.get_by_role("spinbutton", name="Seed", exact=True)).to_have_value("")
    assert kept(fill) == later, "to look at them changes nothing"
    fill.prompt.fill("a windmill")
    expect(fill.saved).to_have_text("Saving…")
    fill.expect_saved()
    assert kept(fill)["motion"] == {"frames": [1, 2, 3]}


def test_a_fill_in_the_history_shows_what_was_asked_for_and_what_was_typed_comes_back(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.mask_rectangle(30, 30, 90, 90)
    fill.settle_for(steps=2, seed=5)
    fill.fill("a lighthouse")
    fill.keep()
    painted = fill.head()
    fill.prompt.fill("my own words")
    fill.tool("Brush")
    fill.target("Mask")
    before = fill.head()
    fill.drag((20, 110), (100, 110))
    fill.expect_moved(before)
    fill.page.get_by_role("button", name="History", exact=True).click()
    panel = fill.page.get_by_role("dialog", name="History", exact=True)
    panel.locator(f'[data-id="{painted}"]').click()
    expect(panel.locator(f'[data-id="{painted}"]')).to_have_attribute("aria-current", "true")
    expect(fill.prompt).to_have_value("a lighthouse")
    expect(fill.button).to_contain_text("Run again")
    fill.page.keyboard.press("Escape")
    fill.redo()
    expect(fill.prompt).to_have_value("my own words")
    assert kept(fill)["prompt"] == "my own words"
