"""What the studio costs: against a bare diffusers call, in memory, and from the command to the first page.

    python benchmarks/generate.py                 # everything; prints tables and renews its section of results.md
    python benchmarks/generate.py --only pace     # one part, printed and not written

Parts: `pace` (the engine against diffusers, and a step), `memory` (the idle app and a run), `start` (the first page).
Times alternate between the two sides, so that whatever else the machine does hits both; ratios are medians of the
ratios of neighbours. CPU time stands beside wall time because it hardly depends on other programs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.md")
HEADING = "## Making a picture"
PROMPT = "an oil painting of a mountain lake at sunset"
MEGABYTE = 1e6
PATIENCE = 300.0  # seconds for anything to happen

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Row:
    """One line of the table. `limit` is what `value` may be at most, in the same unit; None where it is free."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    remark: str = ""

    @property
    def holds(self) -> bool:
        return self.limit is None or self.value <= self.limit

    def as_markdown(self) -> str:
        limit = "" if self.limit is None else f"{_number(self.limit)} {self.unit}".strip()
        mark = "" if self.holds else " **(missed)**"
        return f"| {self.name} | {_number(self.value)} {self.unit}{mark} | {limit} | {self.remark} |".replace(
            "  ", " "
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="painter", help="a catalogue name or a diffusers folder (default: painter)")
    parser.add_argument("--repeats", type=int, default=9, help="pairs of runs for the ratios, at least 7")
    parser.add_argument("--starts", type=int, default=3, help="pairs of starts, at least 3")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--only", choices=("pace", "memory", "start"), help="one part; results.md stays as it is")
    options = parser.parse_args()
    parts: dict[str, Callable[[], list[Row]]] = {
        "start": lambda: start(max(options.starts, 3)),
        "memory": lambda: memory(options.model),
        "pace": lambda: pace(options.model, max(options.repeats, 7), options.threads),
    }
    chosen = {options.only: parts[options.only]} if options.only else parts
    rows = [row for part in chosen.values() for row in part()]
    section = _section(rows)
    print(section)
    if options.only is None:
        write_section(RESULTS, HEADING, section)
    return 0 if all(row.holds for row in rows) else 1


# -- against diffusers ------------------------------------------------------------------------------------------------


def pace(model: str, repeats: int, threads: int) -> list[Row]:
    """Engine against a bare diffusers call: same folder, settings and process, one after the other."""
    import numpy as np
    import torch
    from diffusers import DiffusionPipeline

    from studio.engine import Engine, Progress
    from studio.models.solvers import make_scheduler

    torch.set_num_threads(threads)
    engine = Engine(model)
    engine.load()
    torch.set_num_threads(threads)  # loading chooses for itself
    card = engine.card()
    request = card.request(PROMPT, seed=7)
    bare = DiffusionPipeline.from_pretrained(card.source, dtype=torch.float32, local_files_only=True)
    bare.set_progress_bar_config(disable=True)
    bare.scheduler = make_scheduler(card.solver, bare.scheduler)

    def diffusers_alone() -> np.ndarray:
        images = bare(
            request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="np",
        ).images
        return (images[0] * 255).round().astype(np.uint8)

    def without_previews() -> np.ndarray:
        return engine.run(request, previews=False).pixels

    def with_previews() -> np.ndarray:
        return engine.run(request, on_progress=lambda _: None).pixels

    for warm_up in (diffusers_alone, without_previews, with_previews):
        if not np.array_equal(warm_up(), diffusers_alone()):
            raise SystemExit("The engine and diffusers paint different pictures: there is nothing to compare.")
    off, on = [], []
    for turn in range(repeats):
        order = (diffusers_alone, without_previews, with_previews)
        # every other turn backwards: what the machine does more and more of hits all sides alike
        timed = {side: _timed(side) for side in (order if turn % 2 == 0 else reversed(order))}
        off.append((timed[diffusers_alone], timed[without_previews]))
        on.append((timed[diffusers_alone], timed[with_previews]))
        print(
            f"pace {turn + 1}/{repeats}: " + "  ".join(f"{timed[side].wall:.3f} s" for side in order), file=sys.stderr
        )

    ticks: list[float] = []

    def note(_: Progress) -> None:
        ticks.append(time.perf_counter())

    for _ in range(3):
        engine.run(request, on_progress=note, previews=False)
    steps = [b - a for a, b in itertools.pairwise(ticks) if b > a]
    of_a_run = [s for k, s in enumerate(steps, start=1) if k % request.num_inference_steps]
    seconds = statistics.median(one.wall for one, _ in off)
    setting = f"{request.width} × {request.height}, {request.num_inference_steps} steps, {request.solver}"
    return [
        _ratio("Engine / bare diffusers, previews off", off, 1.05, f"{setting}; diffusers takes {seconds:.2f} s"),
        _ratio("Engine / bare diffusers, previews on", on, 1.15, "previews at most every 200 ms"),
        Row(
            f"A guided step on {threads} threads",
            statistics.median(of_a_run) * 1000,
            "ms",
            None,
            f"fastest {min(of_a_run) * 1000:.0f} ms",
        ),
    ]


@dataclass(frozen=True)
class _Time:
    wall: float  # seconds
    cpu: float  # seconds, of all threads


def _timed(side: Callable[[], object]) -> _Time:
    wall, cpu = time.perf_counter(), time.process_time()
    side()
    return _Time(time.perf_counter() - wall, time.process_time() - cpu)


