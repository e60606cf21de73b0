"""What a person can do on the Steps page, in a person's words."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

SLOW = 120_000  # ms for a run of a few steps, on a machine that has other things to do


class StepsPage:
    """The tab in a browser. Locators of its parts, and the acts that several tests share."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.room = page.locator(".wb-steps")
        self.title = page.locator(".wb-run-pick")
        self.sentence = page.locator(".wb-say")
        self.scrubber = page.get_by_role("slider", name="Step", exact=True)
        self.bands = page.locator(".wb-band")
        self.picture = page.locator(".wb-big-canvas")
        self.branches = page.locator(".wb-branch")
        self.notice = page.locator(".wb-steps-notice .wb-notice")

    def open(self, run_id: str, step: int | None = None) -> None:
        """Goes to a run by its address, as a reload does. `step` counts from 1, as people read."""
        self.page.goto(f"{self.url}#steps/{run_id}" + ("" if step is None else f"/{step - 1}"))
        self.expect_shown(run_id)

    def expect_shown(self, run_id: str | None = None) -> None:
        """Until a run, or this one, stands there with its filmstrip."""
        expect(self.sentence).to_contain_text("Step ", timeout=SLOW)
        expect(self.room).not_to_have_attribute("aria-busy", "true", timeout=SLOW)
        if run_id is not None:
            self.page.wait_for_function("id => location.hash.startsWith(`#steps/${id}/`)", arg=run_id, timeout=SLOW)

    def expect_step(self, number: int) -> None:
        expect(self.sentence).to_have_text(re.compile(rf"^Step {number}\."))
        expect(self.scrubber).to_have_attribute("aria-valuenow", str(number))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def go_to(self, number: int) -> None:
        """Goes to a step with the keyboard."""
        self.scrubber.focus()
        self.press("Home", *["ArrowRight"] * (number - 1))
        self.expect_step(number)

    def shown_id(self) -> str:
        """The id of the run in the address."""
        found = re.search(r"#steps/([0-9a-f-]+)/", self.page.url)
        assert found is not None, self.page.url
        return found[1]

    def pixels(self, canvas: Locator) -> str:
        """What a canvas shows, as text that is equal for equal pixels."""
        return str(canvas.evaluate("canvas => canvas.toDataURL()"))

    def drawn(self, canvas: Locator) -> NDArray[np.uint8]:
        """What a canvas shows: (height, width, 3)."""
        return _decoded(base64.b64decode(self.pixels(canvas).partition(",")[2]))

    def served(self, path: str) -> NDArray[np.uint8]:
        """A picture below /studio/runs, as this browser is given it: (height, width, 3)."""
        encoded = self.page.evaluate(
            """async (address) => {
                const bytes = new Uint8Array(await (await fetch(new URL(address, document.baseURI))).arrayBuffer());
                return Array.from(bytes);
            }""",
            f"studio/runs/{path}",
        )
        return _decoded(bytes(encoded))

    def step_pixels(self, run_id: str, step: int, look: str = "full") -> NDArray[np.uint8]:
        """A step of a run, counted from 0: (height, width, 3)."""
        return self.served(f"{run_id}/steps/{step}.png?look={look}&show=estimate")

    def expect_drawn(self, canvas: Locator, pixels: NDArray[np.uint8], seconds: float = 60) -> None:
        """Until a canvas shows `pixels`: what is decoded comes after a quick look at it."""
        deadline = time.monotonic() + seconds
        while not np.array_equal(self.drawn(canvas), pixels) and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)
        np.testing.assert_array_equal(self.drawn(canvas), pixels)

    def expect_other_pixels(self, canvas: Locator, before: str) -> None:
        """Until a canvas shows something else than `before`."""
        handle = canvas.element_handle()
        self.page.wait_for_function("([canvas, before]) => canvas.toDataURL() !== before", arg=[handle, before])

    def shares(self) -> list[float]:
        """The percentages on the tiles."""
        return [float(text.removesuffix(" %")) for text in self.page.locator(".wb-band-values b").all_inner_texts()]

    def curve(self, name: str) -> None:
        self.page.get_by_role("group", name="Curve").get_by_role("button", name=name, exact=True).click()

    def numbers(self) -> tuple[list[str], list[list[str]]]:
        """The table behind the curve that is shown: names of the columns, rows of texts."""
        self.page.get_by_role("button", name="All numbers").click()
        table = self.page.locator(".wb-numbers table")
        expect(table).to_be_visible()
        head: list[str] = table.locator("thead th").all_inner_texts()
        rows: list[list[str]] = table.evaluate(
            "table => [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent))"
        )
        self.page.get_by_role("button", name="Close", exact=True).click()
        expect(table).to_have_count(0)
        return head, rows

    def split(self) -> Locator:
        """Opens "How bands are split"."""
        self.page.locator(".wb-run-tools button").first.click()
        panel = self.page.get_by_role("dialog", name="Bands", exact=True)
        expect(panel).to_be_visible()
        return panel

    def expect_branch(self, label: str | re.Pattern[str], timeout: float = SLOW) -> str:
        """Until a branch has been painted and stands there; answers its id."""
        expect(self.page.locator(".wb-branch[aria-current]")).to_contain_text(label, timeout=timeout)
        self.expect_shown()
        return str(self.page.locator(".wb-branch[aria-current]").get_attribute("data-id"))

    def facts(self, run_id: str, **query: str | int) -> dict[str, Any]:
        """The numbers of a run, from the server, measured on what the page's were measured on."""
        values = {"look": str(self.room.get_attribute("data-look")), **query}
        return ask(self.url, f"runs/{run_id}?" + "&".join(f"{name}={value}" for name, value in values.items()))

    def download(self, name: str) -> tuple[str, bytes]:
        """Presses a link that saves something; answers the file's suggested name and content."""
        with self.page.expect_download(timeout=SLOW) as waiting:
            self.page.get_by_role("link", name=name).click()
        saved = waiting.value
        return saved.suggested_filename, Path(saved.path()).read_bytes()


