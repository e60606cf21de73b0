"""What our routes share: refusals in words, values that are read strictly, and a limit to what waits."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.testclient import TestClient

from studio.errors import Busy, InvalidRequest, NotFound, StudioError
from studio.web.desk import Desk, Query, answer, json_object, only, refusal


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
        return await desk.received(request, target, lambda: work(target.read_bytes()))

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
