"""Documents of the Fill tab: where they come from, that they are kept without asking, and that a reload, an absent
server or a stranger's file loses nothing."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from axe_core import violations
from conftest import Studio
from fill_page import SLOW, FillPage, ask, fetch, landscape, make_document, painted, png_of, read_png
from generate_page import GeneratePage
from PIL import Image
from playwright.sync_api import Page, expect

RED = (200, 10, 20)


@pytest.fixture
def fill(studio: Studio, page: Page) -> FillPage:
    return FillPage(page, studio.url)


def test_picture_from_generate_opens_pixel_by_pixel(generate: GeneratePage, studio: Studio) -> None:
    generate.paint("a lake", steps=2)
    generate.expect_result()
    picture = read_png(generate.picture_bytes())
    generate.page.get_by_role("button", name="Paint or fill in it").click()
    fill = FillPage(generate.page, studio.url)
    fill.expect_open()
    fill.document = fill.opened()
    expect(fill.name).to_have_text("A lake")
    assert (fill.flat()[..., :3] == picture).all()
    assert fill.state()["layers"][0]["facts"]["picture"]


def test_last_document_opens_by_itself(fill: FillPage) -> None:
    fill.open_picture(landscape(), "Kept in mind")
    fill.drag((20, 20), (60, 60))
    fill.eventually(lambda: fill.masked() > 0)
    fill.expect_saved()
    masked = fill.masked()
    fill.page.goto("about:blank")
    fill.open_empty_tab()
    fill.expect_open()
    expect(fill.name).to_have_text("Kept in mind")
    fill.eventually(lambda: fill.masked() == masked)


def test_reload_finds_what_was_painted_and_what_was_undone(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.target("Paint")
    fill.drag((20, 20), (60, 60))
    fill.expect_saved()
    one = fill.flat()
    fill.drag((80, 20), (80, 100))
    fill.expect_saved()
    two = fill.flat()
    assert (one != two).any()
    fill.undo()
    fill.eventually(lambda: bool((fill.flat() == one).all()))
    fill.page.reload()
    fill.expect_open()
    fill.redo()
    fill.eventually(lambda: bool((fill.flat() == two).all()))
    fill.undo()
    fill.undo()
    fill.eventually(lambda: bool((fill.flat()[..., :3] == landscape()).all()))


def test_stroke_in_progress_survives_a_reload(fill: FillPage) -> None:
    fill.open_picture(landscape())
    fill.target("Paint")
    fill.drag((20, 30), (60, 30), (60, 90), release=False)
    fill.page.reload()
    fill.expect_open()
    fill.eventually(lambda: bool((fill.flat()[..., :3] != landscape()).any()))
    after_reload = fill.flat()
    assert (after_reload[30, 40, :3] == (0xC2, 0x3A, 0x2B)).all()
    fill.undo()
    fill.eventually(lambda: bool((fill.flat()[..., :3] == landscape()).all()))


def test_stroke_begun_after_an_undo_survives_a_reload(fill: FillPage, expected_failures: list[str]) -> None:
    expected_failures.append("ERR_FAILED")
    fill.open_picture(landscape())
    fill.target("Paint")
    fill.page.route("**/studio/documents/*/nodes", lambda route: route.abort())
    fill.drag((20, 20), (60, 20))
    fill.drag((20, 100), (60, 100))
    fill.page.get_by_role("button", name="Undo", exact=True).click()
    fill.drag((100, 30), (100, 90), release=False)
    fill.page.unroute("**/studio/documents/*/nodes")
    fill.page.reload()
    fill.expect_open()
    fill.eventually(lambda: bool((fill.flat()[60, 100, :3] == (0xC2, 0x3A, 0x2B)).all()))
    flat = fill.flat()[..., :3]
    assert (flat[20, 40] == (0xC2, 0x3A, 0x2B)).all()
    assert (flat[100, 40] == landscape()[100, 40]).all()  # it was undone before


def test_strokes_wait_for_a_server_that_is_away(fill: FillPage, expected_failures: list[str]) -> None:
    expected_failures.append("net::ERR_FAILED")
    fill.open_picture(landscape())
    fill.target("Paint")
    away = re.compile(r".*/studio/(pixels|documents)(/.*)?$")
    fill.page.route(away, lambda route: route.abort())
    fill.drag((20, 30), (90, 30))
    expect(fill.saved).to_have_text("Not saved yet, trying again")
    fill.drag((20, 60), (90, 60))
    fill.page.unroute(away)
    fill.expect_saved()
    pixels = fill.flat()
    assert (pixels[30, 50, :3] == pixels[60, 50, :3]).all()


def test_strokes_that_were_never_sent_are_done_again_after_a_reload(
    fill: FillPage, expected_failures: list[str]
) -> None:
    expected_failures.append("net::ERR_FAILED")
    fill.open_picture(landscape())
    fill.target("Paint")
    away = re.compile(r".*/studio/(pixels/bundle|documents/.*/nodes)$")
    fill.page.route(away, lambda route: route.abort())
    fill.drag((20, 30), (90, 30))
    fill.drag((20, 60), (90, 90))
    expect(fill.saved).to_have_text("Not saved yet, trying again")
    fill.page.unroute(away)
    fill.page.reload()
    fill.expect_open()
    history = ask(fill.url, f"documents/{fill.document}")["history"]
    assert len(history) == 3
    assert (fill.flat()[30, 50, :3] == (0xC2, 0x3A, 0x2B)).all()


def test_documents_are_named_copied_deleted_and_taken_back(fill: FillPage) -> None:
    fill.open_picture(landscape(), "First name")
    first = fill.document
    fill.documents_menu("Rename")
    fill.page.get_by_role("textbox", name="Name of the document").fill("<b>Coast</b> ${1}")
    fill.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(fill.name).to_have_text("<b>Coast</b> ${1}")
    fill.documents_menu("Duplicate")
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=first, timeout=SLOW)
    copy = fill.opened()
    expect(fill.name).to_contain_text("Coast")
    fill.documents_menu("Delete")
    expect(fill.notice).to_contain_text("is in the bin")
    listed = {entry["id"] for entry in ask(fill.url, "documents")["documents"]}
    assert copy not in listed
    assert first in listed
    fill.notice.get_by_role("button", name="Undo").click()
    fill.page.wait_for_function("id => location.hash.endsWith(id)", arg=copy, timeout=SLOW)
    assert copy in {entry["id"] for entry in ask(fill.url, "documents")["documents"]}


def test_another_document_opens_from_the_menu(fill: FillPage, studio: Studio) -> None:
    other = make_document(studio.url, landscape(80, 64), "Quite another one")
    fill.open_picture(landscape(), "This one")
    fill.documents_menu("Quite another one")
    fill.document = other
    fill.expect_open()
    assert fill.flat().shape == (64, 80, 4)


def test_a_link_to_a_document_in_the_bin_says_so_and_brings_it_back(fill: FillPage, studio: Studio) -> None:
    gone = make_document(studio.url, landscape(80, 64), "A knot on the shore")
    ask(studio.url, f"documents/{gone}", method="DELETE")
    fill.open_picture(landscape(), "Still here")
    fill.page.evaluate("id => { location.hash = `#fill/${id}`; }", gone)
    expect(fill.notice).to_contain_text("“A knot on the shore” is in the bin. This is “Still here”.")
    fill.expect_open()  # with the address that is true
    fill.page.goto("about:blank")
    fill.page.goto(f"{fill.url}#fill/{gone}")
    expect(fill.notice).to_contain_text("“A knot on the shore” is in the bin. This is “Still here”.")
    fill.expect_open()
    expect(fill.name).to_have_text("Still here")
    back, words = (part.bounding_box() for part in (fill.notice.get_by_role("button").first, fill.notice.locator("p")))
    assert back is not None
    assert words is not None
    assert back["x"] >= words["x"] + words["width"]  # beside the words, and not upon them
    fill.notice.get_by_role("button", name="Bring it back").click()
    fill.document = gone
    fill.expect_open()
    expect(fill.name).to_have_text("A knot on the shore")
    expect(fill.notice).not_to_be_visible()
    assert ask(studio.url, f"documents/{gone}")["binned_at"] is None


def test_a_link_to_a_document_that_is_not_here_says_so(fill: FillPage, expected_failures: list[str]) -> None:
    expected_failures.append("404")
    fill.open_picture(landscape(), "Still here")
    fill.page.goto("about:blank")
    fill.page.goto(f"{fill.url}#fill/{'0' * 32}")
    expect(fill.notice).to_contain_text(
        "is not here: it was deleted for good, or it is somebody else’s. This is “Still"
    )
    expect(fill.notice.get_by_role("button", name="Bring it back")).to_have_count(0)
    fill.expect_open()
    expect(fill.name).to_have_text("Still here")


@pytest.mark.parametrize("lost", ["document", "pixels"])
def test_a_document_that_cannot_be_read_does_not_take_the_place_of_the_open_one(
    fill: FillPage, studio: Studio, expected_failures: list[str], lost: str
) -> None:
    other = make_document(studio.url, landscape(80, 64), "Out of reach")
    mine = fill.open_picture(landscape(), "Still here")
    expected_failures.append("500")
    address = f"**/studio/documents/{other}" if lost == "document" else "**/studio/pixels/*.png"
    fill.page.route(address, lambda route: route.fulfill(status=500, json={"error": "The disk is away."}))
    fill.page.evaluate("id => { location.hash = `#fill/${id}`; }", other)
    expect(fill.notice).to_contain_text("The disk is away.")
    fill.page.unroute(address)
    if lost == "pixels":  # it was left already: nobody paints on what would not be kept
        expect(fill.name).to_have_text("No document")
        fill.open(mine)
    expect(fill.name).to_have_text("Still here")
    fill.drag((20, 20), (60, 60))
    fill.expect_saved()
    assert fill.mask().any()


def test_the_oldest_of_many_documents_is_found_and_comes_back_out_of_the_bin(fill: FillPage, studio: Studio) -> None:
    oldest = make_document(studio.url, landscape(80, 64), "The Bramblewick mill")
    newest = [make_document(studio.url, landscape(), f"Plover {k}") for k in range(14)][-1]
    fill.open(newest)
    fill.page.locator(".wb-document-name").click()
    expect(fill.page.get_by_role("menuitem", name="Plover 13")).to_be_visible()
    expect(fill.page.get_by_role("menuitem", name="Bramblewick")).to_have_count(0)
    fill.page.get_by_role("menuitem", name="All documents").click()
    expect(fill.finder_field).to_be_focused()
    fill.finder_field.fill("MILL bramble")
    expect(fill.finder_rows).to_have_count(1)
    expect(fill.finder_rows).to_contain_text(re.compile(r"The Bramblewick mill80 × 64 px, used today, \d\d:\d\d"))
    fill.finder_field.press("Enter")
    fill.document = oldest
    fill.expect_open()
    expect(fill.finder).not_to_be_visible()
    expect(fill.page.locator(".wb-document-name")).to_be_focused()
    fill.documents_menu("Delete")
    expect(fill.notice).to_contain_text("is in the bin")
    fill.document = ""
    fill.page.reload()
    fill.expect_open()
    fill.documents_menu("All documents")
    fill.finder_field.fill("bramblewick")
    expect(fill.finder).to_contain_text("Nothing fits.")
    fill.finder_shows("Bin")
    expect(fill.finder_rows).to_have_count(1)
    fill.finder.get_by_role("button", name="Restore The Bramblewick mill").click()
    expect(fill.finder.get_by_role("status")).to_have_text("“The Bramblewick mill” is back among the documents.")
    fill.finder_shows("Documents")
    fill.finder_rows.get_by_role("button", name="The Bramblewick mill 80").click()
    fill.document = oldest
    fill.expect_open()
    assert fill.flat().shape == (64, 80, 4)


def test_the_bin_of_documents_is_emptied_once_it_was_asked(fill: FillPage, studio: Studio) -> None:
    fill.open_picture(landscape(), "Stays")
    gone = [make_document(studio.url, landscape(), f"Dunlin {k}") for k in range(2)]
    fill.documents_menu("All documents")
    fill.finder_field.fill("dunlin")
    expect(fill.finder_rows).to_have_count(2)
    fill.finder.get_by_role("button", name="Put Dunlin 0 into the bin").click()
    expect(fill.finder_rows).to_have_count(1)
    fill.finder.get_by_role("button", name="Put Dunlin 1 into the bin").click()
    expect(fill.finder_rows).to_have_count(0)
    binned = ask(studio.url, "documents?bin=1")["in_bin"]
    assert binned >= 2
    fill.finder_shows("Bin")
    expect(fill.finder_rows).to_have_count(2)
    fill.finder.get_by_role("button", name="Empty the bin").click()
    question = fill.page.get_by_role("dialog", name="Empty the bin?")
    expect(question).to_contain_text(f"{binned} documents go for good")
    expect(question).to_contain_text("This is final")
    fill.page.keyboard.press("Escape")
    expect(question).not_to_be_visible()
    assert ask(studio.url, "documents?bin=1")["in_bin"] == binned
    fill.finder.get_by_role("button", name="Empty the bin").click()
    question.get_by_role("button", name="Empty the bin").click()
    expect(fill.finder.get_by_role("status")).to_have_text(f"{binned} documents are gone for good.")
    expect(fill.finder).to_contain_text("The bin is empty.")
    assert ask(studio.url, "documents?bin=1")["in_bin"] == 0
    assert not set(gone) & {entry["id"] for entry in ask(studio.url, "documents?limit=500")["documents"]}
    fill.page.keyboard.press("Escape")
    expect(fill.finder).not_to_be_visible()


def test_documents_are_listed_page_after_page_and_one_further_down_has_its_address(
    fill: FillPage, studio: Studio
) -> None:
    oldest = make_document(studio.url, landscape(80, 64), "Turnstone 0")
    copies = [ask(studio.url, f"documents/{oldest}/duplicate", {})["id"] for _ in range(64)]
    fill.open(copies[-1])
    fill.documents_menu("All documents")
    fill.finder_field.fill("turnstone")
    expect(fill.finder.get_by_role("status")).to_have_text("60 of 65 found")
    expect(fill.finder_rows).to_have_count(60)
    fill.finder.get_by_role("button", name="Show more").click()
    expect(fill.finder_rows).to_have_count(65)
    expect(fill.finder.get_by_role("status")).to_have_text("65 found")
    expect(fill.finder.get_by_role("button", name="Show more")).not_to_be_visible()
    expect(fill.finder_rows.nth(60).get_by_role("button").first).to_be_focused()
    fill.page.keyboard.press("ArrowDown")
    expect(fill.finder_rows.nth(61).get_by_role("button").first).to_be_focused()
    fill.page.goto("about:blank")
    fill.open(oldest)  # though 64 were used since
    expect(fill.name).to_have_text("Turnstone 0")
    for copy in copies:
        ask(studio.url, f"documents/{copy}", method="DELETE")
    fill.documents_menu("All documents")
    fill.finder_field.fill("turnstone")
    expect(fill.finder.get_by_role("status")).to_have_text("1 found")
    fill.finder_shows("Bin")
    expect(fill.finder.get_by_role("status")).to_have_text("60 of 64 found")
    fill.finder_rows.first.get_by_role("button").click()
    expect(fill.finder_rows).to_have_count(59)
    fill.finder.get_by_role("button", name="Show more").click()
    expect(fill.finder_rows).to_have_count(63)
    expect(fill.finder.get_by_role("status")).to_have_text("63 found")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_documents_can_be_used_on_a_phone_and_axe_finds_nothing_serious(
    fill: FillPage, studio: Studio, axe: Path, theme: str
) -> None:
    fill.page.set_viewport_size({"width": 390, "height": 844})
    fill.page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    long = "A sanderling with a name that is far too long for the width of any phone there is"
    make_document(studio.url, landscape(), long)
    fill.open_picture(landscape(), long)
    ask(studio.url, f"documents/{make_document(studio.url, landscape(), long)}", method="DELETE")
    fill.page.get_by_role("button", name="Layers, mask and settings").click()
    fill.documents_menu("All documents")
    expect(fill.finder_rows.first).to_contain_text("open now")
    expect(fill.finder.get_by_role("button", name=f"Put {long} into the bin").first).to_be_in_viewport(ratio=1)
    assert fill.page.evaluate("document.documentElement.scrollWidth") == 390
    box = fill.finder.bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 390)
    assert violations(fill.page, axe, ".wb-finder") == []
    fill.finder_shows("Bin")
    expect(fill.finder.get_by_role("button", name=f"Restore {long}").first).to_be_in_viewport(ratio=1)
    assert violations(fill.page, axe, ".wb-finder") == []


def test_new_document_has_the_size_that_was_asked_for(fill: FillPage) -> None:
    fill.open_picture(landscape())
    before = fill.document
    fill.documents_menu("New, empty")
    dialog = fill.page.get_by_role("dialog", name="New document")
    dialog.get_by_role("spinbutton", name="Width").fill("300")
    dialog.get_by_role("spinbutton", name="Height").fill("200")
    dialog.get_by_role("button", name="New document").click()
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=before, timeout=SLOW)
    fill.document = fill.opened()
    assert fill.flat().shape == (200, 300, 4)


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_picture_that_is_given_becomes_a_layer_or_a_document(fill: FillPage, how: str) -> None:
    fill.open_picture(landscape())
    first = fill.document
    sun = np.zeros((40, 40, 4), np.uint8)
    sun[8:32, 8:32] = (250, 200, 40, 255)
    fill.give(png_of(sun), "the_sun.png", how)
    fill.page.get_by_role("button", name="As a layer").click()
    expect(fill.layers).to_have_count(2)
    expect(fill.layers.first).to_contain_text("The sun")
    fill.expect_saved()
    assert (fill.flat()[64, 64, :3] == (250, 200, 40)).all()  # in the middle
    fill.give(png_of(sun), "the_sun.png", how)
    fill.page.get_by_role("button", name="As a new document").click()
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=first, timeout=SLOW)
    fill.document = fill.opened()
    assert (fill.flat() == sun).all()


def test_fill_that_is_given_is_laid_out_and_painted_again(fill: FillPage) -> None:
    """From the PNG that the gallery has of it: its frame is a part of the picture that it was made in."""
    fill.open_picture(landscape(520, 420))
    fill.mask_rectangle(60, 70, 130, 150)
    fill.settle_for(seed=11)
    fill.fill("a red boat")
    (slot,) = ask(fill.url, "session")["jobs"][0]["pictures"]
    assert 0 < slot["frame"]["width"] < 520
    png = fetch(fill.url, f"pictures/{slot['id']}.png")
    fill.keep()
    first, fill.document = fill.document, ""
    fill.prompt.fill("something else")
    fill.settle_for(steps=7, seed=12)
    fill.give(png, "boat.png")
    expect(fill.page.get_by_role("button", name="As a layer")).to_be_visible()
    fill.page.get_by_role("button", name="Restore its fill").click()
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=first, timeout=SLOW)
    fill.document = fill.opened()
    expect(fill.notice).to_contain_text("the same comes again")
    expect(fill.prompt).to_have_value("a red boat")
    fill.expect_saved()
    assert fill.flat().shape == (slot["frame"]["height"], slot["frame"]["width"], 4)
    assert fill.mask().any()
    fill.fill()
    (again,) = ask(fill.url, "session")["jobs"][0]["pictures"]
    assert again["id"] != slot["id"]
    assert (read_png(fetch(fill.url, f"pictures/{again['id']}.png")) == read_png(png)).all()
    assert again["layer"]["pixels"] == slot["layer"]["pixels"]


def test_expansion_that_is_given_is_laid_out_and_painted_again(fill: FillPage) -> None:
    picture = landscape(128, 96)
    fill.open_picture(picture)
    fill.intent("Expand")
    fill.page.get_by_role("button", name="50 % right").click()
    fill.settle_for(seed=11)
    fill.fill("hills")
    (slot,) = ask(fill.url, "session")["jobs"][0]["pictures"]
    png = fetch(fill.url, f"pictures/{slot['id']}.png")
    fill.keep()
    first, fill.document = fill.document, ""
    fill.prompt.fill("something else")
    fill.settle_for(steps=7, seed=12)
    fill.give(png, "hills.png")
    fill.page.get_by_role("button", name="Restore its fill").click()
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=first, timeout=SLOW)
    fill.document = fill.opened()
    expect(fill.notice).to_contain_text("Expand, and the same comes again.")
    new = 192 - 128 + 12  # with the overlap, an eighth of the shorter side
    kept = fill.page.get_by_role("radio", name="Expand", exact=True)
    for _ in range(2):
        expect(kept).to_have_attribute("aria-checked", "true")
        expect(fill.prompt).to_have_value("hills")
        expect(fill.button).to_contain_text(f"Expand {new * 96:,} px")
        flat, mask = fill.flat(), fill.mask()
        assert flat.shape == (96, 192, 4)
        assert (flat[:, :128, :3] == picture).all()
        assert not flat[:, 128:].any()
        assert (mask == np.repeat([[0] * (192 - new) + [255] * new], 96, axis=0)).all()
        fill.page.wait_for_timeout(300)  # until the browser remembers what is asked for
        fill.page.reload()
        fill.expect_open()
    fill.fill()
    (again,) = ask(fill.url, "session")["jobs"][0]["pictures"]
    assert again["id"] != slot["id"]
    assert (read_png(fetch(fill.url, f"pictures/{again['id']}.png")) == read_png(png)).all()
    assert again["layer"]["pixels"] == slot["layer"]["pixels"]
    fill.keep()
    after = fill.flat()
    assert (after[..., 3] == 255).all()
    assert (after[:, : 192 - new, :3] == picture[:, : 192 - new]).all()
    fill.intent("Expand")  # of what it is now, by a frame as always
    expect(fill.button).to_contain_text("Drag the frame first")


def test_files_go_out_and_a_whole_document_comes_back(fill: FillPage) -> None:
    fill.open_picture(landscape(), "Going out")
    fill.page.get_by_role("button", name="Add a layer").click()
    fill.target("Paint")
    fill.drag((20, 30), (90, 30))
    fill.expect_saved()
    flat = fill.flat()
    out = fill.page.get_by_role("button", name="Save as a file")
    name, png = fill.download(lambda: fill.menu(out, "PNG one flat picture"))
    assert name == "going-out.png"
    assert (read_png(png) == flat).all()
    _, psd = fill.download(lambda: fill.menu(out, "Photoshop"))
    assert psd[:4] == b"8BPS"
    assert (np.asarray(Image.open(io.BytesIO(psd)).convert("RGB")) == flat[..., :3]).all()
    _, ora = fill.download(lambda: fill.menu(out, "OpenRaster"))
    with zipfile.ZipFile(io.BytesIO(ora)) as archive:
        assert archive.read("mimetype") == b"image/openraster"
        assert (read_png(archive.read("mergedimage.png"))[..., :3] == flat[..., :3]).all()
    name, whole = fill.download(lambda: fill.menu(out, "wavebrush everything"))
    assert name == "going-out.wavebrush"
    first = fill.document
    fill.give(whole, name, kind="application/octet-stream")
    fill.page.wait_for_function("id => !location.hash.endsWith(id)", arg=first, timeout=SLOW)
    fill.document = fill.opened()
    expect(fill.layers).to_have_count(2)
    assert (fill.flat() == flat).all()


def test_layers_are_hidden_moved_named_and_merged(fill: FillPage) -> None:
    fill.open_picture(landscape())
    ground = fill.flat()
    fill.page.get_by_role("button", name="Add a layer").click()
    fill.target("Paint")
    fill.drag((20, 30), (90, 30))
    fill.expect_saved()
    painted_over = fill.flat()
    fill.page.get_by_role("button", name="Hide Layer 1").click()
    fill.expect_saved()
    assert (fill.flat() == ground).all()
    fill.page.get_by_role("button", name="Show Layer 1").click()
    opacity = fill.page.get_by_role("spinbutton", name="Opacity of Layer 1, in percent")
    opacity.fill("50")
    opacity.press("Enter")
    fill.eventually(lambda: fill.state()["layers"][1]["opacity"] == 50)
    opacity.fill("100")
    opacity.press("Enter")
    fill.eventually(lambda: fill.state()["layers"][1]["opacity"] == 100)
    pick = fill.page.locator(".wb-layer-pick").first
    pick.focus()
    pick.press("Alt+ArrowDown")
    fill.eventually(lambda: fill.state()["layers"][0]["name"] == "Layer 1")
    assert (fill.flat() == ground).all()
    fill.undo()
    fill.menu(fill.page.get_by_role("button", name="What to do with the layer"), "Merge into the one below")
    expect(fill.layers).to_have_count(1)
    fill.expect_saved()
    assert (fill.flat() == painted_over).all()


def test_picture_of_a_painters_run_keeps_its_run(fill: FillPage, studio: Studio) -> None:
    picture_id, pixels = painted(studio.url, "a meadow", steps=2)
    content = fetch(studio.url, f"pictures/{picture_id}.png")
    fill.open_picture(landscape(520, 420))
    ground = fill.flat()
    fill.give(content, "painted.png")
    fill.page.get_by_role("button", name="As a layer").click()
    expect(fill.layers).to_have_count(2)
    height, width = pixels.shape[:2]
    x, y = (520 - width + 1) // 2, (420 - height + 1) // 2
    for _ in range(2):
        expect(fill.layers.first).to_contain_text("painted by the model")
        layer = fill.state()["layers"][1]
        assert (layer["kind"], layer["x"], layer["y"]) == ("picture", x, y)
        assert layer["facts"] == {"picture": picture_id, "run": picture_id}
        flat = fill.flat().copy()
        assert (flat[y : y + height, x : x + width, :3] == pixels).all()
        flat[y : y + height, x : x + width] = ground[y : y + height, x : x + width]
        assert (flat == ground).all()
        fill.page.reload()
        fill.expect_open()
    fill.menu(fill.page.get_by_role("button", name="What to do with the layer"), "Steps of this picture")
    fill.page.wait_for_function("id => location.hash.startsWith(`#steps/${id}`)", arg=picture_id, timeout=SLOW)
