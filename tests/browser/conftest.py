"""The real app on a free port, and one Chromium for the session.

Every test ends with a look at what the page did unseen: errors in the console and requests that left this computer
fail it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from generate_page import GeneratePage
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)

ROOT = Path(__file__).parents[2]
START_LIMIT = 180.0  # s, on a machine that has other things to do
WINDOW: ViewportSize = {"width": 1440, "height": 900}
PATIENCE = 60_000  # ms for anything to appear, on such a machine
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Studio:
    """A studio that runs in a process of its own."""

    url: str
    port: int
    data: Path
    log: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


def start_studio(folder: Path, port: int | None = None) -> Studio:
    """Starts `app.py` on `port`, or a free one, with its data in `folder`, and waits until it answers."""
    port = port or _free_port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "studio.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "app.py"),
                "--port",
                str(port),
                "--data",
                str(folder / "data"),
                "--no-browser",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )
    studio = Studio(f"http://127.0.0.1:{port}/", port, folder / "data", log, process)
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"The studio ended at once:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"{studio.url}studio/session", timeout=5):
                return studio
        except OSError:
            time.sleep(0.25)
    studio.stop()
    pytest.fail(f"The studio did not answer within {START_LIMIT:.0f} s:\n{log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _find_chromium(playwright: Playwright) -> str | None:
    """A Chromium to drive: one on the PATH, else playwright's own, else one that is installed now."""

    def on_path() -> str | None:
        return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)

    if found := on_path():
        return found
    if Path(playwright.chromium.executable_path).is_file():
        return None  # playwright finds its own
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(command, check=False, capture_output=True, timeout=600)
        if found := on_path():
            return found
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False, timeout=600)
    if Path(playwright.chromium.executable_path).is_file():
        return None
    pytest.fail(
        "The browser tests need a Chromium and none was found or could be fetched. Install one with "
        "`apt-get install chromium` or `python -m playwright install --with-deps chromium`."
    )


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with the bundled painter, shared by the session."""
    running = start_studio(tmp_path_factory.mktemp("studio"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=_find_chromium(playwright), args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor who prefers the dark. One for the session, so that Gradio's scripts are fetched once."""
    visitor = browser.new_context(viewport=WINDOW, color_scheme="dark", accept_downloads=True)
    visitor.set_default_timeout(PATIENCE)
    yield visitor
    visitor.close()


@pytest.fixture
def expected_failures() -> list[str]:
    """Parts of console errors that this test provokes, such as "422". Tests may add to it."""
    return []


@pytest.fixture
def page(context: BrowserContext, expected_failures: list[str]) -> Iterator[Page]:
    """A tab with nothing loaded and nothing remembered. Watches what it does."""
    page = context.new_page()
    complaints: list[str] = []
    strangers: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in expected_failures):
            complaints.append(f"{message.text} ({message.location.get('url')})")

    def request(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            strangers.append(address)

    page.on("console", console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: request(sent.url))
    yield page
    if page.url.startswith("http"):
        page.evaluate("localStorage.clear()")
    page.close()
    assert not strangers, f"the page asked other computers: {strangers}"
    assert not complaints, f"the page complained: {complaints}"


@pytest.fixture
def generate(studio: Studio, page: Page) -> Iterator[GeneratePage]:
    """The Generate page, loaded and idle. Leaves no run behind."""
    opened = GeneratePage(page, studio.url)
    opened.open()
    yield opened
    opened.stop_everything()
