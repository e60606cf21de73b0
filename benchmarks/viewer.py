"""What looking at a recorded run costs: a step, its bands, the recording itself.

    python benchmarks/viewer.py              # prints a table and renews its section of results.md
    python benchmarks/viewer.py --dry        # printed only
    python benchmarks/viewer.py --page       # the page in Chromium instead: its longest task

Steps are asked for over HTTP, from the whole application with its guard, as the page does. A decode that a step is
compared with is timed right after it, so that whatever else the machine does hits both. The cost of recording is the
median of the ratios of neighbours; CPU time stands beside it because it hardly depends on other programs.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import generate as pace  # noqa: E402 - the other benchmark in this folder
import httpx  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import uvicorn  # noqa: E402

from studio.diffusion.wavelets import band_energies, merge_bands, split_bands  # noqa: E402
from studio.engine import Engine  # noqa: E402
from studio.project.runs import RunStore  # noqa: E402
from studio.project.store import PictureStore  # noqa: E402
from studio.requests import TextToImage  # noqa: E402
from studio.settings import Settings  # noqa: E402
from studio.viewer import numbers  # noqa: E402
from studio.viewer.facts import facts_of  # noqa: E402
from studio.viewer.keeping import keep  # noqa: E402
from studio.viewer.viewer import BandWish, Viewer  # noqa: E402
from studio.web.server import build_app  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

RESULTS = Path(__file__).with_name("results.md")
HEADING = "## Looking at a run"
PAGE_HEADING = "## The Steps page in a browser"
OWNER = "local"
STEPS = 20
SIDE = 256  # px
PAGE_STEPS, PAGE_SIDE = 50, 512
LONGEST = 200  # ms that a task of the page may take

# What the browser itself calls a long task, from 50 ms on; `take` answers those since it was last asked.
LONG_TASKS = """
window.longTasks = [];
const observer = new PerformanceObserver((list) => window.longTasks.push(...list.getEntries()));
observer.observe({ type: "longtask", buffered: true });
window.takeLongTasks = () => {
  window.longTasks.push(...observer.takeRecords());
  return window.longTasks.splice(0).map(({ duration }) => duration);
};
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="print only; results.md stays as it is")
    parser.add_argument("--page", action="store_true", help="measure the page in Chromium, and nothing else")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--repeats", type=int, default=7, help="pairs of runs for the cost of recording")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    engine = Engine()
    engine.load()
    torch.set_num_threads(options.threads)  # loading chooses for itself
    request = dataclasses.replace(
        engine.card().request(pace.PROMPT, seed=7), width=SIDE, height=SIDE, num_inference_steps=STEPS
    )
    if options.page:
        rows = _page(engine, request)
        section = _section(rows, PAGE_HEADING, " --page", f"A run of {PAGE_STEPS} steps at {PAGE_SIDE} × {PAGE_SIDE}")
        print(section)
        if not options.dry:
            pace.write_section(RESULTS, PAGE_HEADING, section)
        return 0 if all(row.holds for row in rows) else 1
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        run_id = _a_run(engine, request, data)
        rows = [
            *_steps(engine, request, data, run_id),
            *_bands(engine, data, run_id),
            *_recording(engine, options.repeats),
        ]
    rows += _transforms()
    section = _section(rows, HEADING, "", f"Runs of {STEPS} steps at {SIDE} × {SIDE} unless said")
    print(section)
    if not options.dry:
        pace.write_section(RESULTS, HEADING, section)
    return 0 if all(row.holds for row in rows) else 1


def _a_run(engine: Engine, request: TextToImage, data: Path) -> str:
    """A recorded run in a data folder, as a job leaves it there."""
    picture = engine.run(request, previews=False, record=True)
    store, runs = PictureStore(data), RunStore(data)
    store.prepare()
    runs.prepare()
    made_at = time.time_ns() // 1_000_000
    run_id = store.add(OWNER, picture.to_png(), made_at, picture.seconds)
    began = time.perf_counter()
    keep(Viewer(engine, runs, data=data), OWNER, run_id, picture, made_at)
    print(f"keeping the run: {time.perf_counter() - began:.3f} s, {runs.size(OWNER, run_id) / 1e6:.1f} MB")
    return run_id


