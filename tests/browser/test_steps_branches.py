"""Stepping in: paint on a step, keep bands, tune strengths, other words, mix; what comes of it, and the way back."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import pywt
from conftest import Studio
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, Route, expect
from steps_page import SLOW, StepsPage, branch_of, paint_run, stopped_run

STEPS = 8


@pytest.fixture(scope="module")
def run_id(studio: Studio) -> str:
    """The run that these tests branch from. Its own steps never change."""
    return paint_run(studio.url, "a castle on a hill at dusk", steps=STEPS, seed=11)


@pytest.fixture
def steps(studio: Studio, page: Page, run_id: str) -> StepsPage:
    opened = StepsPage(page, studio.url)
    opened.open(run_id)
    return opened


def picture(steps: StepsPage, run_id: str, step: int = STEPS - 1) -> NDArray[np.float64]:
    """The full decode of a step: (height, width, 3), levels of 255."""
    encoded = steps.page.evaluate(
        """async (address) => {
            const bytes = new Uint8Array(await (await fetch(new URL(address, document.baseURI))).arrayBuffer());
            return Array.from(bytes);
        }""",
        f"studio/runs/{run_id}/steps/{step}.png?look=full",
    )
    return np.asarray(Image.open(io.BytesIO(bytes(encoded))).convert("RGB"), dtype=np.float64)


def bands(pixels: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Wavelet coefficients of a picture, coarse to fine, each band in one row."""
    low, *details = pywt.wavedec2(pixels, "db2", mode="periodization", level=4, axes=(0, 1))
    return [low.ravel(), *(np.concatenate([part.ravel() for part in level]) for level in details)]


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def test_painting_on_a_step_changes_the_picture_there_and_keeps_the_steps_before(
    steps: StepsPage, run_id: str
) -> None:
    steps.go_to(6)
    steps.page.get_by_role("button", name="Paint on it").click()
    canvas = steps.page.locator(".wb-paint-canvas")
    box = canvas.bounding_box()
    assert box is not None
    go = steps.page.get_by_role("dialog", name="Paint on step 6").get_by_role("button", name="Continue from 6")
    expect(go).to_be_disabled()
    left, top = box["x"] + 0.15 * box["width"], box["y"] + 0.2 * box["height"]
    for row in range(3):  # a block in the upper left
        steps.page.mouse.move(left, top + row * 0.06 * box["height"])
        steps.page.mouse.down()
        steps.page.mouse.move(left + 0.25 * box["width"], top + row * 0.06 * box["height"], steps=6)
        steps.page.mouse.up()
    expect(steps.page.get_by_text(re.compile(r"px painted, \d+ % of the picture"))).to_be_visible()
    go.click()
    branch = steps.expect_branch("Painted at step 6")
    assert branch != run_id

    facts = steps.facts(branch)
    assert (facts["parent"], facts["branch_at"]) == (run_id, 5)
    assert [step["shared"] for step in facts["steps"]] == [True] * 5 + [False] * 3
    for step in range(5):
        assert np.array_equal(picture(steps, branch, step), picture(steps, run_id, step))
    changed = np.abs(picture(steps, branch) - picture(steps, run_id)).mean(axis=-1)
    height, width = changed.shape
    painted = np.zeros((height, width), dtype=bool)
    painted[int(0.13 * height) : int(0.4 * height), int(0.08 * width) : int(0.47 * width)] = True
    assert changed[painted].mean() > 10
    assert changed[painted].mean() > 4 * changed[~painted].mean()
    expect(steps.page.get_by_role("slider", name="Before and after")).to_be_visible()


def test_brush_moves_by_keyboard_and_strokes_can_be_taken_back(steps: StepsPage) -> None:
    steps.go_to(4)
    steps.page.get_by_role("button", name="Paint on it").click()
    dialog = steps.page.get_by_role("dialog", name="Paint on step 4")
    canvas = dialog.locator(".wb-paint-canvas")
    expect(canvas).to_be_focused()
    steps.page.keyboard.down("Space")
    steps.press("ArrowRight", "Shift+ArrowDown")
    steps.page.keyboard.up("Space")
    painted = dialog.get_by_role("status")
    expect(painted).to_contain_text("px painted")
    steps.press("Control+z")
    expect(painted).not_to_contain_text("px painted")
    steps.press("Control+Shift+z")
    expect(painted).to_contain_text("px painted")
    before = painted.inner_text()
    steps.press("e")
    expect(dialog.get_by_role("button", name="Eraser (E)")).to_have_attribute("aria-pressed", "true")
    steps.page.keyboard.down("Space")
    steps.page.keyboard.up("Space")
    expect(painted).not_to_have_text(before)
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    steps.expect_step(4)


