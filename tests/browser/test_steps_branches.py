"""Stepping in: paint on a step, keep bands, tune strengths, other words, mix; what comes of it, and the way back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import pywt
from conftest import Studio
from fill_page import FillPage
from generate_page import GeneratePage
from numpy.typing import NDArray
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
    return steps.step_pixels(run_id, step).astype(np.float64)


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
    canvas = FillPage(steps.page, steps.url)
    bar = steps.page.get_by_role("region", name="A recorded step")
    expect(bar).to_contain_text("Step 6 of Original", timeout=SLOW)
    go = bar.get_by_role("button", name="Continue from 6")
    expect(go).to_be_disabled()
    side = steps.facts(run_id)["width"]
    canvas.option("Size", 12)
    for row in (0.2, 0.26, 0.32):  # a block in the upper left
        canvas.drag((0.15 * side, row * side), (0.4 * side, row * side))
    expect(go).to_be_enabled()
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


def test_a_dropped_branch_brings_its_settings_and_leads_to_its_steps(studio: Studio, page: Page, run_id: str) -> None:
    wish = {"from": 4, "noise": {"seed": 4}, "request": {"prompt": "a castle in the fog"}}
    branch = branch_of(studio.url, run_id, wish)
    generate = GeneratePage(page, studio.url)
    generate.open()
    generate.drop(page.request.get(f"{studio.url}studio/pictures/{branch}.png").body())
    expect(generate.prompt).to_have_value("a castle in the fog")
    expect(page.locator("#wb-steps input[type=number]")).to_have_value(str(STEPS))
    expect(generate.notice).to_contain_text("it left another run and goes on from step 5 of it, with other noise")
    generate.notice.get_by_role("link", name="Open it in Steps").click()
    steps = StepsPage(page, studio.url)
    steps.expect_shown(branch)
    steps.expect_step(5)


def test_letting_go_of_a_painted_step_leads_back_to_it(steps: StepsPage, run_id: str) -> None:
    steps.go_to(4)
    steps.page.get_by_role("button", name="Paint on it").click()
    bar = steps.page.get_by_role("region", name="A recorded step")
    expect(bar).to_contain_text("Step 4", timeout=SLOW)
    bar.get_by_role("button", name="Cancel").click()
    steps.expect_shown(run_id)
    steps.expect_step(4)
    expect(bar).not_to_be_visible()


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
    second = dialog.get_by_role("combobox", name="Second run")
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
    edge = dialog.get_by_role("slider", name="First on the left")
    expect(edge).to_be_visible()
    box = edge.bounding_box()
    assert box is not None
    for share in (0.25, 0.75):
        steps.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
        steps.page.mouse.down()
        steps.page.mouse.move(box["x"] + share * box["width"], box["y"] + 60, steps=3)
        steps.page.mouse.up()
        expect(edge).to_have_attribute("aria-valuenow", f"{100 * share:.0f}")
        first = edge.locator("canvas.wb-wipe-first")
        assert (
            first.evaluate("canvas => getComputedStyle(canvas).clipPath")
            == f"inset(0px {100 - 100 * share:.0f}% 0px 0px)"
        )
    for layer, name in ((1, "First run"), (0, "Second run")):  # the first run lies over the second
        whole = steps.step_pixels(dialog.get_by_role("combobox", name=name).input_value(), 0)
        steps.expect_drawn(edge.locator("canvas").nth(layer), whole)
    dialog.get_by_role("button", name="Difference").click()
    told = dialog.get_by_role("status")
    expect(told).to_have_text(re.compile(r"^\d+\.\d\d of 255 apart on average$"))
    scrubber.focus()
    steps.press("End")
    expect(dialog.locator(".wb-output")).to_have_text(f"Step {STEPS}")
    values = [dialog.get_by_role("combobox", name=name).input_value() for name in ("First run", "Second run")]
    difference = picture(steps, values[0]) - picture(steps, values[1])
    expect(told).to_have_text(f"{np.abs(difference).mean():.2f} of 255 apart on average")
    canvas = dialog.get_by_role("img", name="Difference of the two, amplified")
    for gain in (8, 2):
        before = steps.pixels(canvas)
        dialog.get_by_role("combobox", name="Amplified").select_option(str(gain))
        if gain != 8:  # which it is from the start
            steps.expect_other_pixels(canvas, before)
        address = f"{values[0]}/difference/{values[1]}/{STEPS - 1}.png"
        steps.page.wait_for_function(
            "part => performance.getEntriesByType('resource').some(({ name }) => name.includes(part))",
            arg=f"{address}?gain={gain}&",
        )
        steps.page.wait_for_timeout(200)  # it is here, and drawn with the next frame
        expected = np.clip(127.5 + gain * difference / 2, 0, 255)
        assert np.abs(steps.drawn(canvas) - expected).max() <= 1
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


def test_the_tree_is_drawn_with_a_fork_for_every_branch(steps: StepsPage, studio: Studio) -> None:
    root = paint_run(studio.url, "a desert at noon", steps=4, seed=1)
    first = branch_of(studio.url, root, {"from": 1, "noise": {"seed": 1}, "label": "First"})
    second = branch_of(studio.url, first, {"from": 3, "noise": {"seed": 2}, "label": "Second"})
    third = branch_of(studio.url, root, {"from": 2, "noise": {"seed": 3}, "label": "Third"})
    steps.open(second)
    rows = [str(row.get_attribute("data-id")) for row in steps.branches.all()]
    assert rows[0] == root and set(rows) == {root, first, second, third}
    expect(steps.page.locator(".wb-branches h3")).to_have_text("Branches 4")
    tree = steps.page.locator(".wb-tree > svg")
    expect(tree.locator("circle.end")).to_have_count(4)
    forks = tree.locator("circle.fork")
    expect(forks).to_have_count(3)
    height = steps.branches.first.bounding_box()
    assert height is not None
    places = sorted((float(str(f.get_attribute("cx"))), float(str(f.get_attribute("cy")))) for f in forks.all())
    assert [round(x - places[0][0]) for x, _ in places] == [0, 17, 35], "steps 2, 3 and 4 of 4 on the axis"
    middles = {run: (rows.index(run) + 0.5) * height["height"] for run in rows}
    assert [y for _, y in places] == pytest.approx([middles[root], middles[root], middles[first]], abs=1)
    expect(tree.locator("circle.fork.path")).to_have_count(2)  # from the root by the first branch to the second
    expect(tree.locator("circle.end.path")).to_have_count(1)
    steps.page.locator(f".wb-branch[data-id='{third}']").click()
    steps.expect_shown(third)
    expect(tree.locator("circle.fork.path")).to_have_count(1)


def test_a_region_limits_the_strengths(steps: StepsPage, run_id: str) -> None:
    point = steps.page.get_by_role("slider", name=re.compile("^Composition, step ")).first
    point.focus()
    steps.press("End")
    steps.page.get_by_role("button", name="In a region").click()
    canvas = FillPage(steps.page, steps.url)
    bar = steps.page.get_by_role("region", name="A recorded step")
    expect(bar).to_contain_text("region", timeout=SLOW)
    side = steps.facts(run_id)["width"]
    canvas.option("Size", 16)
    for row in range(8):
        canvas.drag((4, (0.05 + row * 0.06) * side), (side - 4, (0.05 + row * 0.06) * side))
    go = bar.get_by_role("button", name="Use this region")
    expect(go).to_be_enabled()
    go.click()
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
