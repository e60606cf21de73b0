"""The real app on a free port, and one Chromium for the session.

Every test ends with a look at what the page did unseen: errors in the console and requests that left this computer
fail it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import axe_core
import pytest
from canvas_page import CanvasPage
from generate_page import PATIENCE, GeneratePage
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
from playwright.sync_api import Error as PlaywrightError

ROOT = Path(__file__).parents[2]
START_LIMIT = 240.0  # s, on a machine that has other things to do
TEST_LIMIT = 900  # s for one test with all that it needs, which for the first are a studio and a browser
LAUNCH_LIMIT = 120_000  # ms for Chromium to start
PORTS = range(20_000, 32_000)  # below those that systems hand out for outgoing connections
WINDOW: ViewportSize = {"width": 1440, "height": 900}
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TEST_LIMIT))


def start_studio(folder: Path, port: int | None = None, options: Sequence[str] = ()) -> Studio:
    """Starts `app.py` on `port`, or a free one, with its data in `folder`, and waits until it answers."""
    if port is not None:
        return _start(folder, port, options)
    for _ in range(3):  # between looking for a free port and using it, another test run may have taken it
        with contextlib.suppress(PortTaken):
            return _start(folder, _free_port(), options)
    pytest.fail("No port was free for a studio.")


class PortTaken(Exception):
    pass


def _start(folder: Path, port: int, options: Sequence[str]) -> Studio:
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
                *options,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )
    studio = Studio(f"http://127.0.0.1:{port}/", port, folder / "data", log, process)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the machine uses
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            if "cannot be used" in log.read_text():
                log.unlink()
                raise PortTaken(port)
            pytest.fail(f"The studio ended at once:\n{log.read_text()}")
        try:
            with direct.open(f"{studio.url}studio/session", timeout=30):
                return studio
        except OSError:
            time.sleep(0.25)
    studio.stop()
    pytest.fail(f"The studio did not answer within {START_LIMIT:.0f} s:\n{log.read_text()}")


def _free_port() -> int:
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail(f"No port between {PORTS.start} and {PORTS.stop - 1} is free.")


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
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """axe-core as one script."""
    return axe_core.fetch(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with the bundled painter, shared by the session."""
    running = start_studio(tmp_path_factory.mktemp("studio"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        running = _launch(playwright)
        yield running
        running.close()


def _launch(playwright: Playwright) -> Browser:
    """Chromium; tried again if it does not come up, as happens where many are started at once."""
    path = _find_chromium(playwright)
    arguments = ["--disable-dev-shm-usage"]  # containers give little shared memory, and without it a tab crashes
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    for _ in range(2):
        with contextlib.suppress(PlaywrightError):
            return playwright.chromium.launch(executable_path=path, args=arguments, timeout=LAUNCH_LIMIT)
    return playwright.chromium.launch(executable_path=path, args=arguments, timeout=LAUNCH_LIMIT)


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that prefers the dark. One for the session, so that Gradio's scripts are fetched once."""
    visitor = browser.new_context(viewport=WINDOW, color_scheme="dark", accept_downloads=True)
    visitor.set_default_timeout(PATIENCE * 1000)
    yield visitor
    visitor.close()


@pytest.fixture
def expected_failures() -> list[str]:
    """Parts of console errors that this test provokes, such as "422". Tests may add to it."""
    return []


@pytest.fixture
def page(context: BrowserContext, expected_failures: list[str]) -> Iterator[Page]:
    """A tab of a visitor who was never here: nothing loaded, nothing remembered. Watches what it does."""
    context.clear_cookies()
    page = context.new_page()
    complaints: list[str] = []
    strangers: list[str] = []

    def console(message: ConsoleMessage) -> None:
        address = str(message.location.get("url"))
        if message.type == "error" and not any(part in message.text for part in expected_failures):
            complaints.append(f"{message.text} ({address})")

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


@pytest.fixture
def canvas(studio: Studio, page: Page) -> CanvasPage:
    """A canvas by itself, with an empty document of 256 × 256 px."""
    opened = CanvasPage(page, studio.url)
    opened.open()
    return opened