def _steps(engine: Engine, request: TextToImage, data: Path, run_id: str) -> list[pace.Row]:
    with _asked(engine, data) as ask:
        frames = Viewer(engine, RunStore(data), data=data).frames(OWNER, RunStore(data).get(OWNER, run_id))
        over, uncached, decodes = [], [], []
        for k in range(STEPS):
            seconds = _seconds(lambda k=k: ask(f"/studio/runs/{run_id}/steps/{k}.png?look=full"))
            decode = _seconds(lambda k=k: engine.decode(request, frames[k].clean))
            over.append(1000 * (seconds - 1.2 * decode))
            uncached.append(1000 * seconds)
            decodes.append(1000 * decode)
        cached = [
            1000 * _seconds(lambda k=k, look=look: ask(f"/studio/runs/{run_id}/steps/{k}.png?look={look}"))
            for _ in range(8)
            for look in ("fast", "full")
            for k in range(STEPS)
        ][2 * STEPS :]
    median = statistics.median
    return [
        pace.Row("A cached step, p95", _p95(cached), "ms", 50, f"median {median(cached):.1f} ms; {len(cached)} times"),
        pace.Row(
            "An uncached step beyond 1.2 decodes, p95",
            _p95(over[1:]),
            "ms",
            50,
            f"step {median(uncached):.0f} ms, decode {median(decodes):.0f} ms; the first also reads the run",
        ),
    ]


def _bands(engine: Engine, data: Path, run_id: str) -> list[pace.Row]:
    def everything(look: str) -> tuple[float, float]:
        """Seconds for the bands of every step of a run just read, and seconds of that which decoding took."""
        viewer, decoding = Viewer(engine, RunStore(data), data=data), 0.0
        if look == "full":
            run = viewer.run(OWNER, run_id)
            decoding = _seconds(lambda: [viewer.plane(OWNER, run, k, look) for k in range(STEPS)])
        return _seconds(lambda: [viewer.bands(OWNER, run_id, k, BandWish(look=look)) for k in range(STEPS)]), decoding

    def curves() -> None:
        facts_of(Viewer(engine, RunStore(data), data=data), OWNER, run_id, look="fast")

    setting = f"{STEPS} steps, {SIDE} × {SIDE}, db2, 4 levels"
    fast = statistics.median(everything("fast")[0] for _ in range(3))
    full, decoding = sorted(everything("full") for _ in range(3))[1]
    return [
        pace.Row("All bands of a run as PNG, linear look", fast, "s", 1.5, f"{setting}; from its file"),
        pace.Row("All bands of a run as PNG, decoded", full, "s", 1.5, f"beyond {decoding:.2f} s of decoding"),
        pace.Row("All curves of a run, linear look", 1000 * _seconds(curves), "ms", None, setting),
    ]


def _recording(engine: Engine, repeats: int) -> list[pace.Row]:
    request = engine.card().request(pace.PROMPT, seed=7)

    def plain() -> object:
        return engine.run(request, previews=False)

    def recorded() -> object:
        return engine.run(request, previews=False, record=True)

    plain(), recorded()
    pairs = []
    for turn in range(repeats):
        order = (plain, recorded) if turn % 2 == 0 else (recorded, plain)
        timed = {side: pace._timed(side) for side in order}
        pairs.append((timed[plain], timed[recorded]))
    setting = f"{request.width} × {request.height}, {request.num_inference_steps} steps"
    return [pace._ratio("Recorded / not recorded", pairs, 1.02, setting)]


def _transforms() -> list[pace.Row]:
    """The bands of one picture by PyWavelets, which the viewer uses, and by torch."""
    rows = []
    for side in (128, 512):
        plane = np.random.default_rng(0).standard_normal((1, side, side)).astype(np.float32)
        tensor = torch.from_numpy(plane)

        def by_torch(tensor: torch.Tensor = tensor) -> None:
            bands = split_bands(tensor, "db2", 4, 2)
            for band in range(5):
                merge_bands(bands.only(band))

        def by_pywavelets(plane: np.ndarray = plane) -> None:
            numbers.band_planes(plane, "db2", 4)

        by_torch(), by_pywavelets()
        ours, other = (
            1000 * statistics.median(_seconds(side) for _ in range(9)) for side in (by_pywavelets, by_torch)
        )
        energy = 1000 * statistics.median(_seconds(lambda plane=plane: band_energies(plane)) for _ in range(9))
        remark = f"by torch {other:.1f} ms; energies alone {energy:.1f} ms"
        rows.append(pace.Row(f"Five bands of {side} × {side} grey pixels", ours, "ms", None, remark))
    return rows


