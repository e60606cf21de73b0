"""The real server, killed while it paints or fills and while a page draws; and a second one on its folder."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import driver
import numpy as np
from document_room import room
from drawing_page import Page, strokes_are_there
from served import ROOT, Served, free_port, served

from studio.imaging.plain_png import write_plain
from studio.project.housekeeping import Housekeeping
from studio.project.library import Library
from studio.project.thumbnails import ThumbnailCache

STEPS = 6
PATIENCE = 300.0  # seconds that a picture of the bundled model may take on a busy machine


def _paint(studio: Served, seed: int) -> str:
    session = studio.client.get("/studio/session").json()
    request = {"prompt": "a lake", "num_inference_steps": STEPS, "seed": seed, "model": session["model"]["name"]}
    answer = studio.client.post("/studio/jobs", json={"request": request, "count": 1})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _fill(studio: Served, seed: int) -> str:
    """Begins to fill the middle of a picture, as the page does; returns its job."""
    source, mask = fill_source()
    pngs = [write_plain(source, 1), write_plain(mask, 1)]
    bundle = b"".join(struct.pack(">I", len(png)) + png for png in pngs)
    ids = studio.client.post("/studio/pixels/bundle", content=bundle).json()["ids"]
    painting = {"prompt": "a lake", "num_inference_steps": STEPS, "seed": seed}
    request = {"intent": "fill", "painting": painting, "harmonise": 0}
    body = {"source": ids[0], "mask": ids[1], "count": 1, "request": request}
    answer = studio.client.post("/studio/fills", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def fill_source() -> tuple[np.ndarray, np.ndarray]:
    """A picture and a mask in its middle."""
    source = np.full((200, 300, 4), 255, np.uint8)
    source[..., :3] = np.random.default_rng(5).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    mask = np.zeros((200, 300), np.uint8)
    mask[60:140, 100:200] = 255
    return source, mask


def _until(studio: Served, job: str, enough: Any) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        snapshot: dict[str, Any] = studio.client.get(f"/studio/jobs/{job}").json()
        if enough(snapshot):
            return snapshot
        time.sleep(0.02)
    raise AssertionError("the picture never came")


def _killed_at_work(studio: Served, page: Page, job: str, after: int, chance: random.Random) -> None:
    """A page draws, a picture is being painted or filled, and the process is killed `after` so many of its steps."""
    before = len(page.confirmed)
    drawing = threading.Thread(target=page.draw_until_it_ends)
    drawing.start()
    _until(studio, job, lambda s: s["step"] >= after)
    time.sleep(chance.uniform(0, 0.3))
    studio.process.kill()
    studio.process.wait(30)
    drawing.join(60)
    assert len(page.confirmed) > before


def test_a_server_that_was_killed_finds_everything_and_paints_on(tmp_path: Path) -> None:
    chance = random.Random(3)
    with served(tmp_path) as studio:
        first = _until(studio, _paint(studio, 1), lambda s: s["state"] == "done")["pictures"][0]["id"]
        options = ["--port", str(free_port()), "--no-browser", "--data", str(tmp_path)]
        second = subprocess.run(
            [sys.executable, str(ROOT / "app.py"), *options], capture_output=True, text=True, timeout=PATIENCE
        )
        assert second.returncode == 2
        assert f"process {studio.process.pid}" in second.stderr
        assert str(studio.client.base_url).rstrip("/") in second.stderr
        page = Page(studio.client)
        page.create()
        _killed_at_work(studio, page, _paint(studio, 2), 2, chance)
    with served(tmp_path) as again:
        strokes_are_there(again, page)
        listed = [entry["id"] for entry in again.client.get("/studio/library").json()["pictures"]]
        assert first in listed
        assert again.client.get(f"/studio/runs/{first}").status_code == 200
        same = _until(again, _paint(again, 1), lambda s: s["state"] == "done")["pictures"][0]["id"]
        one, two = (again.client.get(f"/studio/pictures/{each}.png").content for each in (first, same))
        assert one == two, "the next run works, and gives the same"
        page = Page(again.client)
        page.create()
        _killed_at_work(again, page, _paint(again, 3), 1, chance)
    with room(tmp_path) as made:
        assert made.database.check() == []
        for node, state in page.confirmed:
            assert made.documents.state("local", page.document, node).to_dict() == state
        assert {first, same} <= made.pictures.ids("local")
        assert not list(tmp_path.rglob("*.part"))


def test_a_server_that_was_killed_while_it_filled_finds_the_fills_and_fills_on(tmp_path: Path) -> None:
    chance = random.Random(4)
    with served(tmp_path) as studio:
        (first,) = _until(studio, _fill(studio, 1), lambda s: s["state"] == "done")["pictures"]
        page = Page(studio.client)
        page.create()
        page.put_down(first)
        _killed_at_work(studio, page, _fill(studio, 2), 3, chance)
    with served(tmp_path) as again:
        strokes_are_there(again, page)
        assert again.client.get(f"/studio/runs/{first['id']}").status_code == 200
        (same,) = _until(again, _fill(again, 1), lambda s: s["state"] == "done")["pictures"]
        one, two = (again.client.get(f"/studio/pictures/{each['id']}.png").content for each in (first, same))
        assert one == two, "the next fill works, and gives the same"
        assert same["layer"] == first["layer"]
        assert same["count"]["outside_changed"] == 0
        page = Page(again.client)
        page.create()
        page.put_down(same)
        _killed_at_work(again, page, _fill(again, 3), STEPS, chance)  # as it is being kept
    with room(tmp_path) as made:
        assert made.database.check() == []
        for node, state in page.confirmed:
            assert made.documents.state("local", page.document, node).to_dict() == state
        frame = slice(first["frame"]["y"], None), slice(first["frame"]["x"], None)
        for run_id in (first["id"], same["id"]):
            run = made.runs.get("local", run_id)
            assert run is not None
            assert run.fill is not None
            pixels, _, _ = made.runs.region("local", run_id)
            assert np.array_equal(pixels, fill_source()[0][frame][: pixels.shape[0], : pixels.shape[1]])
            assert made.runs.is_open("local", run.id)
        library = Library(made.database, made.pictures, made.runs)
        Housekeeping(made.documents, made.pixels, library, ThumbnailCache(tmp_path)).sweep(rest=-1)
        assert driver.orphans(made) == []
        assert made.pixels.png("local", same["layer"]["pixels"]) is not None
