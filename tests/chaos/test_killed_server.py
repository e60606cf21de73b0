"""The real server, killed while it paints and while a page draws; and a second one on its folder."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from document_room import node_id, room
from served import ROOT, Served, free_port, served

from studio.imaging.plain_png import write_plain

STEPS = 6
PATIENCE = 300.0  # seconds that a picture of the bundled model may take on a busy machine


class Page:
    """Draws strokes one after another and remembers what was confirmed."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.confirmed: list[tuple[str, dict[str, Any]]] = []
        self.document = ""

    def create(self) -> None:
        state = self._state(0)
        answer = self._client.post("/studio/documents", json={"name": "Coast", "state": state})
        assert answer.status_code == 201, answer.text
        self.document = answer.json()["id"]
        self.confirmed.append((answer.json()["node"], state))

    def draw_until_it_ends(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                node, state = node_id(), self._state(number)
                body = {"id": node, "parent": self.confirmed[-1][0], "label": f"Stroke {number}", "state": state}
                answer = self._client.post(f"/studio/documents/{self.document}/nodes", json=body)
                if answer.status_code == 201:
                    self.confirmed.append((node, state))
        except httpx.HTTPError:
            return

    def _state(self, number: int) -> dict[str, Any]:
        tile = np.zeros((256, 256, 4), np.uint8)
        tile[:32, :32] = np.random.default_rng(number).integers(0, 256, (32, 32, 4), dtype=np.uint8)
        png = write_plain(tile, 1)
        answer = self._client.post("/studio/pixels/bundle", content=struct.pack(">I", len(png)) + png)
        layer = {"id": "a", "name": "Paint", "kind": "paint", "x": 0, "y": 0, "visible": True, "opacity": 100}
        return {
            "width": 300,
            "height": 200,
            "layers": [{**layer, "tiles": {"0,0": answer.json()["ids"][0]}, "facts": None}],
            "active": None,
            "mask": {"tiles": {}, "grow": 0, "feather": 4},
            "masks": [],
        }


def _paint(studio: Served, seed: int) -> str:
    session = studio.client.get("/studio/session").json()
    request = {"prompt": "a lake", "num_inference_steps": STEPS, "seed": seed, "model": session["model"]["name"]}
    answer = studio.client.post("/studio/jobs", json={"request": request, "count": 1})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _until(studio: Served, job: str, enough: Any) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        snapshot: dict[str, Any] = studio.client.get(f"/studio/jobs/{job}").json()
        if enough(snapshot):
            return snapshot
        time.sleep(0.02)
    raise AssertionError("the picture never came")


def _killed_at_work(studio: Served, page: Page, seed: int, chance: random.Random) -> None:
    """A page draws, a picture is being painted, and the process is killed."""
    before = len(page.confirmed)
    drawing = threading.Thread(target=page.draw_until_it_ends)
    drawing.start()
    job = _paint(studio, seed)
    _until(studio, job, lambda s: s["step"] >= 1 + seed % 3)
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
        _killed_at_work(studio, page, 2, chance)
    with served(tmp_path) as again:
        opened = again.client.get(f"/studio/documents/{page.document}").json()
        states = {}
        for step in opened["history"]:
            states[step["id"]] = again.client.get(f"/studio/documents/{page.document}/nodes/{step['id']}").json()
        for node, state in page.confirmed:
            assert states[node] == state
        last = opened["history"][-1]
        assert opened["head"] == last["id"]
        assert page.confirmed[-1][0] in (last["id"], last["parent"]), "at most one more, that was not confirmed yet"
        assert again.client.get(f"/studio/documents/{page.document}/flat.png").status_code == 200
        listed = [entry["id"] for entry in again.client.get("/studio/library").json()["pictures"]]
        assert first in listed
        assert again.client.get(f"/studio/runs/{first}").status_code == 200
        same = _until(again, _paint(again, 1), lambda s: s["state"] == "done")["pictures"][0]["id"]
        one, two = (again.client.get(f"/studio/pictures/{each}.png").content for each in (first, same))
        assert one == two, "the next run works, and gives the same"
        page = Page(again.client)
        page.create()
        _killed_at_work(again, page, 3, chance)
    with room(tmp_path) as made:
        assert made.database.check() == []
        for node, state in page.confirmed:
            assert made.documents.state("local", page.document, node).to_dict() == state
        assert {first, same} <= made.pictures.ids("local")
        assert not list(tmp_path.rglob("*.part"))