def _ratio(name: str, pairs: list[tuple[_Time, _Time]], limit: float, remark: str) -> Row:
    wall = statistics.median(ours.wall / theirs.wall for theirs, ours in pairs)
    cpu = statistics.median(ours.cpu / theirs.cpu for theirs, ours in pairs)
    return Row(name, wall, "", limit, f"CPU time {cpu:.3f}; {len(pairs)} pairs; {remark}")


# -- memory -----------------------------------------------------------------------------------------------------------


def memory(model: str) -> list[Row]:
    """Resident memory of the app in a process of its own: at its peak until the model is loaded, and in a run."""
    import httpx
    import psutil

    with (
        _app("--model", model) as (address, process),
        httpx.Client(base_url=address, timeout=60, trust_env=False) as ask,
    ):
        resident = psutil.Process(process.pid).memory_info
        with _Peak(lambda: resident().rss) as starting:
            _until(lambda: ask.get("/").status_code == 200)
            _until(lambda: ask.get("/studio/session").json()["model"]["loaded"])
            time.sleep(1.0)
        idle = resident().rss
        with _Peak(lambda: resident().rss) as running:
            job = ask.post("/studio/jobs", json={"request": {"prompt": PROMPT, "seed": 7}}).json()["id"]
            _until(lambda: ask.get(f"/studio/jobs/{job}").json()["state"] in ("done", "failed"))
        state = ask.get(f"/studio/jobs/{job}").json()
        if state["state"] != "done":
            raise SystemExit(f"The run for the memory failed: {state['error']}")
    return [
        Row(
            "Idle app with the painter, at its peak",
            starting.bytes / MEGABYTE,
            "MB",
            1500,
            f"then {idle / MEGABYTE:.0f} MB",
        ),
        Row("What a run adds at its peak", (running.bytes - idle) / MEGABYTE, "MB", 300),
    ]


class _Peak:
    """The largest value that `read` gives while the block runs, looked at every 5 ms."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.bytes = 0
        self._read = read
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.bytes = max(self.bytes, self._read())


# -- the first page ---------------------------------------------------------------------------------------------------


def start(starts: int) -> list[Row]:
    """From `python app.py` to the first served page, against importing the three libraries in a fresh process."""
    import httpx

    ratios, pages, imports = [], [], []
    for turn in range(starts):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-W", "ignore", "-c", "import gradio, torch, diffusers"], check=True)
        imports.append(time.perf_counter() - began)
        began = time.perf_counter()
        with _app() as (address, _), httpx.Client(base_url=address, timeout=60, trust_env=False) as ask:
            _until(lambda ask=ask: ask.get("/").status_code == 200)  # type: ignore[misc]
            pages.append(time.perf_counter() - began)
        ratios.append(pages[-1] / imports[-1])
        print(f"start {turn + 1}/{starts}: page {pages[-1]:.2f} s, imports {imports[-1]:.2f} s", file=sys.stderr)
    remark = f"page {statistics.median(pages):.1f} s, imports {statistics.median(imports):.1f} s; {starts} pairs"
    return [Row("First page / importing gradio, torch, diffusers", statistics.median(ratios), "", 1.2, remark)]


@contextlib.contextmanager
def _app(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The app on a free port with a data folder of its own, ended on leaving."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        words = ["--port", str(port), "--no-browser", "--data", data, *options]
        process = subprocess.Popen([sys.executable, str(ROOT / "app.py"), *words], stdout=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()
            process.wait()


def _until(true: Callable[[], bool]) -> None:
    """Asks every 20 ms until it is true; a server that is not there yet counts as no."""
    import httpx

    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx.TransportError):
            if true():
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"Nothing happened within {PATIENCE:.0f} s.")
        time.sleep(0.02)


# -- the table --------------------------------------------------------------------------------------------------------


def _section(rows: list[Row]) -> str:
    libraries = ("torch", "diffusers", "transformers", "gradio", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return table(HEADING, "generate.py", f"Python {platform.python_version()}, {versions}.", rows)


def table(heading: str, script: str, setting: str, rows: Sequence[Row]) -> str:
    """The rows as a section of results.md, under the command, the day, the machine and `setting`."""
    lines = [
        heading,
        "",
        f"`python benchmarks/{script}`, {date.today().isoformat()}, {_machine()}.",
        setting,
        "",
        "| What | Measured | At most | |",
        "|---|---|---|---|",
        *(row.as_markdown() for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    """Processor, cores that may be used, and how busy the machine was."""
    import psutil

    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        name = found[1].strip() if found else name
    cores = psutil.cpu_count(logical=False) or os.cpu_count()
    busy = f", load {psutil.getloadavg()[0]:.1f}"
    return f"{name}, {cores} cores, {psutil.virtual_memory().total / 1e9:.0f} GB{busy}"


def write_section(file: Path, heading: str, section: str) -> None:
    """Puts `section` into `file` in the place of what stood under `heading`, or at its end."""
    text = file.read_text("utf-8") if file.exists() else "# Measurements\n"
    pattern = re.compile(rf"^{re.escape(heading)}$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: section + "\n", text)
    else:
        text = text.rstrip("\n") + "\n\n" + section
    file.write_text(text.rstrip("\n") + "\n", "utf-8")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value < 10 else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
