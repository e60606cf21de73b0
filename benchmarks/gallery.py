"""How the Gallery feels in a browser with 20,000 pictures: opening it, scrolling, going to its end, searching.

    python benchmarks/gallery.py              # prints a table and renews its section of results.md
    python benchmarks/gallery.py --dry        # printed only
    python benchmarks/gallery.py --keep DIR   # makes the pictures there, and uses them again next time

The data are those of library.py: a recorded run to every picture. The page is open on another tab; then the Gallery
is chosen, and the clock runs until every picture in sight is drawn. For opening, the studio is started anew each time
and the small pictures are deleted before: the Gallery is chosen as soon as the page is ready, while the model wakes,
and in another page once it is awake. Scrolling moves the wall by 100 px at every frame for 300 frames: reported are
the gaps between frames, and how long it takes until all pictures in sight are there once it stands. It exits with 1
if a limit is missed. Needs Chromium and the test extra.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(Path(__file__).parent)]

import generate as pace  # noqa: E402 - the other benchmarks in this folder
import library  # noqa: E402
from conftest import _find_chromium  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

RESULTS = Path(__file__).with_name("results.md")
HEADING = "## Many pictures in the browser"
WINDOW = {"width": 1440, "height": 900}
PATIENCE = 120_000  # ms
REST = 1000  # ms in which a page comes to rest
FRAMES, STEP = 300, 100  # frames of scrolling, px each

# every picture that lies in the window has its pixels; null until there are any
SHOWN = """
window.wbShown = () => {
    const cells = [...document.querySelectorAll('.wb-gal-cell')].filter((cell) => {
        const box = cell.getBoundingClientRect();
        return box.bottom > 0 && box.top < innerHeight && box.height > 0;
    });
    return cells.length > 0 && cells.every(({ firstChild }) => firstChild.complete && firstChild.naturalWidth > 0);
};
window.wbUntil = (true_) => new Promise((resolve) => {
    const look = () => (true_() ? resolve(performance.now()) : requestAnimationFrame(look));
    look();
});
"""
OPENED = """async () => {
    const began = performance.now();
    [...document.querySelectorAll('[role=tab]')].find((each) => each.textContent.trim() === 'Gallery').click();
    return await wbUntil(wbShown) - began;
}"""
SCROLLED = """async ([frames, step]) => {
    let room = document.querySelector('.wb-gal-wall').parentElement;
    if (getComputedStyle(room).overflowY === 'visible' || room.scrollHeight <= room.clientHeight + 1)
        room = document.scrollingElement;
    const gaps = [];
    let most = 0;
    let before = await new Promise(requestAnimationFrame);
    for (let k = 0; k < frames; k += 1) {
        room.scrollTop += step;
        const now = await new Promise(requestAnimationFrame);
        gaps.push(now - before);
        before = now;
        most = Math.max(most, document.querySelectorAll('.wb-gal-cell').length);
    }
    const stood = performance.now();
    return { gaps, most, moved: room.scrollTop, filled: await wbUntil(wbShown) - stood };
}"""
ENDED = """async (last) => {
    const wall = document.querySelector('.wb-gal-wall');
    const began = performance.now();
    wall.focus();
    wall.dispatchEvent(new KeyboardEvent('keydown', { key: 'End', bubbles: true, cancelable: true }));
    return await wbUntil(() => document.querySelector(`.wb-gal-cell[data-index="${last}"]`) && wbShown()) - began;
}"""
SEARCHED = """async ([words, count]) => {
    const field = document.querySelector('.wb-gallery input[type=search]');
    const began = performance.now();
    field.value = words;
    field.dispatchEvent(new Event('input', { bubbles: true }));
    const found = () => document.querySelector('.wb-gal-found').textContent.replace(/[^0-9]/g, '') === String(count);
    return await wbUntil(() => found() && wbShown()) - began;
}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="leave results.md alone")
    parser.add_argument("--pictures", type=int, default=library.PICTURES)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make everything there, and use it again next time")
    parser.add_argument("--starts", type=int, default=5, help="starts of the studio for opening")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = options.keep or Path(folder) / "full"
        if not data.exists():
            library.make(data, options.pictures, library.DOCUMENTS)
        browser = playwright.chromium.launch(executable_path=_find_chromium(playwright))
        rows = measure(browser, data, options.pictures, options.starts)
        section = _section(rows, options.pictures, browser.version)
        browser.close()
    print(section)
    if not options.dry:
        pace.write_section(RESULTS, HEADING, section)
    return 0 if all(row.holds for row in rows) else 1


