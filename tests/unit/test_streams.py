"""Streams of events: nobody has too many, and one that ends leaves no thread behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from bare_requests import run
from fastapi import FastAPI
from starlette.types import Message

from studio.project.store import PictureStore
from studio.web import routes
from studio.web.routes import STREAMS, build_routes


class _Jobs:
    """One job of ann's that never changes."""

    def __init__(self) -> None:
        self.inside = 0
        self.waited: list[float] = []
        self._lock = threading.Lock()

    def wait_for_change(self, job_id: str, owner: str, version: int, timeout: float) -> dict[str, Any] | None:
        if (job_id, owner) != ("1", "user:ann"):
            return None
        if version < 0:
            return {"version": 0, "state": "running"}
        self.waited.append(timeout)
        with self._lock:
            self.inside += 1
        threading.Event().wait(timeout)
        with self._lock:
            self.inside -= 1
        return {"version": 0, "state": "running"}


@pytest.fixture
def jobs() -> _Jobs:
    return _Jobs()


@pytest.fixture
def app(jobs: _Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr(routes, "WAIT", 0.1)
    app = FastAPI()
    app.include_router(build_routes(cast(Any, None), cast(Any, jobs), PictureStore(tmp_path)))
    return app


def _asked(
    app: FastAPI, owner: str, receive: Callable[[], Awaitable[Message]], sent: list[Message]
) -> Callable[[], Awaitable[None]]:
    async def send(message: Message) -> None:
        sent.append(message)

    path = "/studio/jobs/1/events"
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    return lambda: app({**scope, "state": {"user": owner}}, receive, send)


def test_a_stream_that_ends_leaves_no_thread_behind(app: FastAPI, jobs: _Jobs) -> None:
    async def follow() -> None:
        for _ in range(3):
            sent: list[Message] = []

            async def receive(sent: list[Message] = sent) -> Message:
                while len(sent) < 2 or not jobs.inside:
                    await anyio.sleep(0.001)
                return {"type": "http.disconnect"}

            await _asked(app, "ann", receive, sent)()
            assert json.loads(sent[1]["body"].removeprefix(b"data: ")) == {"version": 0, "state": "running"}
            assert jobs.inside == 0

    run(follow())
    assert set(jobs.waited) == {0.1}


def test_a_stream_counts_before_anybody_reads_it(app: FastAPI) -> None:
    async def flood() -> None:
        end = anyio.Event()
        all_sent: list[list[Message]] = [[] for _ in range(STREAMS + 4)]

        async def receive() -> Message:
            await end.wait()
            return {"type": "http.disconnect"}

        async with anyio.create_task_group() as group:
            for sent in all_sent:
                group.start_soon(_asked(app, "ann", receive, sent))
            while not all(all_sent):
                await anyio.sleep(0.01)
            stranger: list[Message] = []
            await _asked(app, "eve", receive, stranger)()
            assert stranger[0]["status"] == 404
            end.set()
        statuses = [sent[0]["status"] for sent in all_sent]
        assert (statuses.count(200), statuses.count(429)) == (STREAMS, 4)
        again: list[Message] = []

        async def leave() -> Message:
            while not again:
                await anyio.sleep(0.001)
            return {"type": "http.disconnect"}

        await _asked(app, "ann", leave, again)()
        assert again[0]["status"] == 200

    run(flood())
