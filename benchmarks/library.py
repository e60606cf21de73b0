"""What many pictures and documents cost: opening the gallery, searching it, and starting with a full folder.

    python benchmarks/library.py             # prints a table and renews its section of results.md
    python benchmarks/library.py --dry       # printed only

20,000 pictures and 1,000 documents are made by rule, straight onto the disk, so that the index has to be made from the
files as after its loss. Everything is asked for over HTTP, from the real server, as the gallery does: six requests at
a time. Starts with the full folder and with an empty one take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import generate as pace  # noqa: E402 - the other benchmark in this folder
import httpx  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402

from studio.imaging.plain_png import write_plain  # noqa: E402
from studio.imaging.png import REQUEST_KEY, write_png  # noqa: E402
from studio.project.database import Database  # noqa: E402
from studio.project.document_values import Layer, State  # noqa: E402
from studio.project.documents import DocumentStore  # noqa: E402
from studio.project.kept_run import BandNumbers, KeptRun, KeptStep, Measured, to_json  # noqa: E402
from studio.project.names import home_of  # noqa: E402
from studio.project.pixels_store import PixelStore  # noqa: E402
from studio.project.run_files import LINES  # noqa: E402
from studio.requests import TextToImage  # noqa: E402

RESULTS = Path(__file__).with_name("results.md")
HEADING = "## Many pictures"
OWNER = "local"
PICTURES, DOCUMENTS = 20_000, 1_000
COLD_STARTS = 5
PAGE = 120  # pictures that the gallery asks for at once
SHOWN = 60  # small pictures that fill a large screen
FIRST_PICTURE = 1_700_000_000_000  # milliseconds since 1970
PATIENCE = 900.0  # seconds

PLACES = ("a lake", "a coast", "a village", "mountains", "a forest", "a harbour", "a field", "an island")
TIMES = ("at dawn", "at noon", "at dusk", "at night", "in the rain", "in the snow", "in the fog")
QUERIES = ("lake dawn", "watercolour", "12345", "another snow", "2023-11-20", "nothing of this", "ink fog 7")
STYLES = ("oil on canvas", "watercolour", "ink", "gouache", "pastel")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="leave results.md alone")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make everything there, and use it again next time")
    parser.add_argument("--starts", type=int, default=5, help="pairs of starts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        full, empty = options.keep or Path(folder) / "full", Path(folder) / "empty"
        empty.mkdir()
        if not full.exists():
            make(full, options.pictures, options.documents)
        else:
            lose_index(full)
        rows = [*gallery(full, options.pictures), *starts(full, empty, options.starts)]
    section = _section(rows, options.pictures, options.documents)
    print(section)
    if not options.dry:
        pace.write_section(RESULTS, HEADING, section)
    return 0 if all(row.holds for row in rows) else 1


def make(data: Path, pictures: int, documents: int) -> None:
    """Pictures of 128 x 128 pixels under their own names, and documents of one tile with a short history."""
    began = time.perf_counter()
    home, runs = data / "pictures" / home_of(OWNER), data / "runs" / home_of(OWNER)
    for folder in (home, runs):
        folder.mkdir(parents=True)
    grid = np.linspace(0, 6.28, 128)
    for number in range(pictures):
        prompt = f"{PLACES[number % 8]} {TIMES[number % 7]}, {STYLES[number % 5]}"
        request = TextToImage(prompt, seed=number, model="painter" if number % 3 else "another")
        waves = np.sin(grid * (1 + number % 5))[:, None] + np.cos(grid * (1 + number % 7))[None] + number % 3
        colours = np.stack([waves * 40 + 60 + number % 80, waves * 30 + 90, waves * 20 + number % 120], axis=-1)
        png = write_png(colours.clip(0, 255).astype(np.uint8), {REQUEST_KEY: _note(request)})
        run = run_of(f"{FIRST_PICTURE + number * 60_000:013d}-{number:016x}", request)
        (home / f"{run.id}.png").write_bytes(png)
        (runs / f"{run.id}.json").write_bytes(to_json(run))
    database, pixels = Database(data), PixelStore(data)
    pixels.prepare()
    store = DocumentStore(database, pixels)
    tiles = []
    for number in range(16):
        tile = np.full((256, 256, 4), 255, np.uint8)
        tile[::3, :, :3] = (number * 15, 80, 160)
        tiles.append(pixels.add(OWNER, write_plain(tile))[0])
    for number in range(documents):
        layer = Layer("a", "Paint", "paint", 0, 0, True, 100, {(0, 0): tiles[number % 16]})
        name = f"{PLACES[number % 8]} {TIMES[number % 7]} {number}"
        document, head = store.create(OWNER, name, State(256, 256, (layer,)))
        for step in range(3):
            node = f"{number:016x}{step:016x}"
            head = store.append(OWNER, document, node, head, "Stroke", State(256, 250 + step, (layer,)))
    database.close()
    print(f"made in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def run_of(picture: str, request: TextToImage) -> KeptRun:
    """What is kept of a run of 20 steps in 5 bands whose latents were given up."""
    bands, steps = 5, 20
    numbers = tuple(tuple(0.1 * band + 0.01 * step for band in range(bands)) for step in range(steps))
    measured = Measured("sym8", 4, "fast", *(BandNumbers(numbers, numbers) for _ in range(2)))
    return KeptRun(
        id=picture,
        request=request,
        made_at=int(picture[:13]),
        count=steps,
        order=1,
        steps=tuple(KeptStep(1000.0 - 50 * step, 0.5, 0.1) for step in range(steps)),
        seconds=1.1,
        measured=measured,
        strip=None,
        channels=16,
        latent_height=16,
        latent_width=16,
    )


def lose_index(data: Path) -> None:
    """Forgets what is made from the files: the index, and small pictures."""
    database = Database(data)
    with database.write() as rows:
        rows.execute("DELETE FROM pictures")
        rows.execute("DELETE FROM runs")
    database.close()
    shutil.rmtree(data / "thumbnails", ignore_errors=True)
    for lines in (data / "runs").rglob(LINES):
        lines.unlink()


def _note(request: TextToImage) -> str:
    return json.dumps({"format": 1, "request": request.to_dict(), "made_with": {}})


def gallery(data: Path, pictures: int) -> list[pace.Row]:
    """The index from files alone, then the first page, further pages, and searches."""
    with _studio(data) as (ask, _, _):
        began = time.perf_counter()
        first = ask.get("/studio/library", params={"limit": PAGE}).json()
        waited = time.perf_counter() - began
        while ask.get("/studio/library", params={"limit": 1}).json()["count"] < pictures:
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit("The index never was complete.")
            time.sleep(0.2)
        indexed = time.perf_counter() - began
        assert len(first["pictures"]) >= min(SHOWN, pictures)
        read = _seconds(lambda: ask.get("/studio/runs").raise_for_status())
    colds = []
    for _ in range(COLD_STARTS):  # started again, the index there, no small pictures
        shutil.rmtree(data / "thumbnails", ignore_errors=True)
        with _studio(data) as (ask, _, _), ThreadPoolExecutor(6) as browser:
            colds.append(_seconds(lambda: _first_page(ask, browser)))
    with _studio(data) as (ask, _, _), ThreadPoolExecutor(6) as browser:
        again = _seconds(lambda: ask.get("/studio/runs").raise_for_status())
        warm = statistics.median(_seconds(lambda: _first_page(ask, browser)) for _ in range(9))
        documents = _seconds(lambda: _documents(ask, browser))
        searches: list[float] = []
        for query in QUERIES:
            searches += [_seconds(lambda query=query: _search(ask, query)) for _ in range(7)]  # type: ignore[misc]
        names = [_seconds(lambda: ask.get("/studio/documents", params={"query": "harbour night"})) for _ in range(9)]
        deep = _seconds(lambda: _last_page(ask))
    count = f"{pictures:,} pictures"
    spread = f"median of {COLD_STARTS} starts, {min(colds):.2f} to {max(colds):.2f} s"
    remark = f"{PAGE} of {count}, {SHOWN} small pictures; {spread}"
    lines = f"{read:.2f} s where their lines are not there yet"
    return [
        pace.Row("Gallery, first page with small pictures, first time", statistics.median(colds), "s", 1.0, remark),
        pace.Row("Gallery, first page, again", warm, "s", 1.0, "median of 9"),
        pace.Row("List of documents with small pictures, first time", documents, "s", 1.0, "60 documents"),
        pace.Row("Search, 95th percentile", _p95(searches) * 1000, "ms", 100, f"{len(searches)} searches in {count}"),
        pace.Row("Search, median", statistics.median(searches) * 1000, "ms", 100),
        pace.Row("Search of documents, median", statistics.median(names) * 1000, "ms", 100),
        pace.Row("Through the whole gallery, 500 at a time", deep, "s", None),
        pace.Row("List of runs, first time after a start", again, "s", 1.0, lines),
        pace.Row("First answer while the index is made from the files", waited, "s", 1.0),
        pace.Row("The index made from the files", indexed, "s", None, "beside, after it was lost"),
    ]


def starts(full: Path, empty: Path, pairs: int) -> list[pace.Row]:
    """From `python app.py` to the first page, with the full folder and with an empty one in turns."""
    ratios, times, work = [], [], []
    for turn in range(pairs):
        seconds, cpu = {}, {}
        for data in (full, empty) if turn % 2 else (empty, full):
            with _studio(data) as (_, took, used):
                seconds[data], cpu[data] = took, used
        ratios.append(seconds[full] / seconds[empty])
        work.append(cpu[full] / cpu[empty])
        times.append(seconds[full])
        print(f"start {turn + 1}/{pairs}: {seconds[full]:.2f} s, empty {seconds[empty]:.2f} s", file=sys.stderr)
    remark = f"{statistics.median(times):.1f} s; CPU time {statistics.median(work):.3f}; {pairs} pairs"
    return [pace.Row("Start with the full folder / with an empty one", statistics.median(ratios), "", 1.2, remark)]


def _first_page(ask: httpx.Client, browser: ThreadPoolExecutor) -> None:
    found = ask.get("/studio/library", params={"limit": PAGE}).json()["pictures"][:SHOWN]
    list(browser.map(lambda entry: _whole(ask, f"/studio/pictures/{entry['id']}/thumbnail.webp"), found))


def _documents(ask: httpx.Client, browser: ThreadPoolExecutor) -> None:
    found = ask.get("/studio/documents").json()["documents"]
    list(browser.map(lambda entry: _whole(ask, f"/studio/documents/{entry['id']}/thumbnail.webp"), found))


def _search(ask: httpx.Client, query: str) -> None:
    ask.get("/studio/library", params={"query": query}).raise_for_status()


def _last_page(ask: httpx.Client) -> None:
    cursor: str | None = ""
    while cursor is not None:
        cursor = ask.get("/studio/library", params={"limit": 500, "cursor": cursor}).json()["cursor"]


def _whole(ask: httpx.Client, path: str) -> None:
    answer = ask.get(path)
    answer.raise_for_status()
    assert answer.content


@contextlib.contextmanager
def _studio(data: Path) -> Iterator[tuple[httpx.Client, float, float]]:
    """The server on a free port, the seconds until its first page, and those of them that it was at work."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--no-browser", "--data", str(data)],
        stdout=subprocess.DEVNULL,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as ask:
        try:
            pace._until(lambda: process.poll() is not None or ask.get("/").status_code == 200)
            if process.poll() is not None:
                raise SystemExit("The studio ended before it could be reached.")
            took = time.perf_counter() - began
            used = psutil.Process(process.pid).cpu_times()
            yield ask, took, used.user + used.system
        finally:
            process.terminate()
            process.wait()


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def _section(rows: list[pace.Row], pictures: int, documents: int) -> str:
    shown = f"{pictures:,} pictures of 128 × 128 and {documents:,} documents"
    return pace.table(HEADING, "library.py", f"Python {platform.python_version()}. {shown}.", rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main())
