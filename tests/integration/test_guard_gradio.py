"""The guard around a real Gradio page, first in this process and then on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.routing import BaseRoute, Mount
from starlette.testclient import TestClient

from studio.web import gradio_routes
from studio.web.accounts import Accounts, PasswordHash
from studio.web.guard import protect

# Gradio's own statistics of its queue, with a pandas that is newer than they know
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

PORT = 7860
OURS = f"http://127.0.0.1:{PORT}"
FOREIGN = "https://evil.example"
UPLOAD = {"files": ("evil.html", b"<script>alert(1)</script>", "text/html")}


def shout(words: str) -> str:
    return words.upper()


@pytest.fixture(scope="module")
def page() -> FastAPI:
    with ThreadPoolExecutor(1) as thread:  # the browser tests leave an event loop running in this one
        return thread.submit(asyncio.run, build_page()).result()


async def build_page() -> FastAPI:
    """A small page. (Inside a running event loop: Gradio would leave loops of its own open otherwise.)"""
    app = FastAPI()

    @app.post("/studio/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    with gr.Blocks(analytics_enabled=False) as blocks:
        words, answer = gr.Textbox(label="Words"), gr.Textbox(label="Answer")
        gr.Button("Shout").click(shout, words, answer, api_name="shout")
        gr.Button("Whisper").click(str.lower, words, answer, api_name="whisper", queue=False)
    gr.mount_gradio_app(app, blocks, path="", footer_links=[], run_history=False)
    return app


@pytest.fixture(scope="module")
def client(page: FastAPI) -> Iterator[TestClient]:
    served = protect(page, host="127.0.0.1", port=PORT)
    with TestClient(served, base_url=OURS, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def bare(page: FastAPI) -> TestClient:
    """The same page without the guard, to see what would be reached."""
    return TestClient(page, base_url=OURS, raise_server_exceptions=False)


def event(client: TestClient, words: str, headers: dict[str, str]) -> Any:
    """What the page does when the button is pressed: joins the queue, then reads the answers."""
    body = {"data": [words], "fn_index": 0, "session_hash": "abc", "trigger_id": None}
    joined = client.post("/gradio_api/queue/join", json=body, headers=headers)
    assert joined.status_code == 200, joined.text
    with client.stream("GET", "/gradio_api/queue/data?session_hash=abc", headers=headers) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return message["output"]["data"]
    raise AssertionError("the stream ended without an answer")


# ---- what our own page does ----


def test_the_page_and_its_scripts_arrive(client: TestClient) -> None:
    answer = client.get("/", headers={"sec-fetch-site": "none", "sec-fetch-mode": "navigate"})
    assert answer.status_code == 200
    assert "<gradio-app" in answer.text
    script = answer.text.partition('src="./assets/')[2].partition('"')[0]
    assert client.get(f"/assets/{script}", headers={"sec-fetch-site": "same-origin"}).status_code == 200
    for path in ("/config", "/theme.css", "/static/fonts/SourceSansPro/SourceSansPro-Regular.woff2"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_event_of_our_own_page_works(client: TestClient) -> None:
    headers = {"origin": OURS, "sec-fetch-site": "same-origin"}
    assert event(client, "lake", headers) == ["LAKE"]
    unqueued = client.post("/gradio_api/run/whisper", json={"data": ["LAKE"], "session_hash": "abc"}, headers=headers)
    assert unqueued.json()["data"] == ["lake"]
    assert client.post("/studio/echo", content=b"1234", headers=headers).json() == {"bytes": 4}


# ---- what another site tries ----


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/queue/join",
        "/gradio_api/run/shout",
        "/gradio_api/run/whisper",
        "/gradio_api/api/whisper",
        "/gradio_api/call/whisper",
        "/gradio_api/upload",
        "/gradio_api/component_server",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/login",
        "/studio/echo",
        "/studio/login",
    ],
)
@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://localhost:3000", "http://127.0.0.1:3000"])
def test_posts_from_another_site_are_refused(client: TestClient, path: str, origin: str) -> None:
    body = json.dumps({"data": ["x"], "fn_index": 0, "session_hash": "abc"})
    headers = {"origin": origin}
    assert client.post(path, files=UPLOAD, headers=headers).status_code == 403
    for kind in (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    ):
        answer = client.post(path, content=body, headers={**headers, "content-type": kind})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_without_the_guard_such_posts_are_accepted(bare: TestClient) -> None:
    """Why the guard is there: if this fails one day, Gradio has learned to check and we may do less."""
    assert bare.post("/gradio_api/upload", files=UPLOAD, headers={"origin": FOREIGN}).status_code == 200
    assert bare.get("/config", headers={"host": "evil.example"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/gradio_api/app_id", "/gradio_api/heartbeat/abc"])
@pytest.mark.parametrize("host", ["evil.example:7860", "evil.example", "127.0.0.1:80", "[::2]:7860"])
def test_a_rebound_name_is_refused_for_reading_too(client: TestClient, path: str, host: str) -> None:
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == 403
    assert "gradio" not in answer.text


def test_a_preflight_from_another_site_gets_no_permission(client: TestClient) -> None:
    answer = client.options(
        "/gradio_api/queue/join", headers={"origin": FOREIGN, "access-control-request-method": "POST"}
    )
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# ---- files ----

ESCAPES = [
    "/gradio_api/file={}",
    "/gradio_api/file/{}",
    "/gradio_api/file=/proc/self/root{}",
    "/gradio_api/file=..%2f..%2f..%2f..%2f..{}",
    "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e{}",
    "/gradio_api/file=http://127.0.0.1/{}",
    "/gradio_api/proxy=http://127.0.0.1{}",
    "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..{}",
    "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{}",
    "/assets/{}",
    "/static/..%5c..%5c..%5c..{}",
    "/static/{}",
    "/svelte/..%2f..%2f..{}",
    "/gradio_api/custom_component/x/client/..%2f{}/x",
]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text("the secret")
    return file


@pytest.mark.parametrize("template", ESCAPES)
def test_no_file_outside_is_served(client: TestClient, template: str, secret: Path) -> None:
    for target in (str(secret), __file__, "/etc/passwd", str(Path.cwd() / "pyproject.toml")):
        answer = client.get(template.format(target))
        assert answer.status_code in (400, 404)
        assert "secret" not in answer.text
        assert "root:" not in answer.text
        assert "import " not in answer.text


@pytest.mark.parametrize("template", ESCAPES)
def test_gradio_itself_serves_no_file_outside_either(bare: TestClient, template: str, secret: Path) -> None:
    """The second wall: `allowed_paths` is empty, so that opening file= one day would not open the disk."""
    answer = bare.get(template.format(secret))
    assert answer.status_code >= 400
    assert "the secret" not in answer.text


# ---- the list of routes ----


def routes_of(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    """Path and methods of every route, those of mounted applications included."""
    for route in routes:
        if isinstance(route, Mount):
            yield from routes_of(route.routes, prefix + route.path)
        elif included := getattr(getattr(route, "original_router", None), "routes", None):
            yield from routes_of(included, prefix)
        else:
            yield prefix + getattr(route, "path", "/"), frozenset(getattr(route, "methods", None) or {"GET"})


def test_every_route_of_gradio_is_known_as_open_or_closed(page: FastAPI) -> None:
    found = {path: methods for path, methods in routes_of(page.routes) if not path.startswith("/studio/")}
    assert len(found) > 50
    unknown = []
    for path in found:
        example = (
            path.replace("{path:path}", "a/b").replace("{path_or_url:path}", "a/b").replace("{url_path:path}", "a/b")
        )
        while "{" in example:
            example = example.partition("{")[0] + "a" + example.partition("}")[2]
        templates = [path for path, _, _ in gradio_routes.OPEN] + [path for path, _ in gradio_routes.CLOSED]
        if not any(gradio_routes.matches(template, example) for template in templates):
            unknown.append(path)
    assert unknown == []


@pytest.mark.parametrize("template", [template for template, _ in gradio_routes.CLOSED])
def test_closed_routes_answer_as_if_they_were_not_there(client: TestClient, template: str) -> None:
    path = template.replace("{path}", "a/b").replace("{name}", "a")
    for address in (path, path + "/"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = client.request(method, address, headers={"origin": OURS})
            assert answer.status_code == 404, (method, address)


@pytest.mark.parametrize(("template", "methods"), [(path, methods) for path, methods, _ in gradio_routes.OPEN])
def test_open_routes_are_open_for_their_methods_only(client: TestClient, template: str, methods: Any) -> None:
    path = template.replace("{path}", "a/b").replace("{name}", "a")
    for method in {"POST", "PUT", "DELETE", "PATCH"} - methods:
        assert client.request(method, path, headers={"origin": OURS}).status_code == 404


# ---- with a login ----


def test_the_login_covers_gradios_routes(page: FastAPI) -> None:
    accounts = Accounts({"ann": PasswordHash.of("correct horse")})
    served = protect(page, host="0.0.0.0", port=PORT, accounts=accounts)
    with TestClient(served, base_url=OURS, follow_redirects=False) as client:
        headers = {"origin": OURS}
        for method, path in (
            ("GET", "/config"),
            ("GET", "/theme.css"),
            ("GET", "/gradio_api/app_id"),
            ("GET", "/gradio_api/queue/data?session_hash=abc"),
            ("POST", "/gradio_api/queue/join"),
            ("POST", "/gradio_api/run/whisper"),
            ("POST", "/studio/echo"),
        ):
            assert client.request(method, path, headers=headers).status_code == 401
        assert client.get("/").headers["location"] == "/studio/login"
        form = {"name": "ann", "password": "correct horse"}
        assert client.post("/studio/login", data=form, headers=headers).status_code == 303
        assert "<gradio-app" in client.get("/").text
        assert event(client, "lake", headers) == ["LAKE"]


# ---- on a real port ----


@pytest.fixture(scope="module")
def port(page: FastAPI) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    number = int(listener.getsockname()[1])
    served = protect(page, host="127.0.0.1", port=number)
    server = uvicorn.Server(uvicorn.Config(served, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    patience = time.monotonic() + 60
    while not server.started and time.monotonic() < patience:
        time.sleep(0.02)
    yield number
    server.should_exit = True
    thread.join(20)
    listener.close()


def raw(port: int, request: bytes) -> bytes:
    """What the server answers to these very bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):  # it may have answered already and hung up
            connection.sendall(request)
        answer = b""
        while part := _received(connection):
            answer += part
    return answer


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionError:
        return b""


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def request(port: int, line: str, *headers: str, host: str | None = None, body: bytes = b"") -> bytes:
    lines = [line, f"Host: {host or f'127.0.0.1:{port}'}", "Connection: close", *headers, "", ""]
    return raw(port, "\r\n".join(lines).encode() + body)


