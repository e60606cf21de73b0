"""What a person can do on the Generate page, in a person's words."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect


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

    def open(self) -> None:
        self.page.goto(self.url)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until the form and the stage are there, and the server has been asked what there is."""
        expect(self.page.locator(".wb-empty, .wb-center").first).to_be_visible()
        expect(self.paint_button).to_be_visible()
        expect(self.page.locator("#wb-model")).to_be_visible()

    def set_steps(self, steps: int) -> None:
        self._type_number("#wb-steps input[type=number]", steps)

    def set_seed(self, seed: int) -> None:
        self._type_number("#wb-seed input", seed)

    def set_count(self, count: int) -> None:
        self.page.locator("#wb-count").get_by_role("radio", name=str(count), exact=True).check()

    def _type_number(self, selector: str, value: int) -> None:
        field = self.page.locator(selector)
        if not field.is_visible():
            self.page.locator("#wb-more button").click()  # on a phone the settings are folded away
        field.fill(str(value))
        field.press("Tab")

    def paint(self, prompt: str | None = None, *, steps: int = 4, count: int = 1) -> None:
        """Fills the form and presses the button; does not wait for the picture."""
        if prompt is not None:
            self.prompt.fill(prompt)
        self.set_steps(steps)
        self.set_count(count)
        # the page opens on the result of the run before: what stands there now is not what will be asked about
        self._earlier = self.picture.get_attribute("src") if self.picture.count() else None
        self.paint_button.click()

    def expect_running(self) -> None:
        expect(self.page.locator(".wb-ribbon")).to_be_visible()

    def expect_result(self) -> None:
        """Until the run is over and its picture, not an earlier one, stands there with its facts."""
        if self._earlier is not None:
            expect(self.picture).not_to_have_attribute("src", self._earlier, timeout=120_000)
        expect(self.facts).to_be_visible(timeout=120_000)
        expect(self.paint_button).to_contain_text("Paint")

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
        return chips.get_by_role("checkbox", name=phrase, exact=True)

    def show_examples(self) -> None:
        """Goes to the six examples, also when there are pictures already."""
        examples = self.page.locator(".wb-example").first
        if not examples.is_visible():
            self.page.get_by_role("button", name="Examples", exact=True).click()
        expect(examples).to_be_visible()

    def stop_everything(self) -> None:
        """Ends all runs, so that the next test finds the studio idle."""
        if not self.page.url.startswith(self.url):
            return
        self.page.evaluate(
            """async () => {
                const at = (path) => new URL(path, document.baseURI);
                const { jobs } = await (await fetch(at("studio/session"))).json();
                for (const job of jobs.filter((job) => !["done", "stopped", "failed"].includes(job.state))) {
                    const body = JSON.stringify({ everything: true });
                    await fetch(at(`studio/jobs/${job.id}/stop`), { method: "POST", body });
                }
            }"""
        )
