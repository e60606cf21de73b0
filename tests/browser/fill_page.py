"""What a person can do on the Fill page, in a person's words, and what a test reads behind the page's back."""

from __future__ import annotations

import io
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

SLOW = 240_000  # ms for a fill, on a machine that has other things to do
STEPS = 4  # of a fill that is only there to be looked at
TILE = 256  # px

Pixels = NDArray[np.uint8]


class FillPage:
    """The tab in a browser. Locators of its parts, and the acts that several tests share."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.room = page.locator(".wb-fill")
        self.canvas = page.get_by_role("application", name="Canvas")
        self.prompt = page.locator(".wb-prompt-field")
        self.button = page.locator(".wb-prompt-row button")
        self.badge = page.locator(".wb-badge:visible")
        self.saved = page.locator(".wb-document-name small")
        self.name = page.locator(".wb-document-name b")
        self.layers = page.locator(".wb-layer")
        self.variations = page.locator(".wb-variation")
        self.keep_button = page.get_by_role("button", name="Keep this one")
        self.notice = page.locator(".wb-fill-top .wb-notice")
        self.finder = page.get_by_role("dialog", name="All documents")
        self.finder_field = self.finder.get_by_role("searchbox", name="Search the documents")
        self.finder_rows = self.finder.get_by_role("listitem")
        self.document = ""

    # -- coming -------------------------------------------------------------------------------------------------------

    def open(self, document: str) -> None:
        """Goes to a document by its address, as a reload does."""
        self.document = document
        self.page.goto(f"{self.url}#fill/{document}")
        self.expect_open()

    def open_picture(self, picture: Pixels | Image.Image, name: str = "Test") -> str:
        """Makes a document of a picture, without the page, and opens it."""
        self.open(make_document(self.url, picture, name))
        return self.document

    def open_empty_tab(self) -> None:
        """Goes to the tab without saying which document."""
        self.page.goto(f"{self.url}#fill")
        expect(self.room).to_be_visible()

    def expect_open(self, timeout: float = SLOW) -> None:
        expect(self.room).to_be_visible(timeout=timeout)
        expect(self.page.locator(".wb-fill-canvas[data-place]")).to_be_attached(timeout=timeout)
        expect(self.room).not_to_have_class(re.compile(r"\bempty\b"), timeout=timeout)
        if self.document:
            self.page.wait_for_function("id => location.hash === `#fill/${id}`", arg=self.document, timeout=timeout)
        self.expect_saved(timeout)

    def expect_saved(self, timeout: float = SLOW) -> None:
        expect(self.saved).to_have_text("Saved", timeout=timeout)

    def opened(self) -> str:
        """The id of the document in the address."""
        found = re.search(r"#fill/([0-9a-f]+)", self.page.url)
        assert found is not None, self.page.url
        return found[1]

    # -- painting -----------------------------------------------------------------------------------------------------

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the document lies in the window."""
        left, top, zoom = json.loads(str(self.page.locator(".wb-fill-canvas").get_attribute("data-place")))
        return left + x * zoom, top + y * zoom

    def tool(self, name: str) -> None:
        self._tool_button(name).click()
        self.expect_tool(name)

    def expect_tool(self, name: str) -> None:
        expect(self._tool_button(name)).to_have_attribute("aria-pressed", "true")

    def _tool_button(self, name: str) -> Locator:
        return self.page.get_by_role("toolbar", name="Tools").get_by_role("button", name=re.compile(f"^{name}"))

    def target(self, which: str) -> None:
        """Mask or Paint."""
        radio = self.page.get_by_role("radio", name=which, exact=True)
        radio.click()
        expect(radio).to_have_attribute("aria-checked", "true")

    def option(self, name: str, value: int) -> None:
        """Types a number into the options row or the dock."""
        field = self.page.get_by_role("spinbutton", name=f"{name}, as a number", exact=True)
        field.fill(str(value))
        field.press("Enter")
        expect(field).to_have_value(str(value))

    def drag(self, *points: tuple[float, float], release: bool = True) -> None:
        """A stroke of the mouse through points of the document."""
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=8)
        if release:
            mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.place(x, y))

    def mask_rectangle(self, x: float, y: float, right: float, bottom: float) -> None:
        """Selects a rectangle with its tool."""
        before = self.head()
        self.tool("Rectangle")
        self.target("Mask")
        self.drag((x, y), (right, bottom))
        self.expect_moved(before)

    def masked(self) -> int:
        """How many pixels the page says can change."""
        found = re.search(r"([\d,]+) px", self.page.get_by_role("region", name="Mask", exact=True).inner_text())
        return int(found[1].replace(",", "")) if found else 0

    # -- filling ------------------------------------------------------------------------------------------------------

    def more(self) -> None:
        """Opens "More", once."""
        details = self.page.locator(".wb-section details")
        if details.get_attribute("open") is None:
            details.locator("summary").click()

    def settle_for(self, *, steps: int = STEPS, variations: int = 1, seed: int | None = None) -> None:
        """A quick fill: few steps, one variation."""
        self.more()
        self.option("Steps", steps)
        self.page.get_by_role("radiogroup", name="Variations").get_by_role("radio", name=str(variations)).click()
        if seed is not None:
            field = self.page.get_by_role("spinbutton", name="Seed", exact=True)
            field.fill(str(seed))
            field.press("Tab")

    def intent(self, name: str) -> None:
        self.page.get_by_role("radiogroup", name="What to do").get_by_role("radio", name=name, exact=True).click()

    def fill(self, prompt: str | None = None) -> None:
        """Presses the button, and waits until the variations are there."""
        if prompt is not None:
            self.prompt.fill(prompt)
        self.button.click()
        self.expect_variations()

    def expect_variations(self) -> None:
        ended = self.page.wait_for_function(
            """() => {
                const complaint = document.querySelector(".wb-fill-top .wb-notice.bad, .wb-error:not([hidden])");
                if (complaint) return complaint.textContent;
                const keep = document.querySelector(".wb-variation-acts .primary");
                return keep && keep.checkVisibility() && !keep.disabled ? "variations" : null;
            }""",
            timeout=SLOW,
        )
        assert ended.json_value() == "variations"

    def keep(self) -> None:
        before = self.head()
        self.keep_button.click()
        expect(self.keep_button).not_to_be_visible()
        self.expect_moved(before)

    def undo(self) -> None:
        self._step_through_history("Undo")

    def redo(self) -> None:
        self._step_through_history("Redo")

    def _step_through_history(self, button: str) -> None:
        before = self.head()
        self.page.get_by_role("button", name=button, exact=True).click()
        self.expect_moved(before)

    def head(self) -> str:
        """The node of the history at which the server has the document."""
        return str(ask(self.url, f"documents/{self.document}")["head"])

    def expect_moved(self, before: str) -> None:
        """Waits until the server has another state than `before`, and nothing more is to come."""
        self.eventually(lambda: self.head() != before)
        self.expect_saved()

    # -- reading ------------------------------------------------------------------------------------------------------

    def flat(self) -> Pixels:
        """What the server makes of the document as it is kept there: RGBA."""
        self.expect_saved()
        return read_png(fetch(self.url, f"documents/{self.document}/flat.png"))

    def state(self) -> dict[str, Any]:
        self.expect_saved()
        state: dict[str, Any] = ask(self.url, f"documents/{self.document}")["state"]
        return state

    def mask(self) -> Pixels:
        """The mask as it was painted, put together from its tiles: grey, of the document's size."""
        state = self.state()
        return assemble(self.url, state["mask"]["tiles"], state["width"], state["height"])

    def eventually(self, met: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, "it did not come to pass"
            self.page.wait_for_timeout(50)

    def menu(self, opener: Locator, item: str) -> None:
        """Opens a menu and chooses."""
        opener.click()
        self.page.get_by_role("menuitem", name=item).click()

    def documents_menu(self, item: str) -> None:
        self.menu(self.page.locator(".wb-document-name"), item)

    def finder_shows(self, which: str) -> None:
        """Turns to Documents or Bin, where all of them are listed."""
        self.finder.get_by_role("group", name="Which documents").get_by_role("button", name=which).click()

    def give(self, content: bytes, name: str, how: str = "drop", kind: str = "image/png") -> None:
        """Drops a file onto the canvas, or pastes it."""
        self.page.evaluate(
            """([bytes, name, how, type]) => {
                const dataTransfer = new DataTransfer();
                dataTransfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
                const target = document.querySelector(".wb-fill-room");
                const manner = { bubbles: true, cancelable: true };
                if (how === "paste") {
                    target.dispatchEvent(new ClipboardEvent("paste", { clipboardData: dataTransfer, ...manner }));
                    return;
                }
                for (const type of ["dragenter", "dragover", "drop"]) {
                    target.dispatchEvent(new DragEvent(type, { dataTransfer, ...manner }));
                }
            }""",
            [list(content), name, how, kind],
        )

    def download(self, act: Callable[[], None]) -> tuple[str, bytes]:
        """Does what saves a file; answers its suggested name and content."""
        with self.page.expect_download(timeout=SLOW) as waiting:
            act()
        saved = waiting.value
        return saved.suggested_filename, Path(saved.path()).read_bytes()


def fetch(url: str, path: str) -> bytes:
    """The bytes that one of our routes answers."""
    with urllib.request.urlopen(f"{url}studio/{path}", timeout=120) as response:
        content: bytes = response.read()
    return content


def ask(url: str, path: str, body: Any = None, method: str | None = None) -> Any:
    """The JSON that one of our routes answers. `body` is sent as JSON, bytes as they are."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}studio/{path}", data=data, method=method)
    request.add_header("Content-Type", "application/octet-stream" if isinstance(body, bytes) else "application/json")
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)
    except urllib.error.HTTPError as problem:
        raise AssertionError(f"{path}: {problem.code} {problem.read().decode()[:500]}") from problem


def make_document(url: str, picture: Pixels | Image.Image, name: str) -> str:
    """A document with one picture as its only layer, through our own routes."""
    pixels = np.asarray(picture if isinstance(picture, Image.Image) else Image.fromarray(picture))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 3:
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    height, width = pixels.shape[:2]
    tiles = {}
    for row in range(0, height, TILE):
        for column in range(0, width, TILE):
            tile = np.zeros((TILE, TILE, 4), np.uint8)
            part = pixels[row : row + TILE, column : column + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            tiles[f"{column // TILE},{row // TILE}"] = ask(url, "pixels", png_of(tile))["id"]
    layer = {"id": "ground", "name": name, "kind": "picture", "x": 0, "y": 0, "visible": True, "opacity": 100}
    state = {"width": width, "height": height, "layers": [{**layer, "tiles": tiles}], "active": "ground"}
    return str(ask(url, "documents", {"name": name, "state": state})["id"])


def painted(url: str, prompt: str, seed: int = 3, steps: int = 8) -> tuple[str, Pixels]:
    """Has the painter paint a picture; answers its id and pixels."""
    request = {"prompt": prompt, "num_inference_steps": steps, "seed": seed}
    job = ask(url, "jobs", {"request": request, "count": 1})
    deadline = time.monotonic() + 240
    while job["state"] not in ("done", "failed", "stopped"):
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
        job = ask(url, f"jobs/{job['id']}")
    assert job["state"] == "done", job
    picture_id = str(job["pictures"][0]["id"])
    return picture_id, read_png(fetch(url, f"pictures/{picture_id}.png"))


def png_of(pixels: Pixels | Image.Image) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, "PNG")
    return file.getvalue()


def read_png(content: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(content)))


def assemble(url: str, tiles: dict[str, str], width: int, height: int) -> Pixels:
    """Grey tiles as one picture."""
    whole = np.zeros((height + TILE, width + TILE), np.uint8)
    for place, pixels_id in tiles.items():
        column, row = (int(part) * TILE for part in place.split(","))
        whole[row : row + TILE, column : column + TILE] = read_png(fetch(url, f"pixels/{pixels_id}.png"))
    return whole[:height, :width]


def landscape(width: int = 128, height: int = 128) -> Pixels:
    """A picture in which every pixel differs from its neighbours: RGB."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([(x * 2) % 256, (y * 2) % 256, (x * 7 + y * 13) % 256]).astype(np.uint8)


def same_outside(before: Pixels, after: Pixels, region: Sequence[Any] | Pixels) -> bool:
    """Whether every byte outside of a region is as it was."""
    outside = np.asarray(region) == 0
    return bool((before[outside] == after[outside]).all())
