"""What one person's requests may hold at a time: bodies, threads, and never the loop that everybody's go through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from studio.errors import UnreadablePicture
from studio.project.store import PictureStore
from studio.web import routes
from studio.web.desk import ALONE, Desk
from studio.web.routes import build_routes
from studio.web.routes_prompts import build_prompt_routes
from studio.web.turns import Lane, Turns

PATIENCE = 60.0  # s


class _Engine:
    """What the routes ask of an engine before anything is painted."""

    default_model = loaded_model = "painter"

    def card(self, _: str | None = None) -> Any:
        from studio.models import catalogue

        return catalogue.find("painter")

    def weighs(self, _: str) -> bool:
        return False

    def seconds_for(self, _: Any) -> None:
        return None


class _Wordbooks:
    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def lists(self, _: str) -> dict[str, list[str]]:
        self.threads.append(threading.current_thread())
        return {}


@pytest.fixture
def books() -> _Wordbooks:
    return _Wordbooks()


@pytest.fixture
def loops() -> list[threading.Thread]:
    return []


@pytest.fixture
def client(tmp_path: Path, books: _Wordbooks, loops: list[threading.Thread]) -> Iterator[TestClient]:
    engine, store, app = cast(Any, _Engine()), PictureStore(tmp_path), FastAPI()
    jobs = cast(
        Any,
        SimpleNamespace(
            current=lambda _: [],
            submit=lambda ready, _: {"id": "a", "count": len(ready)},
            snapshot=lambda *_: None,
            preview=lambda *_: None,
            stop=lambda *_: {},
        ),
    )
    app.include_router(build_routes(engine, jobs, store, cast(Any, books)))
    rewriter = SimpleNamespace(name="echo", rewrite=lambda prompt: prompt)
    app.include_router(build_prompt_routes(engine, jobs, store, cast(Any, books), cast(Any, rewriter), Desk()))

    @app.get("/loop")
    async def loop() -> None:
        loops.append(threading.current_thread())

    with TestClient(app) as client:
        yield client


def test_saved_lists_are_read_beside_the_loop(
    client: TestClient, books: _Wordbooks, loops: list[threading.Thread]
) -> None:
    client.get("/loop")
    assert client.post("/studio/jobs", json={"request": {"prompt": "a lake", "seed": 1}}).status_code == 202
    (used,) = books.threads
    assert used is not loops[0]


@pytest.mark.parametrize(
    ("method", "path", "at_once"),
    [
        ("GET", "/studio/session", 8),
        ("POST", "/studio/jobs", 4),
        ("GET", "/studio/jobs/a", 8),
        ("POST", "/studio/jobs/a/stop", 8),
        ("GET", "/studio/jobs/a/preview.png", 4),
        ("GET", "/studio/pictures/a.png", 8),
        ("POST", "/studio/import", 4),
        ("GET", "/studio/words", 8),
        ("POST", "/studio/rewrite", 1),
    ],
)
def test_everything_has_its_turn(
    client: TestClient, method: str, path: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    run = Turns.run

    async def noted(self: Turns, lane: Lane, request: Request, work: Callable[[], Any]) -> Any:
        seen.append(int(self._limiter.total_tokens))
        return await run(self, lane, request, work)

    monkeypatch.setattr(Turns, "run", noted)
    client.request(method, path, content=b"{}" if method == "POST" else None)
    assert seen == [at_once]


def test_few_whole_files_of_one_person_are_in_memory_at_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: Any) -> Any:
        entered.release()
        assert go_on.wait(PATIENCE)
        raise UnreadablePicture("no picture")

    monkeypatch.setattr(routes, "settings_in", slow)
    places: list[None] = []
    place = Turns.place

    def counted(self: Turns, owner: str, share: int) -> Any:
        places.append(None)
        return place(self, owner, share)

    monkeypatch.setattr(Turns, "place", counted)
    with ThreadPoolExecutor(ALONE + 3) as pool:
        first = [pool.submit(client.post, "/studio/import", content=b"x") for _ in range(ALONE + 2)]
        try:
            for _ in range(ALONE):
                assert entered.acquire(timeout=PATIENCE)
            while len(places) < ALONE + 2:
                client.get("/loop")
            refused = pool.submit(client.post, "/studio/import", content=b"x").result(PATIENCE)
        finally:
            go_on.set()
        assert refused.status_code == 429
        assert [each.result(PATIENCE).status_code for each in first] == [422] * (ALONE + 2)
