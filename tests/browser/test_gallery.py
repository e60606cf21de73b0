"""The Gallery: pictures found, starred, deleted and brought back, held against each other, and painted as grids."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from axe_core import violations
from conftest import Studio
from gallery_page import GalleryPage
from generate_page import GeneratePage
from PIL import Image
from playwright.sync_api import Page, expect
from steps_page import paint_run

from studio.imaging.png import read_png_text
from studio.web.routes_grids import SHEET_KEY

WORD = "quillfeather"  # that no other test writes
PROMPT = f"a {WORD} above a lake"
SEEDS = (7001, 7002, 7003)


@pytest.fixture(scope="module")
def pictures(studio: Studio) -> list[str]:
    """The ids of three pictures, newest first."""
    return [paint_run(studio.url, PROMPT, steps=2, seed=seed) for seed in SEEDS][::-1]


@pytest.fixture
def gallery(studio: Studio, page: Page, pictures: list[str]) -> GalleryPage:
    opened = GalleryPage(page, studio.url)
    opened.open(WORD, len(pictures))
    return opened


def test_search_finds_by_words_seed_model_and_date_as_one_types(gallery: GalleryPage, pictures: list[str]) -> None:
    assert gallery.ids() == pictures
    gallery.search(f"{WORD} 7002", 1)
    expect(gallery.cells).to_have_attribute("data-id", pictures[1])
    today = gallery.page.evaluate("new Date().toLocaleDateString('sv')")
    gallery.search(f"painter {WORD.upper()} {today[:7]}", 3)
    gallery.search(f"{WORD} elephants")
    expect(gallery.page.get_by_role("heading", name="Nothing fits")).to_be_visible()


def test_details_tell_of_a_picture_and_its_settings_go_into_the_form(
    gallery: GalleryPage, pictures: list[str]
) -> None:
    gallery.cell("seed 7002").click()
    expect(gallery.details).to_contain_text(PROMPT)
    gallery.expect_facts(Seed="7002", Steps="2, DPM++ 2M", Model="painter")
    assert gallery.page.url.endswith(f"#gallery/{pictures[1]}")
    gallery.details.get_by_role("button", name="Use its settings").click()
    generate = GeneratePage(gallery.page, gallery.url)
    expect(generate.prompt).to_have_value(PROMPT)
    expect(gallery.page.locator("#wb-seed input")).to_have_value("7002")
    gallery.page.get_by_role("tab", name="Gallery").click()
    gallery.details.get_by_role("button", name="See its steps").click()
    gallery.page.wait_for_function("id => location.hash.startsWith(`#steps/${id}/`)", arg=pictures[1])


def test_link_to_a_picture_opens_its_details(gallery: GalleryPage, pictures: list[str]) -> None:
    gallery.page.goto(f"{gallery.url}#gallery/{pictures[2]}")
    gallery.page.reload()
    expect(gallery.details).to_contain_text(PROMPT)
    gallery.expect_facts(Seed="7001")


def test_favourites_are_marked_by_key_and_kept(gallery: GalleryPage, pictures: list[str]) -> None:
    gallery.cell("seed 7003").click()
    gallery.page.keyboard.press("ArrowRight")
    gallery.page.keyboard.press("s")
    expect(gallery.cell("seed 7002")).to_have_accessible_name(re.compile("favourite"))
    gallery.page.reload()
    gallery.open(WORD, 3)
    gallery.shows("Favourites")
    expect(gallery.cells).to_have_count(1)
    expect(gallery.cells).to_have_attribute("data-id", pictures[1])
    gallery.cells.click()
    gallery.details.get_by_role("button", name="Favourite").click()
    expect(gallery.cells).to_have_count(0)


def test_delete_goes_to_the_bin_and_can_be_undone(gallery: GalleryPage, pictures: list[str]) -> None:
    gallery.cell("seed 7003").click()
    gallery.page.keyboard.press("Shift+ArrowRight")
    expect(gallery.selected).to_have_count(2)
    gallery.page.keyboard.press("Delete")
    expect(gallery.cells).to_have_count(1)
    expect(gallery.notice).to_contain_text("2 pictures are in the bin.")
    gallery.notice.get_by_role("button", name="Undo").click()
    expect(gallery.cells).to_have_count(3)
    assert gallery.ids() == pictures
    gallery.cell("seed 7001").click()
    gallery.page.keyboard.press("Delete")
    expect(gallery.cells).to_have_count(2)
    gallery.shows("Bin")
    expect(gallery.cell("seed 7001")).to_be_visible()
    gallery.cell("seed 7001").click()
    gallery.details.get_by_role("button", name="Restore").click()
    gallery.shows("All")
    expect(gallery.cells).to_have_count(3)


def test_any_two_are_compared_by_wipe_side_by_side_and_difference(gallery: GalleryPage) -> None:
    gallery.cell("seed 7003").click()
    gallery.cell("seed 7001").click(modifiers=["Control"])
    gallery.page.keyboard.press("c")
    expect(gallery.compare).to_contain_text("Seed: 7003 and 7001")
    slider = gallery.compare.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuenow", "50")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "52")
    gallery.compare.get_by_role("button", name="Side by side").click()
    expect(gallery.compare.get_by_role("img", name="seed 7001")).to_be_visible()
    gallery.compare.get_by_role("button", name="Difference").click()
    words = gallery.compare.get_by_role("status").inner_text()
    assert float(words.split(" of 255")[0]) == pytest.approx(_apart(gallery), abs=0.01)


def _apart(gallery: GalleryPage) -> float:
    """The mean distance of the two selected pictures, from their files."""
    generate = GeneratePage(gallery.page, gallery.url)
    ids = gallery.selected.evaluate_all("cells => cells.map(cell => cell.dataset.id)")
    one, other = (
        np.asarray(Image.open(io.BytesIO(generate.fetch(f"studio/pictures/{id_}.png"))).convert("RGB"), float)
        for id_ in ids
    )
    return float(np.abs(one - other).mean())


def test_a_selection_is_exported_as_zip(gallery: GalleryPage) -> None:
    gallery.cell("seed 7003").click()
    gallery.cell("seed 7001").click(modifiers=["Shift"])
    with gallery.page.expect_download() as waiting:
        gallery.details.get_by_role("button", name="Export as zip").click()
    with zipfile.ZipFile(Path(waiting.value.path())) as archive:
        names = archive.namelist()
    assert len(names) == 3
    assert all(WORD in name for name in names)


def test_a_new_picture_appears_without_a_reload(gallery: GalleryPage, studio: Studio) -> None:
    word = "brindlemoth"
    gallery.search(word)
    expect(gallery.page.get_by_role("heading", name="Nothing fits")).to_be_visible()
    made = paint_run(studio.url, f"a {word}", steps=1, seed=7100)
    expect(gallery.cells).to_have_attribute("data-id", made)


def test_a_grid_is_painted_labelled_and_its_cells_open(gallery: GalleryPage, studio: Studio) -> None:
    paint_run(studio.url, "a sootwhistle at dusk", steps=1, seed=7200)
    gallery.search("sootwhistle 7200", 1)
    gallery.cell("seed 7200").click()
    gallery.details.get_by_role("button", name="Grid from its settings").click()
    gallery.grid.get_by_label("Values to the right").fill("7201-7202")
    gallery.grid.get_by_label("Values downwards").fill("1, two")
    expect(gallery.grid).to_contain_text("'two' is no number")
    gallery.grid.get_by_label("Values downwards").fill("1, 2")
    gallery.grid.get_by_role("button", name="Paint 4 pictures").click()
    expect(gallery.grid).to_contain_text("4 pictures. Press one to open it.")
    with gallery.page.expect_download() as waiting:
        gallery.grid.get_by_role("link", name="Download the sheet").click()
    note = json.loads(read_png_text(Path(waiting.value.path()).read_bytes())[SHEET_KEY])
    assert (note["across"]["labels"], note["down"]["labels"]) == (["7201", "7202"], ["1", "2"])
    gallery.grid.get_by_role("button", name="Seed 7202, steps 1, open").click()
    expect(gallery.grid).not_to_be_visible()
    gallery.expect_facts(Seed="7202", Steps="1, DPM++ 2M")
    assert gallery.page.url.endswith(note["pictures"][1])


def test_phone_shows_three_columns_and_details_as_a_page(gallery: GalleryPage) -> None:
    gallery.page.set_viewport_size({"width": 390, "height": 844})
    gallery.search(f"{WORD} above", 3)
    tops = gallery.cells.evaluate_all("cells => cells.map(cell => Math.round(cell.getBoundingClientRect().top))")
    assert len(set(tops)) == 1
    gallery.cell("seed 7002").click()
    expect(gallery.details).to_contain_text(PROMPT)
    box = gallery.details.bounding_box()
    assert box is not None
    assert box["width"] == 390
    assert gallery.page.evaluate("document.documentElement.scrollWidth") == 390
    gallery.details.get_by_role("button", name="Back to the pictures").click()
    expect(gallery.details).not_to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_serious(gallery: GalleryPage, axe: Path, theme: str) -> None:
    gallery.page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    name = "Switch to dark" if theme == "light" else "Switch to light"
    expect(gallery.page.get_by_role("button", name=name)).to_be_visible()
    gallery.cell("seed 7003").click()
    expect(gallery.details).to_contain_text(PROMPT)
    assert violations(gallery.page, axe, ".wb-gallery") == []
    gallery.page.keyboard.press("Shift+ArrowRight")
    gallery.page.keyboard.press("c")
    expect(gallery.compare).to_be_visible()
    assert violations(gallery.page, axe, ".wb-compare") == []
    gallery.page.keyboard.press("Escape")
    gallery.page.get_by_role("button", name="Grid", exact=True).click()
    expect(gallery.grid.get_by_role("button", name="Paint 8 pictures")).to_be_visible()
    assert violations(gallery.page, axe, ".wb-grid-room") == []
