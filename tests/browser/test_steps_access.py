"""For everybody: axe-core finds nothing serious, the keyboard reaches everything, nothing is cut off at any width."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_core import violations
from conftest import Studio
from playwright.sync_api import Page, expect
from steps_page import StepsPage, paint_run

STEPS = 6


@pytest.fixture(scope="module")
def run_id(studio: Studio) -> str:
    return paint_run(studio.url, "rolling hills at dawn", steps=STEPS, seed=2)


@pytest.fixture
def steps(studio: Studio, page: Page, run_id: str) -> StepsPage:
    opened = StepsPage(page, studio.url)
    opened.open(run_id)
    return opened


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_serious(steps: StepsPage, axe: Path, theme: str) -> None:
    steps.page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    name = "Switch to dark" if theme == "light" else "Switch to light"
    expect(steps.page.get_by_role("button", name=name)).to_be_visible()
    steps.page.get_by_role("button", name="More ways to go on").click()
    assert violations(steps.page, axe, ".wb-steps") == []
    steps.split()
    assert violations(steps.page, axe, ".wb-splitting") == []
    steps.press("Escape")
    steps.page.get_by_role("button", name="All numbers").click()
    assert violations(steps.page, axe, ".wb-numbers") == []
    steps.press("Escape")
    steps.page.get_by_role("button", name="Compare", exact=True).click()
    expect(steps.page.locator(".wb-compare")).to_be_visible()
    assert violations(steps.page, axe, ".wb-compare") == []


def test_axe_finds_nothing_serious_on_a_phone(steps: StepsPage, axe: Path) -> None:
    steps.page.set_viewport_size({"width": 390, "height": 844})
    expect(steps.page.get_by_role("button", name="More", exact=True)).to_be_visible()
    for panel in ("Curves", "Strengths", "Step in", "Branches"):
        steps.page.get_by_role("group", name="What to see below").get_by_role("button", name=panel).click()
        assert violations(steps.page, axe, ".wb-steps") == []


def test_keyboard_alone_reaches_every_control(steps: StepsPage) -> None:
    steps.page.get_by_role("button", name="More ways to go on").click()
    # a ring on whatever has the focus, from the run's name to the last control of the room
    wanted = steps.page.evaluate(
        """() => {
            const inside = document.querySelector('.wb-steps');
            const all = [...inside.querySelectorAll('button, a[href], select, textarea, input, [role=slider]')]
                .filter((element) => element.checkVisibility() && !element.disabled);
            all.forEach((element, k) => { element.dataset.reach = k; });
            return all.length;
        }"""
    )
    assert wanted > 30
    steps.title.focus()
    reached = set()
    for _ in range(2 * wanted):
        reached.add(steps.page.evaluate("document.activeElement?.dataset.reach ?? null"))
        if len(reached - {None}) == wanted:
            break
        steps.press("Tab")
    missed = steps.page.evaluate(
        """reached => [...document.querySelectorAll('[data-reach]')]
            .filter((element) => !reached.includes(element.dataset.reach)).map((element) => element.outerHTML)""",
        [mark for mark in reached if mark is not None],
    )
    assert missed == []


def test_every_control_has_a_name(steps: StepsPage) -> None:
    nameless = steps.page.evaluate(
        """() => [...document.querySelectorAll('.wb-steps :is(button, a[href], select, textarea, input)')]
            .filter((element) => element.checkVisibility())
            .filter((element) => !(element.getAttribute('aria-label') || element.textContent.trim()))
            .map((element) => element.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize(
    "size",
    [(390, 844), (820, 1180), (1024, 768), (1280, 800), (2560, 1440), (3840, 2160)],
    ids=lambda size: f"{size[0]}",
)
def test_nothing_overhangs_or_overlaps(steps: StepsPage, size: tuple[int, int]) -> None:
    steps.page.set_viewport_size({"width": size[0], "height": size[1]})
    if size[0] <= 640:
        expect(steps.page.get_by_role("button", name="More", exact=True)).to_be_visible()
    steps.expect_step(STEPS)
    assert steps.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    room = steps.room.evaluate("room => room.scrollWidth - room.clientWidth")
    assert room == 0
    crowded = steps.page.evaluate(OVERLAPS)
    assert crowded == []
    cut = steps.page.evaluate(CUT)
    assert cut == []


# pairs of cards, tiles and buttons that lie on one another without one holding the other
OVERLAPS = """() => {
    const kinds = '.wb-card, .wb-big, .wb-band, .wb-say-row, .wb-shows, .wb-lock, .wb-strength';
    const parts = [...document.querySelectorAll(`.wb-steps :is(${kinds})`)]
        .filter((element) => element.checkVisibility());
    const found = [];
    parts.forEach((one, k) => parts.slice(k + 1).forEach((other) => {
        if (one.contains(other) || other.contains(one)) return;
        const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 1) found.push([one.className, other.className, across, down]);
    }));
    return found;
}"""

# buttons whose words are wider than they are, and cards whose content hangs out of them
CUT = """() => {
    const kinds = '.wb-btn, .wb-segments button, .wb-card, .wb-band-values b, .wb-strength-value';
    const cut = (element) => element.scrollWidth > element.clientWidth + 1
        || (element.matches('.wb-card') && element.scrollHeight > element.clientHeight + 1);
    return [...document.querySelectorAll(`.wb-steps :is(${kinds})`)]
        .filter((element) => element.checkVisibility() && cut(element))
        .map((element) => [element.className, element.textContent.slice(0, 40), element.scrollWidth,
            element.clientWidth, element.scrollHeight, element.clientHeight]);
}"""
