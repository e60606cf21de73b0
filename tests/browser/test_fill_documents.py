"""Documents of the Fill tab: where they come from, that they are kept without asking, and that a reload, an absent
server or a stranger's file loses nothing."""

from __future__ import annotations

import io
import re
import zipfile

import numpy as np
import pytest
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
    picture_id, _ = painted(studio.url, "a meadow", steps=2)
    content = fetch(studio.url, f"pictures/{picture_id}.png")
    fill.open_picture(landscape())
    fill.give(content, "painted.png")
    fill.page.get_by_role("button", name="As a layer").click()
    expect(fill.layers).to_have_count(2)
