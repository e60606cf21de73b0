"""The canvas by itself, in a room of its own, and what a hand can do to it.

The studio serves the scripts as it does to everybody; the page around them exists only in the browser of the test.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import CDPSession, Page, Route, expect

ROOM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>canvas</title>
<link rel="stylesheet" href="studio/assets/tokens.css"><link rel="stylesheet" href="studio/assets/canvas.css">
<link rel="icon" href="data:,">
<style>
body { margin: 0 }
#room { position: relative; width: 100vw; height: calc(100vh - 60px) }
</style>
<body><div id="room"></div><div id="foot"><button>Elsewhere</button></div>
<script type="module">
import { createCanvas, TOOLS, KEYS } from "./studio/assets/canvas.js";
import { createToolbar } from "./studio/assets/canvas_toolbar.js";
import * as png from "./studio/assets/canvas_png.js";
const heard = [];
const canvas = createCanvas(document.querySelector("#room"), { label: "Picture" });
const watch = ["change", "notice", "select", "frame", "color", "mask", "progress"];
for (const name of watch) canvas.on(name, (detail) => heard.push([name, detail]));
document.querySelector("#foot").append(createToolbar(canvas, { vertical: false }));
Object.assign(globalThis, { canvas, heard, png, TOOLS, KEYS });
</script></body></html>"""


@dataclass(frozen=True)
class Pixel:
    red: int
    green: int
    blue: int
    alpha: int


class CanvasPage:
    """A canvas on its own, driven by real pointers and keys. Places are pixels of the document."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.room = page.get_by_role("application", name="Picture")
        self._cdp: CDPSession | None = None

    def open(self, width: int = 256, height: int = 256, color: str | None = None) -> None:
        """A new document, fitted into the room."""

        def fulfil(route: Route) -> None:
            route.fulfill(body=ROOM, content_type="text/html")

        self.page.route(f"{self.url}canvas-room", fulfil)
        self.page.goto(f"{self.url}canvas-room")
        self.page.wait_for_function("globalThis.canvas !== undefined")
        self.page.evaluate(
            "([width, height, color]) => canvas.create(width, height, color ? { color } : {})", [width, height, color]
        )

    @property
    def cdp(self) -> CDPSession:
        if self._cdp is None:
            self._cdp = self.page.context.new_cdp_session(self.page)
        return self._cdp

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the document lies in the window."""
        place = self.page.evaluate("([x, y]) => canvas.view.toClient(x, y)", [x, y])
        return float(place["x"]), float(place["y"])

    def take(self, tool: str, target: str = "paint", **settings: Any) -> None:
        self.page.evaluate(
            "([tool, target, settings]) => { canvas.tool = tool; canvas.target = target; canvas.set(settings); }",
            [tool, target, settings],
        )

    def drag(self, *places: tuple[float, float], steps: int = 4, up: bool = True) -> None:
        """Draws with the mouse from the first place to the last."""
        mouse = self.page.mouse
        mouse.move(*self.at(*places[0]))
        mouse.down()
        for place in places[1:]:
            mouse.move(*self.at(*place), steps=steps)
        if up:
            mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def pen(self, *points: tuple[float, float, float], tilt: tuple[int, int] = (0, 0)) -> None:
        """Draws with a pen: (x, y, pressure from 0 to 1)."""
        for k, (x, y, force) in enumerate([*points, points[-1]]):
            kind = "mousePressed" if k == 0 else "mouseReleased" if k == len(points) else "mouseMoved"
            across, down = self.at(x, y)
            self.cdp.send(
                "Input.dispatchMouseEvent",
                {
                    "type": kind,
                    "x": across,
                    "y": down,
                    "button": "left",
                    "buttons": 0 if kind == "mouseReleased" else 1,
                    "clickCount": 1,
                    "pointerType": "pen",
                    "force": force,
                    "tiltX": tilt[0],
                    "tiltY": tilt[1],
                },
            )

    def pen_eraser(self, *places: tuple[float, float]) -> None:
        """Draws with the other end of a pen. The driver has none, so these events are made in the page."""
        for k, place in enumerate([*places, places[-1]]):
            kind = "pointerdown" if k == 0 else "pointerup" if k == len(places) else "pointermove"
            x, y = self.at(*place)
            self.page.evaluate(
                """([kind, x, y]) => canvas.element.dispatchEvent(new PointerEvent(kind, {
                    bubbles: true, cancelable: true, pointerType: 'pen', pointerId: 77, clientX: x, clientY: y,
                    button: kind === 'pointermove' ? -1 : 5, buttons: kind === 'pointerup' ? 0 : 32, pressure: 1,
                }))""",
                [kind, x, y],
            )

    def touch(self, kind: str, *fingers: tuple[float, float]) -> None:
        """`kind`: touchStart, touchMove, touchEnd, touchCancel. Places in the window."""
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(fingers)]
        self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    # what came of it

    def ask(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)

    def pixel(self, x: int, y: int) -> Pixel:
        """A pixel of all visible layers."""
        box = {"x": x, "y": y, "width": 1, "height": 1}
        return Pixel(*self.ask("(box) => [...canvas.composite({ box }).data]", box))

    def masked(self, x: int, y: int) -> int:
        """The mask as it was painted, 0 to 255."""
        return int(self.ask("([x, y]) => canvas.rawMask().data[y * canvas.width + x]", [x, y]))

    def count(self) -> int:
        """How many pixels the mask lets change."""
        return int(self.ask("() => canvas.mask.info.count"))

    def print(self) -> str:
        """The bytes of everything, as text that is equal for equal bytes."""
        return str(
            self.ask(
                """async () => {
                    const all = [canvas.composite().data, canvas.rawMask().data];
                    const sums = await Promise.all(all.map((data) => crypto.subtle.digest('SHA-256', data)));
                    return sums.map((sum) => [...new Uint8Array(sum)].join()).join(' ');
                }"""
            )
        )

    def labels(self) -> list[str]:
        return [str(entry["label"]) for entry in self.ask("() => canvas.history.entries")]

    def heard(self, name: str) -> list[dict[str, Any]]:
        """What the canvas told about something, in order."""
        told = self.ask("(name) => heard.filter(([kind]) => kind === name).map(([, detail]) => detail)", name)
        return list(told)

    def seen(self, x: float, y: float) -> tuple[int, ...]:
        """The colour on the screen at a place of the document, from the canvas element itself."""
        return tuple(
            self.ask(
                """([x, y]) => {
                    const shown = document.querySelector('.wb-canvas-picture');
                    const box = shown.getBoundingClientRect();
                    const place = canvas.view.toClient(x, y);
                    const scale = shown.width / box.width;
                    const [u, v] = [(place.x - box.left) * scale, (place.y - box.top) * scale];
                    return [...shown.getContext('2d').getImageData(Math.floor(u), Math.floor(v), 1, 1).data];
                }""",
                [x, y],
            )
        )

    def settle(self) -> None:
        """Until what was asked for is on the screen."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def expect_labels(self, labels: Sequence[str]) -> None:
        self.page.wait_for_function(
            "(labels) => JSON.stringify(canvas.history.entries.map((entry) => entry.label)) === labels",
            arg=json.dumps(list(labels), separators=(",", ":")),
        )

    def expect_words(self, words: str) -> None:
        """What a screen reader is told."""
        expect(self.page.locator(".wb-canvas-words")).to_have_text(words)
