"""What a page on another site can do to the studio in a real browser: lead to it by a link, and nothing else."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from conftest import Studio
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from playwright.sync_api import Browser, BrowserContext, Page, expect

from studio.web.accounts import Accounts, PasswordHash
from studio.web.guard import protect

PASSWORD = "correct horse"
ATTACK = """<!doctype html><meta charset="utf-8"><title>elsewhere</title>
<a href="STUDIO/">a link to the studio</a>
<iframe name="framed" src="STUDIO/"></iframe>
<form method="post" enctype="text/plain" action="STUDIO/studio/jobs">
<input name='{"request": {}, "count": 8, "x": "' value='"}'><button>Win a prize</button></form>
<script>
  const results = {}
  const note = (name, promise) => promise.then(() => { results[name] = 'done' }, () => { results[name] = 'refused' })
  const loads = (name, tag, source) => note(name, new Promise((done, failed) => {
    const element = document.createElement(tag)
    element.onload = done
    element.onerror = failed
    element.src = source
    document.head.append(element)
  }))
  const body = '{"request": {"prompt": "a lake"}, "count": 8}'
  const attacks = [
    note('read', fetch('STUDIO/studio/session')),
    note('read unseen', fetch('STUDIO/studio/session', {mode: 'no-cors', credentials: 'include'})),
    note('post', fetch('STUDIO/studio/jobs', {method: 'POST', body})),
    note('post unseen', fetch('STUDIO/studio/jobs', {method: 'POST', body, mode: 'no-cors', credentials: 'include'})),
    note('post to Gradio', fetch('STUDIO/gradio_api/queue/join', {method: 'POST', body, mode: 'no-cors'})),
    loads('picture', 'img', 'STUDIO/favicon.ico'),
    loads('script', 'script', 'STUDIO/static/js/iframeResizer.contentWindow.min.js'),
  ]
  const finished = Promise.all(attacks).then(() => results)
</script>"""


class Elsewhere:
    """Another site: `address` is another origin on this computer, as hostile as any."""

    def __init__(self, target: str, name: str) -> None:
        content = ATTACK.replace("STUDIO", target.rstrip("/")).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/" else 404)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(content if self.path == "/" else b"")

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.address = f"http://{name}:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(params=["localhost", "127.0.0.1"])
def elsewhere(request: pytest.FixtureRequest, studio: Studio) -> Iterator[Elsewhere]:
    """A site of another name, then one of the same name on another port (browsers call that one same-site)."""
    site = Elsewhere(studio.url, request.param)
    yield site
    site.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(60_000)
    yield context
    context.close()


def jobs_of(studio: Studio) -> list[str]:
    answer = httpx.get(f"{studio.url}studio/session", timeout=60, trust_env=False)
    return [job["id"] for job in answer.json()["jobs"]]


def test_another_site_can_neither_read_nor_start_anything(
    studio: Studio, elsewhere: Elsewhere, context: BrowserContext
) -> None:
    before = jobs_of(studio)
    page = context.new_page()
    page.goto(elsewhere.address)
    results = page.evaluate("finished")
    # an unseen answer is an answer to the browser, so that it may count as done: what it did is looked at below
    assert {name for name, result in results.items() if result == "done"} <= {
        "read unseen",
        "post unseen",
        "post to Gradio",
    }
    framed = page.frame("framed")
    assert framed is not None
    assert "gradio" not in framed.content()
    page.get_by_role("button", name="Win a prize").click()
    expect(page.locator("body")).to_contain_text("It is refused.")
    assert jobs_of(studio) == before


def test_a_link_on_another_site_leads_to_the_page_and_keeps_the_visitor(
    studio: Studio, elsewhere: Elsewhere, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(studio.url)
    before = context.cookies()
    assert [cookie["name"] for cookie in before] == ["wavebrush_visitor"]
    page.goto(elsewhere.address)
    page.get_by_role("link").click()
    expect(page.locator("gradio-app")).to_be_attached()
    assert page.url == studio.url
    assert [cookie["value"] for cookie in context.cookies()] == [cookie["value"] for cookie in before]
    page.go_back()
    expect(page).to_have_url(elsewhere.address)


# ---- with a login ----


@pytest.fixture
def guarded() -> Iterator[str]:
    """The address of a small application behind the login."""
    app = FastAPI()

    @app.get("/")
    def page(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<title>inside</title><p>Hello {request.scope['state']['user']}")

    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    served = protect(app, host="127.0.0.1", port=port, accounts=Accounts({"ann": PasswordHash.of(PASSWORD)}))
    server = uvicorn.Server(uvicorn.Config(served, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(20)
    listener.close()


def sign_in(page: Page, password: str) -> None:
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def test_a_person_signs_in_comes_back_by_a_link_and_signs_out(guarded: str, context: BrowserContext) -> None:
    site = Elsewhere(guarded, "localhost")
    page = context.new_page()
    page.goto(guarded)
    expect(page).to_have_url(f"{guarded}studio/login")
    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
    sign_in(page, PASSWORD)
    expect(page.get_by_text("Hello ann")).to_be_visible()
    page.goto(site.address)
    page.get_by_role("link").click()
    expect(page.get_by_text("Hello ann")).to_be_visible()  # strict cookies, and yet signed in
    page.goto(f"{guarded}studio/login")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto(guarded)
    expect(page).to_have_url(f"{guarded}studio/login")
    site.close()