def test_a_real_server_refuses_the_same(port: int) -> None:
    assert status(request(port, "GET / HTTP/1.1")) == 200
    assert status(request(port, "GET / HTTP/1.1", host="evil.example")) == 403
    assert status(request(port, "GET / HTTP/1.1", host=f"evil.example:{port}")) == 403
    assert status(request(port, "GET / HTTP/1.1", "Host: evil.example")) in (400, 403)
    assert status(request(port, f"GET http://evil.example:{port}/ HTTP/1.1", host="evil.example")) == 400
    assert status(request(port, "POST /studio/echo HTTP/1.1", f"Origin: {FOREIGN}", "Content-Length: 0")) == 403
    for path in (
        "/assets/../../../../etc/passwd",
        "/studio/%2e%2e/x",
        "/studio/..%5cx",
        "/studio/a%00b",
        "/studio/..\\x",
    ):
        assert status(request(port, f"GET {path} HTTP/1.1")) == 400


def test_a_real_server_stops_a_flood_without_reading_it(port: int) -> None:
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = request(port, "POST /studio/echo HTTP/1.1", "Transfer-Encoding: chunked", body=piece * 400 + b"0\r\n\r\n")
    assert status(answer) == 413
    answer = request(port, "POST /studio/echo HTTP/1.1", "Content-Length: 99999999999", body=b"x" * 1000)
    assert status(answer) == 413
    within = piece * 3 + b"0\r\n\r\n"
    answer = request(port, "POST /studio/echo HTTP/1.1", "Transfer-Encoding: chunked", body=within)
    assert status(answer) == 200
    assert answer.endswith(b'{"bytes":196608}')


def test_a_real_server_refuses_a_socket_from_another_site(port: int) -> None:
    upgrade = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: " + "A" * 22 + "==",
    )
    answer = request(port, "GET /studio/live HTTP/1.1", *upgrade, f"Origin: {FOREIGN}")
    assert status(answer) == 403