def _page(engine: Engine, request: TextToImage) -> list[pace.Row]:
    """Opens a long, large run in Chromium, scrubs it as people do, and asks the browser for its long tasks."""
    request = dataclasses.replace(
        request,
        width=PAGE_SIDE,
        height=PAGE_SIDE,
        num_inference_steps=PAGE_STEPS,
        guidance_scale=1.0,  # half the work, and nothing that the page could tell
    )
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        run_id = _a_run(engine, request, data)
        with _served(engine, data) as address, _chromium() as page:
            page.add_init_script(LONG_TASKS)
            page.goto(f"{address}/")
            page.wait_for_selector("html[data-wb-ready]")
            page.wait_for_timeout(1000)
            page.evaluate("takeLongTasks()")  # Gradio's own start
            parts: dict[str, Callable[[Page, str], None]] = {
                "Opening": _open_run,
                "Scrubbing": _scrub,
                "Playing": _play,
                "Bands large, one after the other": _bands_large,
                "Another wavelet, all numbers": _look_around,
                "Leaving the tab and coming back": _away_and_back,
            }
            rows = []
            for name, act in parts.items():
                began = time.perf_counter()
                act(page, run_id)
                seconds = time.perf_counter() - began
                tasks = [float(task) for task in page.evaluate("takeLongTasks()")]
                remark = f"{len(tasks)} over 50 ms in {seconds:.0f} s"
                rows.append(pace.Row(f"{name}: longest task", max(tasks, default=0.0), "ms", LONGEST, remark))
    return rows


def _open_run(page: Page, run_id: str) -> None:
    """From the Generate tab to the run with its filmstrip, its bands and everything that is fetched at rest."""
    page.evaluate("id => { location.hash = `steps/${id}/0`; }", run_id)
    page.get_by_role("tab", name="Steps").click()
    page.wait_for_function("() => document.querySelector('.wb-say')?.textContent.includes('Step ')")
    page.wait_for_timeout(6000)


def _scrub(page: Page, run_id: str) -> None:
    """By keys, over the filmstrip and over the curves, there and back; then it plays."""
    page.locator(".wb-lane").focus()
    for key in ("Home", *["ArrowRight"] * PAGE_STEPS, *["ArrowLeft"] * PAGE_STEPS):
        page.keyboard.press(key)
    for name in (".wb-lane", ".wb-curve"):
        box = page.locator(name).bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 40, middle)
        page.mouse.down()
        for turn in range(3):
            page.mouse.move(box["x"] + (40 if turn % 2 else box["width"] - 12), middle, steps=2 * PAGE_STEPS)
            page.wait_for_timeout(400)  # a rest, in which the full decode is fetched and drawn
        page.mouse.up()


def _play(page: Page, run_id: str) -> None:
    page.locator(".wb-lane").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    page.wait_for_function(f"() => document.querySelector('.wb-lane').ariaValueNow === '{PAGE_STEPS}'")
    page.wait_for_timeout(1000)


def _bands_large(page: Page, run_id: str) -> None:
    """Every band of the picture and of what a step added, with more and less contrast."""
    for show in ("Added by this step", "Picture"):
        page.get_by_role("button", name=show, exact=True).click()
        for key in "12345+-0":
            page.keyboard.press(key)
            page.wait_for_timeout(500)


def _look_around(page: Page, run_id: str) -> None:
    """Another curve, another wavelet, all numbers."""
    page.get_by_role("group", name="Curve").get_by_role("button", name="Change", exact=True).click()
    page.locator(".wb-run-tools button").first.click()
    page.get_by_label("Wavelet").select_option("haar")
    page.wait_for_timeout(4000)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="All numbers").click()
    page.wait_for_timeout(500)
    page.keyboard.press("Escape")


def _away_and_back(page: Page, run_id: str) -> None:
    """The tab is left and opened again, as people do who look at something else."""
    for name in ("Generate", "Steps"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(1000)


@contextlib.contextmanager
def _chromium() -> Iterator[Page]:
    """A page in a Chromium of this computer, or in playwright's own."""
    from playwright.sync_api import sync_playwright  # comes with the tests, and only this part needs it

    path = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := which(name))), None)
    arguments = ["--disable-dev-shm-usage"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(180_000)
        try:
            yield page
        finally:
            browser.close()


@contextlib.contextmanager
def _asked(engine: Engine, data: Path) -> Iterator[Callable[[str], None]]:
    """The same, as a function that fetches an address and insists on an answer."""
    with (
        _served(engine, data) as address,
        httpx.Client(base_url=address, timeout=300, trust_env=False) as client,
    ):
        yield lambda path: client.get(path).raise_for_status() and None


@contextlib.contextmanager
def _served(engine: Engine, data: Path) -> Iterator[str]:
    """The whole application on a free port; what is yielded is its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        app = build_app(Settings(data=data, port=port), engine)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _p95(values: list[float]) -> float:
    return float(np.percentile(values, 95))


def _section(rows: list[pace.Row], heading: str, option: str, runs: str) -> str:
    versions = f"torch {torch.__version__}, PyWavelets {version('PyWavelets')}"
    lines = [
        heading,
        "",
        f"`python benchmarks/viewer.py{option}`, {date.today().isoformat()}, {pace._machine()}.",
        f"Python {platform.python_version()}, {versions}. {runs}.",
        "",
        "| What | Measured | At most | |",
        "|---|---|---|---|",
        *(row.as_markdown() for row in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