def test_keeping_composition_repaints_the_fine_bands_only(steps: StepsPage, run_id: str) -> None:
    steps.go_to(3)
    keep = steps.page.get_by_role("group", name="Bands to keep")
    for name in ("composition", "forms"):
        expect(keep.get_by_role("button", name=f"Keep {name}")).to_have_attribute("aria-pressed", "true")
    expect(keep.get_by_role("button", name="Keep details")).to_have_attribute("aria-pressed", "false")
    steps.page.get_by_role("button", name="Continue from 3").click()
    branch = steps.expect_branch("Composition and forms kept")
    assert steps.facts(branch)["branch_at"] == 2
    before, after = bands(picture(steps, run_id)), bands(picture(steps, branch))
    assert correlation(before[0], after[0]) > 0.98
    assert correlation(before[-1], after[-1]) < 0.9


def test_a_strength_is_drawn_tried_and_seen_before_and_after(steps: StepsPage, run_id: str) -> None:
    here = steps.page.get_by_role("button", name="From this step")
    expect(here).to_be_disabled()  # nothing is set
    point = steps.page.get_by_role("slider", name=re.compile("^Details, step ")).nth(2)
    point.focus()
    steps.press(*["Shift+ArrowUp"] * 6)
    expect(point).to_have_attribute("aria-valuetext", re.compile(r"^Details, step \d, \+0\.060$"))
    steps.press("Delete")
    expect(point).to_have_attribute("aria-valuetext", re.compile(r", 0$"))
    steps.press(*["Shift+ArrowUp"] * 8)
    steps.page.get_by_role("button", name="From the start").click()
    branch = steps.expect_branch("Details +0.080")
    facts = steps.facts(branch)
    assert facts["branch_at"] == 0
    assert facts["strengths"]["bands"][2]["strength"] == 0.08
    shown = steps.page.locator(".wb-strength-value span").nth(2)
    percent = facts["effect"]["percent"][2]
    words = f"{abs(percent):.1f} %"
    sign = "" if float(words[:-2]) == 0 else "+" if percent > 0 else "−"
    expect(shown).to_have_text(sign + words)

    hud = steps.page.locator(".wb-big .wb-hud")
    after = steps.pixels(steps.picture)
    steps.scrubber.focus()
    steps.page.keyboard.down("b")
    expect(hud).to_have_text("Before: Original")
    steps.expect_other_pixels(steps.picture, after)
    steps.page.keyboard.up("b")
    expect(hud).not_to_be_visible()


def test_other_words_from_a_step_on_and_the_way_back(steps: StepsPage, run_id: str) -> None:
    steps.go_to(4)
    steps.page.get_by_role("button", name="More ways to go on").click()
    for lock in steps.page.locator(".wb-lock[aria-pressed=false]").all_inner_texts():
        steps.page.get_by_role("button", name=f"Keep {lock.strip().lower()}").click()
    steps.page.get_by_label("Words from this step on").fill("a castle on a hill in snow")
    steps.page.get_by_role("button", name="Continue from 4").click()
    branch = steps.expect_branch("Other words")
    expect(steps.title).to_contain_text("in snow")
    assert steps.facts(branch)["request"]["prompt"] == "a castle on a hill in snow"
    assert steps.facts(run_id)["request"]["prompt"] == "a castle on a hill at dusk"
    steps.page.reload()
    steps.expect_shown(branch)
    expect(steps.page.locator(".wb-branch[aria-current]")).to_contain_text("Other words")
    steps.branches.first.click()
    steps.expect_shown(run_id)
    expect(steps.title).to_contain_text("at dusk")


def test_two_runs_are_compared_with_one_scrubber(steps: StepsPage, studio: Studio) -> None:
    paint_run(studio.url, "a lighthouse by the sea", steps=STEPS, seed=3)
    steps.page.reload()  # it was made elsewhere
    steps.expect_shown()
    steps.page.get_by_role("button", name="Compare", exact=True).click()
    dialog = steps.page.get_by_role("dialog", name="Compare two runs")
    second = dialog.get_by_label("Second run")
    other = second.locator("option").filter(has_text="a lighthouse by the sea")
    expect(other).to_have_count(1)
    second.select_option(str(other.first.get_attribute("value")))
    sides = dialog.locator(".wb-compare-side canvas")
    expect(sides.nth(1)).to_have_attribute("aria-label", re.compile(rf", step {STEPS}$"))
    last = steps.pixels(sides.nth(1))
    assert last != steps.pixels(sides.nth(0))
    scrubber = dialog.get_by_role("slider", name="Step of both")
    scrubber.focus()
    steps.press("Home")
    expect(dialog.locator(".wb-output")).to_have_text("Step 1")
    steps.expect_other_pixels(sides.nth(1), last)
    dialog.get_by_role("button", name="Wipe").click()
    expect(dialog.get_by_role("slider", name="First on the left")).to_be_visible()
    dialog.get_by_role("button", name="Difference").click()
    told = dialog.get_by_role("status")
    expect(told).to_have_text(re.compile(r"^\d+\.\d\d of 255 apart on average$"))
    scrubber.focus()
    steps.press("End")
    expect(dialog.locator(".wb-output")).to_have_text(f"Step {STEPS}")
    values = [dialog.get_by_label(name).input_value() for name in ("First run", "Second run")]
    apart = np.abs(picture(steps, values[0]) - picture(steps, values[1])).mean()
    expect(told).to_have_text(f"{apart:.2f} of 255 apart on average")
    steps.press("Escape")
    expect(dialog).not_to_be_visible()