def measure(browser: Browser, data: Path, pictures: int, starts: int) -> list[pace.Row]:
    """Opens the Gallery after each start; after the last one, everything else."""
    waking: list[float] = []
    awake: list[float] = []
    for turn in range(starts):
        shutil.rmtree(data / "thumbnails", ignore_errors=True)
        with library._studio(data) as (ask, _, _):
            url = str(ask.base_url)
            page = _opened(browser, url)
            waking.append(page.evaluate(OPENED))
            page.close()
            pace._until(lambda: ask.get("/studio/session").json()["model"]["loaded"])
            pace._until(lambda: ask.get("/studio/library", params={"limit": 1}).json()["count"] == pictures)
            shutil.rmtree(data / "thumbnails", ignore_errors=True)
            page = _opened(browser, url)
            page.wait_for_timeout(REST)
            awake.append(page.evaluate(OPENED))
            print(f"start {turn + 1}/{starts}: {waking[-1]:.0f} ms, awake {awake[-1]:.0f} ms", file=sys.stderr)
            if turn == starts - 1:
                rows = _used(browser, page, url, pictures)
            page.close()
    name = "Gallery chosen, until drawn"
    return [_opening(f"{name}, once the model is awake", awake), _opening(f"{name}, while it wakes", waking), *rows]


def _opening(name: str, times: Sequence[float]) -> pace.Row:
    spread = f"median of {len(times)} starts, {min(times) / 1000:.2f} to {max(times) / 1000:.2f} s"
    remark = f"{spread}; small pictures made anew"
    return pace.Row(name, statistics.median(times) / 1000, "s", 1.0, remark)


def _used(browser: Browser, page: Page, url: str, pictures: int) -> list[pace.Row]:
    scrolled: dict[str, Any] = page.evaluate(SCROLLED, [FRAMES, STEP])
    back: dict[str, Any] = page.evaluate(SCROLLED, [FRAMES, -STEP])
    searches = []
    for words in ("lake dawn", "watercolour", "another snow", "ink fog", ""):
        answer = page.request.get(f"{url}/studio/library", params={"query": words, "limit": 1})
        count = answer.json()["count"]
        searches.append(page.evaluate(SEARCHED, [words, count]))
    end = page.evaluate(ENDED, pictures - 1)
    page.close()
    again = []
    for _ in range(5):
        page = _opened(browser, url)
        page.wait_for_timeout(REST)
        again.append(page.evaluate(OPENED))
        page.close()
    gaps = [*scrolled["gaps"], *back["gaps"]]
    cells = f"at most {max(scrolled['most'], back['most'])} pictures in the page"
    return [
        pace.Row("Gallery chosen, until drawn, again", statistics.median(again) / 1000, "s", 1.0, "median of 5"),
        pace.Row(
            "Scrolling, 95th percentile of frames", library._p95(gaps), "ms", 34.0, f"{len(gaps)} frames; {cells}"
        ),
        pace.Row("Scrolling, median frame", statistics.median(gaps), "ms", None, f"worst {max(gaps):.0f} ms"),
        pace.Row(
            "All in sight once the wheel stands", scrolled["filled"] / 1000, "s", 1.0, "small pictures made anew"
        ),
        pace.Row("Search, from the key to the drawn pictures", max(searches) / 1000, "s", 1.0, "worst of 5"),
        pace.Row("To the last picture (End)", end / 1000, "s", None, f"{pictures:,} pictures"),
    ]


def _opened(browser: Browser, url: str) -> Page:
    page = browser.new_page(viewport=WINDOW)
    page.set_default_timeout(PATIENCE)
    page.add_init_script(SHOWN)
    page.goto(url)
    page.locator("html[data-wb-ready]").wait_for(state="attached")
    return page


def _section(rows: Sequence[pace.Row], pictures: int, chromium: str) -> str:
    shown = f"Chromium {chromium} without a graphics card, {pictures:,} pictures"
    return pace.table(HEADING, "gallery.py", f"Python {platform.python_version()}, {shown}.", rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main())
