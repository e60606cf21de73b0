"""Requests as a server hands them to an application, with nothing tidied up on the way, and one to receive them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

HOST = "127.0.0.1:7860"


@dataclass
class Application:
    """Remembers what reached it and answers with what it saw."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    answer_headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append(scope)
        if scope["type"] != "http":
            await send({"type": "websocket.accept"})
            return
        content = json.dumps(scope["state"]).encode()
        headers = [(b"content-type", b"application/json"), *self.answer_headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs it in a thread of its own: the browser tests leave an event loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def call(
    app: Any,
    path: str = "/studio/session",
    method: str = "GET",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    *,
    host: str | None = HOST,
    body: bytes = b"",
    scheme: str = "http",
    server: tuple[str, int] = ("127.0.0.1", 7860),
) -> Answer:
    """One request as a server hands it on: nothing tidied up on the way."""
    raw, _, query = path.partition("?")
    pairs = list(headers.items() if isinstance(headers, dict) else headers or [])
    if host is not None:
        pairs.append(("host", host))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": unquote(raw),
        "raw_path": raw.encode("latin-1"),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs],
        "client": ("127.0.0.1", 50_000),
        "server": server,
    }
    sent: list[dict[str, Any]] = []
    requests = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(requests, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    run(app(scope, receive, send))
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    decoded = {name.decode(): value.decode() for name, value in starts[0]["headers"]}
    return Answer(starts[0]["status"], decoded, content)
