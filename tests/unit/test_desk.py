"""What our routes share: refusals in words, values that are read strictly, and a limit to what waits."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.testclient import TestClient

from studio.errors import Busy, InvalidRequest, NotFound, StudioError
from studio.web import desk as desks
from studio.web.desk import Desk, Memory, Query, answer, json_object, only, refusal


@pytest.mark.parametrize(
    ("problem", "status", "field"),
    [
        (Busy("b"), 429, None),
        (NotFound("n"), 404, None),
        (InvalidRequest("i", "seed"), 422, "seed"),
        (StudioError("s"), 422, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_has_words_a_field_and_a_status(problem: StudioError, status: int, field: str | None) -> None:
    said = refusal(problem)
    assert said.status_code == status
    assert said.body == answer({"error": str(problem), "field": field}).body


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"{", b'{"a": 1, "a": 2}', b'{"a": [[1]]}', b'{"a": "' + b"x" * 90]
)
def test_only_a_small_object_is_read(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        json_object(body, 64, 2)


def test_unknown_fields_are_named() -> None:
    only({"a": 1}, "a", "b")
    with pytest.raises(InvalidRequest) as refused:
        only({"a": 1, "c": 2}, "a", "b")
    assert refused.value.field == "c"


@pytest.mark.parametrize("text", ["x", "1.5", "1e3", "٣", "9" * 16, "--1", " 1"])
def test_whole_numbers_behind_the_question_mark_are_read_strictly(text: str) -> None:
    scope = {"type": "http", "query_string": f"a={text}&b=-12&c=".encode("utf-8", "surrogateescape"), "headers": []}
    query = Query(Request(scope))
    assert (query.whole("b"), query.whole("c", 5), query.whole("d"), query.text("d", "e")) == (-12, 5, None, "e")
    with pytest.raises(InvalidRequest) as refused:
        query.whole("a")
    assert refused.value.field == "a"


def test_a_flood_of_bodies_is_told_to_wait(tmp_path: Path) -> None:
    desk, app = Desk(bodies=0), FastAPI()
    entered, go_on = threading.Semaphore(0), threading.Event()

    def work(_: bytes) -> Response:
        entered.release()
        assert go_on.wait(60)
        return answer({})

    @app.post("/small")
    async def small(request: Request) -> Response:
        return await desk.taken(request, work)

    @app.post("/large")
    async def large(request: Request) -> Response:
        target = tmp_path / str(len(list(tmp_path.iterdir())))
        return await desk.received(request, contextlib.nullcontext(target), lambda path: work(path.read_bytes()))

    with TestClient(app) as client, ThreadPoolExecutor(8) as pool:
        for path, inside in (("/small", 4), ("/large", 1)):
            waiting = [pool.submit(client.post, path, content=b"x") for _ in range(inside)]
            for _ in range(inside):
                assert entered.acquire(timeout=60)
            if path == "/large":
                waiting.append(pool.submit(client.post, path, content=b"y"))
                while len(list(tmp_path.iterdir())) < 2:
                    time.sleep(0.01)
            assert client.post(path, content=b"z").status_code == 429
            go_on.set()
            assert [each.result(60).status_code for each in waiting] == [200] * len(waiting)
            go_on.clear()
            while entered.acquire(blocking=False):
                pass


def _client(desk: Desk, answered: bytes = b"") -> TestClient:
    app = FastAPI()

    @app.middleware("http")
    async def signed_in(request: Request, call_next: Any) -> Response:
        request.scope["state"]["user"] = request.headers["user"]
        return cast(Response, await call_next(request))

    @app.post("/")
    async def here(request: Request) -> Response:
        return await desk.taken(request, lambda body: Response(answered or str(len(body))))

    return TestClient(app)


def test_bodies_share_one_memory_of_which_nobody_has_all() -> None:
    memory = Memory(limit=250, owner_limit=100)
    first, second = _client(Desk(memory=memory)), _client(Desk(memory=memory))
    assert first.post("/", content=b"x" * 101, headers={"user": "ann"}).status_code == 429
    assert first.post("/", content=iter([b"x" * 60] * 2), headers={"user": "ann"}).status_code == 429
    for client in (first, second):  # what was taken was given back
        assert client.post("/", content=b"x" * 100, headers={"user": "ann"}).text == "100"
        assert client.post("/", content=iter([b"x" * 50] * 2), headers={"user": "ann"}).text == "100"
    with contextlib.ExitStack() as others:
        for name in ("user:bob", "user:cat"):
            memory.take(name, 90, others)
        said = second.post("/", content=b"x" * 80, headers={"user": "ann"})
        assert (said.status_code, "try again" in said.text) == (429, True)
        assert second.post("/", content=b"x" * 70, headers={"user": "ann"}).text == "70"
    assert not memory._held


def test_large_answers_count_until_they_were_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "AT_ONCE", 10)
    memory = Memory(limit=250, owner_limit=100)
    for size, status in ((10, 200), (100, 200), (101, 429)):
        said = _client(Desk(memory=memory), b"y" * size).post("/", headers={"user": "ann"})
        assert said.status_code == status
    with contextlib.ExitStack() as before:
        memory.take("user:ann", 95, before)
        assert _client(Desk(memory=memory), b"y" * 10).post("/", headers={"user": "ann"}).status_code == 200
        assert _client(Desk(memory=memory), b"y" * 11).post("/", headers={"user": "ann"}).status_code == 429
    assert not memory._held


def test_a_file_is_taken_in_only_while_the_disk_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, app, free, gone = Desk(), FastAPI(), [100_000, 5_000], []
    monkeypatch.setattr(desks, "LOOK", 1000)
    monkeypatch.setattr(
        "studio.project.disk.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(100_000, 0, free[0])
    )

    @contextlib.contextmanager
    def passage() -> Iterator[Path]:
        if free[1] < 5_000:
            raise StudioError("almost full")
        yield tmp_path / "in"
        gone.append((tmp_path / "in").unlink(missing_ok=True))

    @app.post("/")
    async def here(request: Request) -> Response:
        def work(path: Path) -> Response:
            return answer({"size": path.stat().st_size})

        return await desk.received(request, passage(), work)

    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * 1000
            free[0] -= 1000

    client = TestClient(app)
    assert client.post("/", content=b"x" * 5000).json() == {"size": 5000}
    free[0] = 6_000  # a fiftieth of the disk stays free
    assert client.post("/", content=b"x" * 5000).status_code == 422
    said = client.post("/", content=pieces())
    assert (said.status_code, "almost full" in said.text) == (422, True)
    assert len(gone) == 3
    assert not list(tmp_path.iterdir())
    free[1] = 0
    assert "almost full" in client.post("/", content=b"x").json()["error"]
