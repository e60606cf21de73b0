"""What a page sends while somebody draws, and what must be there afterwards."""

from __future__ import annotations

import contextlib
import itertools
import struct
from typing import Any

import httpx
import numpy as np
from document_room import node_id
from served import Served

from studio.imaging.plain_png import read_plain, write_plain


class Refused(Exception):
    """The server did not take it, in its words."""


class Page:
    """Draws strokes one after another and remembers what was confirmed."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.confirmed: list[tuple[str, dict[str, Any]]] = []
        self.document = ""

    def create(self) -> None:
        state = self._state(0)
        answer = self.client.post("/studio/documents", json={"name": "Coast", "state": state})
        assert answer.status_code == 201, answer.text
        self.document = answer.json()["id"]
        self.confirmed.append((answer.json()["node"], state))

    def put_down(self, filled: dict[str, Any]) -> None:
        """Puts the layer of a fill into the document: tiles of its pixels, and what it came from."""
        layer = filled["layer"]
        png = self.client.get(f"/studio/pixels/{layer['pixels']}.png").content
        tile = np.zeros((256, 256, 4), np.uint8)
        tile[: layer["height"], : layer["width"]] = read_plain(png)[:256, :256]
        sent = self.client.post("/studio/pixels", content=write_plain(tile, 1)).json()["id"]
        state = dict(self.confirmed[-1][1])
        facts = {"run": filled["id"], "picture": filled["id"], "mask": layer["pixels"]}
        place = {"x": layer["x"], "y": layer["y"], "visible": True, "opacity": 100}
        added = {"id": "fill", "name": "Lake", "kind": "fill", **place, "tiles": {"0,0": sent}, "facts": facts}
        state["layers"] = [*state["layers"], added]
        node = node_id()
        body = {"id": node, "parent": self.confirmed[-1][0], "label": "Fill", "state": state}
        answer = self.client.post(f"/studio/documents/{self.document}/nodes", json=body)
        assert answer.status_code == 201, answer.text
        self.confirmed.append((node, state))

    def draw(self, number: int, node: str) -> str | None:
        """Sends a stroke as the page does; returns the words with which it was refused, or None."""
        try:
            state = self._state(number)
        except Refused as refused:
            return str(refused)
        body = {"id": node, "parent": self.confirmed[-1][0], "label": f"Stroke {number}", "state": state}
        answer = self.client.post(f"/studio/documents/{self.document}/nodes", json=body)
        if answer.status_code != 201:
            return str(answer.json()["error"])
        self.confirmed.append((node, state))
        return None

    def draw_until_it_ends(self) -> None:
        with contextlib.suppress(httpx.HTTPError):
            for number in itertools.count(1):
                self.draw(number, node_id())

    def _state(self, number: int) -> dict[str, Any]:
        tile = np.zeros((256, 256, 4), np.uint8)
        tile[:32, :32] = np.random.default_rng(number).integers(0, 256, (32, 32, 4), dtype=np.uint8)
        png = write_plain(tile, 1)
        answer = self.client.post("/studio/pixels/bundle", content=struct.pack(">I", len(png)) + png)
        if answer.status_code != 201:
            raise Refused(answer.json()["error"])
        layer = {"id": "a", "name": "Paint", "kind": "paint", "x": 0, "y": 0, "visible": True, "opacity": 100}
        return {
            "width": 300,
            "height": 200,
            "layers": [{**layer, "tiles": {"0,0": answer.json()["ids"][0]}, "facts": None}],
            "active": None,
            "mask": {"tiles": {}, "grow": 0, "feather": 4},
            "masks": [],
        }


def strokes_are_there(studio: Served, page: Page) -> None:
    """Everything that the page was told is kept, and at most one stroke more."""
    opened = studio.client.get(f"/studio/documents/{page.document}").json()
    states = {}
    for step in opened["history"]:
        states[step["id"]] = studio.client.get(f"/studio/documents/{page.document}/nodes/{step['id']}").json()
    for node, state in page.confirmed:
        assert states[node] == state
    last = opened["history"][-1]
    assert opened["head"] == last["id"]
    assert page.confirmed[-1][0] in (last["id"], last["parent"]), "at most one more, that was not confirmed yet"
    assert studio.client.get(f"/studio/documents/{page.document}/flat.png").status_code == 200
