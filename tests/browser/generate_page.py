"""What a person can do on the Generate page, in a person's words."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

PATIENCE = 60  # s for anything to appear, on a machine that has other things to do
RUN_LIMIT = 240_000  # ms for a run to end there
LONG = 50  # steps, and ...
LARGE = "256 × 256"  # ... a size at which they take long enough to be met half way, however slow the page is

# What the stage and the button showed, state by state, as the page itself saw it. A test that looks now and then would
# miss what lasts less than its own pause.
DIARY = """
addEventListener("DOMContentLoaded", () => {
  window.wbDiary = [];
  const text = (selector) => document.querySelector(selector)?.textContent.trim() ?? "";
  const note = () => {
    const now = {
      preview: document.querySelector(".wb-stage img[alt^='Preview']")?.getAttribute("src") ?? "",
      running: Boolean(document.querySelector(".wb-ribbon")),
      result: Boolean(document.querySelector(".wb-facts")),
      step: text(".wb-says b"),
      button: text("#wb-paint"),
    };
    const last = window.wbDiary.at(-1);
    if (!last || Object.keys(now).some((name) => now[name] !== last[name])) window.wbDiary.push(now);
  };
  const everything = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(note).observe(document, everything);
});
"""


class GeneratePage:
    """The page in a browser. Locators of its parts, and the acts that several tests share."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.prompt = page.locator("#wb-prompt textarea")
        self.paint_button = page.locator("#wb-paint")
        self.preview = page.get_by_alt_text("Preview of picture")
        self.ribbon = page.get_by_role("progressbar")
        self.facts = page.locator(".wb-facts")
        self.picture = page.locator("button.wb-frame img")
        self._earlier: str | None = None  # the address of the picture that stood there before the last paint
        self.notice = page.locator(".wb-notice")
        page.add_init_script(DIARY)

    def open(self) -> None:
        self.page.goto(self.url)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until the form holds what it will hold, the stage is there, and the server was asked what there is."""
        expect(self.page.locator("html[data-wb-ready]")).to_be_attached()
        expect(self.page.locator(".wb-empty, .wb-center").first).to_be_visible()
        expect(self.paint_button).to_be_visible()
        expect(self.page.locator("#wb-model")).to_be_visible()

    def set_steps(self, steps: int) -> None:
        self._type_number("#wb-steps input[type=number]", steps)

    def set_seed(self, seed: int) -> None:
        self._type_number("#wb-seed input", seed)

    def set_size(self, size: str) -> None:
        self._type("#wb-size input", size)

    def set_count(self, count: int) -> None:
        radio = self.page.locator("#wb-count").get_by_role("radio", name=str(count), exact=True)
        radio.click()
        expect(radio).to_be_checked()

    def _type_number(self, selector: str, value: int) -> None:
        self._type(selector, str(value))

    def _type(self, selector: str, value: str) -> None:
        field = self.page.locator(selector)
        if not field.is_visible():
            self.page.locator("#wb-more button").click()  # on a phone the settings are folded away
        field.fill(value)
        field.press("Tab")
        expect(field).to_have_value(value)

    def paint(self, prompt: str | None = None, *, steps: int = 4, count: int = 1) -> None:
        """Fills the form and presses the button; does not wait for the picture."""
        if prompt is not None:
            self.prompt.fill(prompt)
        self.set_steps(steps)
        self.set_count(count)
        self.press(self.paint_button)

    def paint_long(self, prompt: str, *, count: int = 1) -> None:
        """Starts a run that is still going on when the page is looked at next. To be stopped, not waited for."""
        self.set_size(LARGE)
        self.paint(prompt, steps=LONG, count=count)

    def press(self, starter: Locator, keys: str | None = None) -> None:
        """Clicks what starts a run, or presses `keys` there, for `expect_result` to tell its picture from the last."""
        self._earlier = self.picture.get_attribute("src") if self.picture.count() else None
        if keys is None:
            starter.click()
        else:
            starter.press(keys)

    def expect_running(self) -> None:
        """Only for a run that lasts: see `paint_long`."""
        expect(self.page.locator(".wb-ribbon")).to_be_visible()

    def expect_result(self) -> None:
        """Until the run is over and its picture, not an earlier one, stands there with its facts."""
        ended = self.page.wait_for_function(
            """(earlier) => {
                const complaint = document.querySelector(".wb-notice.bad");
                if (complaint) return complaint.textContent;
                const picture = document.querySelector("button.wb-frame img");
                const there = picture && picture.getAttribute("src") !== earlier;
                return there && document.querySelector(".wb-facts")?.checkVisibility() ? "a picture" : null;
            }""",
            arg=self._earlier,
            timeout=RUN_LIMIT,
        )
        assert ended.json_value() == "a picture"
        expect(self.paint_button).to_contain_text("Paint")

    def eventually(self, read: Callable[[], Any], wanted: Any) -> None:
        """Until `read()` gives `wanted`; fails with what it gave last."""
        deadline = time.monotonic() + PATIENCE
        while (found := read()) != wanted and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)  # and not sleep(): the browser's events arrive meanwhile
        assert found == wanted

    def diary(self) -> list[dict[str, Any]]:
        """What the page has shown since it was loaded, state by state: see `DIARY`."""
        states: list[dict[str, Any]] = self.page.evaluate("window.wbDiary")
        return states

    def fact(self, name: str) -> str:
        return self.facts.locator(f"dt:text-is('{name}') + dd").inner_text()

    def picture_bytes(self) -> bytes:
        """The file behind the picture that is shown large."""
        return self.fetch(str(self.picture.get_attribute("src")))

    def fetch(self, address: str) -> bytes:
        encoded = self.page.evaluate(
            """async (address) => {
                const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
                return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
            }""",
            address,
        )
        return base64.b64decode(encoded)

    def session(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.page.evaluate(
            "async () => (await fetch(new URL('studio/session', document.baseURI))).json()"
        )
        return answer

    def newest(self) -> str | None:
        """The id of the newest picture. The session lists the latest ones only, so that their number says little."""
        pictures = self.session()["pictures"]
        return str(pictures[0]["id"]) if pictures else None

    def download(self) -> tuple[str, bytes]:
        """Presses "Download PNG" and returns the file's suggested name and content."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("link", name="Download PNG").click()
        saved = waiting.value
        return saved.suggested_filename, Path(saved.path()).read_bytes()

    def drop(self, content: bytes, name: str = "picture.png") -> None:
        """Drops a file onto the middle of the page."""
        self.page.evaluate(
            """([encoded, name]) => {
                const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
                const dataTransfer = new DataTransfer();
                dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
                const target = document.querySelector(".wb-stage");
                for (const type of ["dragenter", "dragover", "drop"]) {
                    target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
                }
            }""",
            [base64.b64encode(content).decode(), name],
        )

    def chip(self, category: str, phrase: str) -> Locator:
        """A chip, after its category was opened."""
        chips = self.page.locator("#wb-chips")
        chips.get_by_role("tab", name=category, exact=True).click()
        chip = chips.get_by_role("checkbox", name=phrase, exact=True)
        expect(chip).to_be_visible()
        return chip

    def press_chip(self, category: str, phrase: str) -> None:
        """Presses a chip and waits until it, and the prompt, show it."""
        chip = self.chip(category, phrase)
        chip.click()
        expect(chip).to_be_checked()
        expect(self.prompt).to_have_value(re.compile(re.escape(phrase)))

    def show_examples(self) -> None:
        """Goes to the six examples, also when there are pictures already."""
        examples = self.page.locator(".wb-example").first
        if not examples.is_visible():
            self.page.get_by_role("button", name="Examples", exact=True).click()
        expect(examples).to_be_visible()

    def stop_everything(self) -> None:
        """Ends all runs and waits for it, so that the next test finds the studio idle."""
        if not self.page.url.startswith(self.url):
            return
        self.page.evaluate(
            """async () => {
                const at = (path) => new URL(path, document.baseURI);
                for (;;) {
                    const { jobs } = await (await fetch(at("studio/session"))).json();
                    const open = jobs.filter((job) => !["done", "stopped", "failed"].includes(job.state));
                    if (!open.length) return;
                    for (const job of open) {
                        const body = JSON.stringify({ everything: true });
                        await fetch(at(`studio/jobs/${job.id}/stop`), { method: "POST", body });
                    }
                    await new Promise((done) => setTimeout(done, 100));
                }
            }"""
        )