def test_coarse_bands_of_one_run_with_fine_bands_of_another(steps: StepsPage, studio: Studio, run_id: str) -> None:
    other = paint_run(studio.url, "a forest in fog", steps=STEPS, seed=5)
    steps.page.reload()
    steps.expect_shown(run_id)
    steps.go_to(6)
    steps.page.get_by_role("button", name="More ways to go on").click()
    steps.page.get_by_label("The rest comes from").select_option(other)
    steps.page.get_by_role("button", name="Continue from 6").click()
    branch = steps.expect_branch("of “a forest in fog”")
    mixed, mine = bands(picture(steps, branch)), bands(picture(steps, run_id))
    assert correlation(mixed[0], mine[0]) > 0.9
    assert correlation(mixed[0], mine[0]) > correlation(mixed[0], bands(picture(steps, other))[0])


def test_a_region_limits_the_strengths(steps: StepsPage, run_id: str) -> None:
    point = steps.page.get_by_role("slider", name=re.compile("^Composition, step ")).first
    point.focus()
    steps.press("End")
    steps.page.get_by_role("button", name="In a region").click()
    canvas = steps.page.locator(".wb-paint-canvas")
    box = canvas.bounding_box()
    assert box is not None
    for row in range(8):
        steps.page.mouse.move(box["x"] + 4, box["y"] + (0.05 + row * 0.06) * box["height"])
        steps.page.mouse.down()
        steps.page.mouse.move(box["x"] + box["width"] - 4, box["y"] + (0.05 + row * 0.06) * box["height"], steps=5)
        steps.page.mouse.up()
    steps.page.get_by_role("button", name="Use this region").click()
    expect(steps.page.get_by_role("button", name="Everywhere again")).to_be_visible()
    steps.page.get_by_role("button", name="From the start").click()
    branch = steps.expect_branch("in a region")
    changed = np.abs(picture(steps, branch) - picture(steps, run_id)).mean(axis=(1, 2))
    assert changed[: len(changed) // 2].mean() > changed[len(changed) // 2 :].mean()


def test_a_branch_that_ends_while_another_is_looked_at_joins_the_tree(steps: StepsPage, run_id: str) -> None:
    first = branch_of(steps.url, run_id, {"from": 6, "noise": {"seed": 1}, "label": "One"})
    steps.page.reload()
    steps.expect_shown(run_id)
    rows = steps.branches.count()
    steps.go_to(2)
    news: list[Route] = []  # of the branch, held back until another run is looked at
    steps.page.route(re.compile(r"/studio/jobs/[^/]+/events"), lambda route: news.append(route))
    steps.page.get_by_role("button", name="Continue from 2").click()
    expect(steps.page.locator(".wb-branch-work")).to_be_visible()
    steps.page.locator(f".wb-branch[data-id='{first}']").click()
    steps.expect_shown(first)
    while not news:
        steps.page.wait_for_timeout(50)
    news.pop().continue_()
    expect(steps.branches).to_have_count(rows + 1, timeout=SLOW)
    expect(steps.page.locator(".wb-branch[aria-current]")).to_contain_text("One")  # nobody was moved on
    steps.expect_step(2)


def test_a_stopped_run_goes_on_to_its_end(steps: StepsPage, studio: Studio) -> None:
    stopped, total = stopped_run(studio.url, "a harbour in the rain")
    steps.page.goto("about:blank")  # in the same document the address alone opens nothing
    steps.open(stopped)
    recorded = steps.facts(stopped)["recorded"]
    assert 1 <= recorded < total
    branches = steps.page.get_by_role("region", name="Branches")
    expect(branches).to_contain_text(f"Stopped at step {recorded} of {total}")
    branches.get_by_role("button", name=f"Go on to {total}").click()
    facts = steps.facts(steps.expect_branch("Gone on"))
    assert (facts["parent"], facts["recorded"], facts["stopped_at"]) == (stopped, total, None)
    assert sum(step["shared"] for step in facts["steps"]) == recorded - 1  # its last step is made once more
    expect(branches.get_by_role("button", name=f"Go on to {total}")).not_to_be_visible()
    assert steps.facts(stopped)["recorded"] == recorded


def test_a_refused_branch_is_told_in_words(steps: StepsPage, expected_failures: list[str]) -> None:
    expected_failures.append("422")
    steps.page.get_by_role("button", name="More ways to go on").click()
    steps.page.get_by_label("Words from this step on").fill("x" * 9000)
    steps.page.get_by_role("button", name=f"Continue from {STEPS}").click()
    expect(steps.notice).to_contain_text("characters")
    expect(steps.page.get_by_role("button", name=f"Continue from {STEPS}")).to_be_enabled()


def test_run_file_holds_every_step(steps: StepsPage, tmp_path: Path) -> None:
    name, content = steps.download("Run file")
    assert name.endswith(".safetensors")
    assert len(content) > 8 * STEPS * 16 * 16 * 16  # x and the clean estimate of every step, float32
