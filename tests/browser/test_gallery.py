"""The Gallery: pictures found, starred, deleted and brought back, held against each other, and painted as grids."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from axe_core import violations
from conftest import Studio, start_studio
from document_room import room
from gallery_page import GalleryPage
from generate_page import GeneratePage
from PIL import Image
from playwright.sync_api import Page, expect
from steps_page import SLOW, ask, branch_of, paint_run

from studio.imaging.plain_png import write_plain
from studio.imaging.png import REQUEST_KEY, read_picture, read_png_text, write_png
from studio.project.document_values import Layer, State
from studio.requests import TextToImage
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
    assert gallery.page.url.endswith(f"#gallery/{pictures[1]}?q={WORD}")
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


def test_what_was_looked_for_is_there_after_a_reload_and_by_back(gallery: GalleryPage, pictures: list[str]) -> None:
    gallery.cell("seed 7001").click()
    gallery.page.keyboard.press("s")
    expect(gallery.cell("seed 7001")).to_have_accessible_name(re.compile("favourite"))
    gallery.shows("Favourites")
    expect(gallery.cells).to_have_count(1)
    gallery.expect_search(WORD, "Favourites")
    gallery.cells.click()
    expect(gallery.selected).to_have_count(1)
    gallery.page.reload()
    expect(gallery.cells).to_have_count(1)
    expect(gallery.selected).to_have_attribute("data-id", pictures[2])
    gallery.expect_search(WORD, "Favourites")
    gallery.page.go_back()
    expect(gallery.cells).to_have_count(3)
    gallery.expect_search(WORD, "All")
    gallery.page.go_forward()
    expect(gallery.cells).to_have_count(1)
    gallery.expect_search(WORD, "Favourites")
    gallery.page.get_by_role("tab", name="Generate").click()
    gallery.page.reload()
    gallery.page.get_by_role("tab", name="Gallery").click()  # the address is silent by now
    expect(gallery.cells).to_have_count(1)
    gallery.expect_search(WORD, "Favourites")
    gallery.cells.click()
    gallery.details.get_by_role("button", name="Favourite").click()
    expect(gallery.cells).to_have_count(0)
    gallery.page.goto(f"{gallery.url}#gallery")  # a link without words looks for everything
    gallery.expect_search("", "All")


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


def test_a_reload_while_a_grid_is_painted_finds_its_progress(gallery: GalleryPage, studio: Studio) -> None:
    paint_run(studio.url, "a quillmoth", steps=2, seed=7600)  # of words that no other test looks for
    gallery.search("quillmoth 7600", 1)
    gallery.cell("seed 7600").click()
    gallery.details.get_by_role("button", name="Grid from its settings").click()
    gallery.grid.get_by_label("Values to the right").fill("7601-7606")
    gallery.grid.get_by_label("Values downwards").fill("60")
    gallery.grid.get_by_role("button", name="Paint 6 pictures").click()
    expect(gallery.grid.get_by_role("progressbar")).to_be_visible()
    gallery.page.reload()
    under_way = gallery.page.get_by_role("group", name="Grid under way")
    expect(under_way.get_by_role("progressbar")).to_have_attribute("aria-valuemax", "6")
    under_way.get_by_role("button", name=re.compile(r"^A grid is being painted, \d of 6$")).click()
    expect(gallery.grid).to_contain_text(re.compile(r"Picture \d of 6, step \d+ of 60"))
    gallery.grid.get_by_role("button", name="Stop").click()
    expect(gallery.grid).to_contain_text(re.compile(r"Stopped\. \d of 6 pictures are kept\."))
    gallery.grid.get_by_role("button", name="Close").click()
    expect(under_way).not_to_be_visible()


def test_a_grid_that_died_with_the_studio_is_there_again_and_painted_on(page: Page, tmp_path: Path) -> None:
    studio = start_studio(tmp_path)
    try:
        wish = {
            "request": {"prompt": "a lake", "num_inference_steps": 40},
            "across": {"field": "seed", "values": "1-3"},
        }
        begun = ask(studio.url, "grids", {**wish, "down": None})
        while not ask(studio.url, f"grids/{begun['id']}")["cells"][0]["id"]:
            time.sleep(0.02)
        studio.process.kill()
        studio.process.wait(30)
        studio = start_studio(tmp_path, studio.port)
        gallery = GalleryPage(page, studio.url)
        gallery.open()
        gallery.page.get_by_role("button", name="Grid", exact=True).click()
        grids = gallery.grid.get_by_role("combobox", name="Grids")
        listed = grids.locator("option", has_text=re.compile(r"^Seed, .*, unfinished: a lake"))
        grids.select_option(listed.get_attribute("value"))
        expect(gallery.grid).to_contain_text("The studio was ended while it painted. 1 of 3 pictures are kept.")
        expect(gallery.grid.get_by_role("button", name="Seed 2, not painted")).to_be_disabled()
        gallery.grid.get_by_role("button", name="Paint the missing 2").click()
        expect(gallery.grid).to_contain_text("3 pictures. Press one to open it.", timeout=SLOW)
        expect(gallery.grid.get_by_role("button", name="Paint the missing")).to_have_count(0)
        with page.expect_download() as waiting:
            gallery.grid.get_by_role("link", name="Download the sheet").click()
        note = json.loads(read_png_text(Path(waiting.value.path()).read_bytes())[SHEET_KEY])
        assert note["across"]["labels"] == ["1", "2", "3"]
        gallery.grid.get_by_role("button", name="Seed 3, open").click()
        gallery.expect_facts(Seed="3")
        assert page.url.endswith(note["pictures"][2])
    finally:
        page.goto("about:blank")  # which asks nobody any more
        studio.stop()


def test_fills_and_pictures_with_steps_are_shown_alone_and_marked(gallery: GalleryPage, studio: Studio) -> None:
    word = "fennelwick"
    plain = paint_run(studio.url, f"a {word}", steps=2, seed=7300)
    branch_of(studio.url, plain, {"from": 1, "label": "other"})
    source = np.full((96, 96, 4), 200, np.uint8)
    mask = np.zeros((96, 96), np.uint8)
    mask[20:60, 20:60] = 255
    ids = [_send(gallery, pixels) for pixels in (source, mask)]
    painting = {"prompt": f"a {word}", "num_inference_steps": 2, "seed": 7301}
    body = {"source": ids[0], "mask": ids[1], "request": {"intent": "fill", "harmonise": 0, "painting": painting}}
    job = ask(studio.url, "fills", body)
    while not (fill := ask(studio.url, f"jobs/{job['id']}")["pictures"][0]["id"]):
        time.sleep(0.02)
    gallery.search(word, 3)
    shows = gallery.page.get_by_role("group", name="Which pictures")
    for name in ("All 3", "Fills 1", "With steps 3", "Favourites 0"):
        expect(shows.get_by_role("button", name=name, exact=True)).to_be_visible()
    gallery.shows("Fills")
    expect(gallery.cells).to_have_count(1)
    expect(gallery.cells).to_have_attribute("data-id", fill)
    expect(gallery.cells).to_have_accessible_name(re.compile("seed 7301, a fill$"))
    gallery.cells.click()
    gallery.expect_facts(Kind="a fill of a region", Took=re.compile(r"^\d+(\.\d)? s$"))
    gallery.shows("With steps")
    expect(gallery.cells).to_have_count(3)
    gallery.cell("1 branch").click()
    gallery.expect_facts(Seed="7300", Branches="1", Recorded=re.compile(r"^2 steps, \d+(\.\d)? [kM]B$"))


def test_a_picture_is_verified_and_the_answer_stays_in_words(gallery: GalleryPage) -> None:
    gallery.cell("seed 7002").click()
    gallery.details.get_by_role("button", name="Verify: paint it again and compare").click()
    says = gallery.details.locator(".wb-gal-verify").get_by_role("status")
    expect(says).to_have_text("Identical: every pixel came out the same.")
    gallery.cell("seed 7001").click()
    gallery.expect_facts(Seed="7001")
    expect(says).to_have_text("")
    gallery.cell("seed 7002").click()
    expect(says).to_have_text("Identical: every pixel came out the same.")
    expect(gallery.cells).to_have_count(3)  # nothing was kept of it


def test_a_picture_that_was_changed_is_told_apart(gallery: GalleryPage, studio: Studio) -> None:
    made = paint_run(studio.url, "a hollowbrook", steps=1, seed=7400)
    (file,) = (studio.data / "pictures").rglob(f"{made}.png")
    png = file.read_bytes()
    pixels = read_picture(png).copy()
    pixels[:8] ^= 255
    file.write_bytes(write_png(pixels, read_png_text(png)))
    gallery.search("hollowbrook", 1)
    gallery.cells.click()
    gallery.details.get_by_role("button", name="Verify").click()
    answer = gallery.details.locator(".wb-gal-verify")
    expect(answer).to_contain_text(re.compile(r"Different\. \d+\.\d % of the values differ, by \d+ of 255 at most"))
    expect(answer.get_by_role("listitem")).to_contain_text("Was the picture changed?")


def test_a_document_is_imported_with_its_pictures(
    gallery: GalleryPage, studio: Studio, tmp_path: Path, expected_failures: list[str]
) -> None:
    with room(tmp_path / "elsewhere") as made:
        tile = made.tile(1, "local")
        note = {"format": 1, "request": TextToImage("a thistlemere", seed=7500).to_dict()}
        png = write_png(np.full((16, 16, 3), 90, np.uint8), {REQUEST_KEY: json.dumps(note)})
        picture = made.pictures.add("local", png, 1_700_000_000_000)
        layer = Layer("a", "A", "picture", 0, 0, True, 100, {(0, 0): tile}, {"run": picture, "picture": picture})
        document, _ = made.documents.create("local", "Mere", State(64, 64, (layer,)))
        made.archive.write("local", document, tmp_path / "the_mere.wavebrush")
    gallery.search("thistlemere")
    expect(gallery.page.get_by_role("heading", name="Nothing fits")).to_be_visible()
    with gallery.page.expect_file_chooser() as chosen:
        gallery.page.get_by_role("button", name="Import").click()
    chosen.value.set_files(tmp_path / "the_mere.wavebrush")
    expect(gallery.notice).to_contain_text("the_mere.wavebrush is here as a document, with the pictures it came from.")
    expect(gallery.cells).to_have_count(1)
    expect(gallery.cells).to_have_attribute("data-id", picture)
    gallery.notice.get_by_role("button", name="Open it").click()
    gallery.page.wait_for_function("location.hash.startsWith('#fill/')")
    expect(gallery.page.get_by_role("tab", name="Fill")).to_have_attribute("aria-selected", "true")
    document = gallery.page.url.split("#fill/")[1]
    assert ask(studio.url, f"documents/{document}")["name"] == "Mere"
    gallery.open("thistlemere", 1)
    (tmp_path / "broken.wavebrush").write_bytes(b"PK\x03\x04 no zip")
    expected_failures.append("422")
    gallery.page.locator("input[aria-label='A wavebrush file or a picture']").set_input_files(
        tmp_path / "broken.wavebrush"
    )
    expect(gallery.notice).to_have_attribute("role", "alert")


def _send(gallery: GalleryPage, pixels: np.ndarray) -> str:
    answer = gallery.page.request.post(f"{gallery.url}studio/pixels", data=write_plain(pixels))
    assert answer.status == 201, answer.text()
    return str(answer.json()["id"])


def test_phone_shows_three_columns_and_details_as_a_page(gallery: GalleryPage) -> None:
    gallery.page.set_viewport_size({"width": 390, "height": 844})
    gallery.search(f"{WORD} above", 3)
    for name in ("Fills", "With steps", "Bin"):  # all can be reached
        gallery.shows(name)
        expect(gallery.page.get_by_role("button", name=name, pressed=True)).to_be_in_viewport()
    gallery.shows("All")
    expect(gallery.cells).to_have_count(3)
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
