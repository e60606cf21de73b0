"""What a person can do in the Gallery, in a person's words."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect


class GalleryPage:
    """The tab in a browser. The studio is shared by all tests, so every test looks for its own pictures first."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.search_field = page.get_by_role("searchbox", name="Search the pictures")
        self.wall = page.get_by_role("listbox", name="Pictures")
        self.cells = page.locator(".wb-gal-cell")
        self.selected = page.locator(".wb-gal-cell[aria-selected=true]")
        self.details = page.get_by_role("complementary", name="Details")
        self.notice = page.locator(".wb-gal-notice .wb-notice")
        self.compare = page.get_by_role("dialog", name="Compare two pictures")
        self.grid = page.get_by_role("dialog", name="Grid", exact=True)

    def open(self, words: str | None = None, count: int | None = None) -> None:
        """Goes there by its address, as a reload does, and looks for `words` until `count` pictures are there."""
        self.page.goto(f"{self.url}#gallery")
        expect(self.page.locator(".wb-gal-found")).to_have_text(re.compile(r"\d"))
        if words is not None:
            self.search(words, count)

    def search(self, words: str, count: int | None = None) -> None:
        self.search_field.fill(words)
        if count is not None:
            expect(self.cells).to_have_count(count)
            expect(self.page.locator(".wb-gal-found")).to_have_text(f"{count} picture{'s' * (count != 1)}")

    def shows(self, which: str) -> None:
        self.page.get_by_role("group", name="Which pictures").get_by_role("button", name=which).click()

    def expect_search(self, words: str, which: str) -> None:
        """Until the field and the filter say so."""
        expect(self.search_field).to_have_value(words)
        shows = self.page.get_by_role("group", name="Which pictures")
        expect(shows.get_by_role("button", name=which)).to_have_attribute("aria-pressed", "true")

    def cell(self, words: str) -> Locator:
        """The picture whose name contains `words`, such as "seed 5"."""
        return self.page.get_by_role("option", name=words)

    def expect_facts(self, **facts: str | re.Pattern[str]) -> None:
        """Until the details say so."""
        for name, words in facts.items():
            expect(self.details.locator(f"dt:text-is('{name}') + dd")).to_have_text(words)

    def ids(self) -> list[str]:
        """The ids of the pictures in sight, in their order."""
        found: list[str] = self.cells.evaluate_all(
            "cells => cells.sort((a, b) => a.dataset.index - b.dataset.index).map(cell => cell.dataset.id)"
        )
        return found