def _decoded(encoded: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), dtype=np.uint8)


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What one of our routes answers."""
    request = urllib.request.Request(
        f"{url}studio/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def paint_run(
    url: str, prompt: str = "a mountain lake at sunset", steps: int = 8, seed: int = 7, solver: str = "DPM++ 2M"
) -> str:
    """Has a picture painted without the page; answers the id of its run."""
    request = {"prompt": prompt, "num_inference_steps": steps, "seed": seed, "solver": solver}
    job = ask(url, "jobs", {"request": request, "count": 1})
    return _ended(url, job, "done")


def stopped_run(url: str, prompt: str) -> tuple[str, int]:
    """Has a picture painted and stops it as soon as it has a step to keep; answers the run's id and its steps."""
    for steps in (12, 50, 200):  # on a quick machine a short run has ended before it can be stopped
        request = {"prompt": prompt, "num_inference_steps": steps, "width": 256, "height": 256, "seed": 1}
        job = _eventually(url, ask(url, "jobs", {"request": request, "count": 1}), lambda job: (job["step"] or 0) >= 2)
        ask(url, f"jobs/{job['id']}/stop", {"everything": True})
        job = _eventually(url, job, _is_over)
        if job["state"] == "stopped" and ask(url, f"runs/{_made(job)}")["recorded"] < steps:
            return _made(job), steps
    raise AssertionError("no run was slow enough to be stopped")


def branch_of(url: str, run_id: str, wish: dict[str, Any]) -> str:
    """Has a branch painted without the page; answers its id."""
    return _ended(url, ask(url, f"runs/{run_id}/branch", wish), "done")


def _ended(url: str, job: dict[str, Any], state: str) -> str:
    job = _eventually(url, job, _is_over)
    assert job["state"] == state, job
    return _made(job)


def _is_over(job: dict[str, Any]) -> bool:
    return job["state"] in ("done", "stopped", "failed")


def _made(job: dict[str, Any]) -> str:
    return str(next(picture["id"] for picture in job["pictures"] if picture["id"]))


def _eventually(url: str, job: dict[str, Any], met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while not met(job):
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
        job = ask(url, f"jobs/{job['id']}")
    return job
