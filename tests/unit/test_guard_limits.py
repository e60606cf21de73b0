"""Floods at the door: bodies, headers and addresses that are too long, refused before they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from bare_requests import run
from fastapi import Body, FastAPI, Request
from fastapi.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from studio.imaging.plain_png import MAX_SIDE
from studio.project.document_values import STATE_LIMIT
from studio.project.uploads import PIXELS_LIMIT
from studio.project.wordbook import FILE_LIMIT
from studio.web.guard import BODY_LIMIT, BODY_LIMITS, HEADER_LIMIT, PATH_LIMIT, PIECE, QUERY_LIMIT, Guard

OURS = "http://127.0.0.1:7860"
LIMITS = {"/studio/import": 50_000, "/studio/jobs": 2_000}


@pytest.fixture
def read() -> list[int]:
    """How many bytes of a body the application has read, chunk by chunk."""
    return []


@pytest.fixture
def client(read: list[int]) -> TestClient:
    app = FastAPI()

    @app.post("/studio/{name}")
    async def stream(request: Request, name: str) -> PlainTextResponse:
        async for part in request.stream():
            read.append(len(part))
        return PlainTextResponse(str(sum(read)))

    @app.post("/studio/parsed/json")
    def parsed(values: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return values

    @app.post("/studio/unread/body")
    def unread() -> str:
        return "did not look"

    @app.post("/studio/careless/body")
    async def careless(request: Request) -> str:
        try:
            return str(len(await request.body()))
        except Exception:
            return "swallowed"

    @app.post("/studio/broken/body")
    async def broken() -> None:
        raise RuntimeError("a bug of ours")

    return TestClient(Guard(app, body_limits=LIMITS), base_url=OURS)


def parts(size: int, count: int) -> Iterator[bytes]:
    """A body without an announced length, `count` parts of `size` bytes."""
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize(("path", "limit"), [("import", 50_000), ("jobs", 2_000), ("other", BODY_LIMIT)])
def test_a_body_up_to_the_limit_is_handed_on_and_one_byte_more_is_not(
    client: TestClient, path: str, limit: int, read: list[int]
) -> None:
    assert client.post(f"/studio/{path}", content=b"x" * limit).text == str(limit)
    read.clear()
    answer = client.post(f"/studio/{path}", content=b"x" * (limit + 1))
    assert answer.status_code == 413
    assert "at most" in answer.json()["error"]
    assert answer.headers["connection"] == "close"
    assert read == []  # refused by what it announced


@pytest.mark.parametrize("path", ["/studio/import", "/studio/careless/body", "/studio/parsed/json"])
def test_a_body_in_pieces_is_stopped_where_it_becomes_too_much(client: TestClient, path: str, read: list[int]) -> None:
    answer = client.post(
        path,
        content=parts(10_000, 10_000),
        headers={"content-type": "application/json", "transfer-encoding": "chunked"},
    )
    assert answer.status_code == 413
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert sum(read) <= 50_000


def test_an_announced_length_that_is_a_lie_does_not_get_around_the_limit(client: TestClient, read: list[int]) -> None:
    answer = client.post("/studio/jobs", content=parts(1_000, 100), headers={"content-length": "10"})
    assert answer.status_code == 413
    assert sum(read) <= 2_000


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    async def eager(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] == "http.request":
            pass
        await send({"type": "http.response.body", "body": b"the caller has left"})

    answer = TestClient(Guard(eager), base_url=OURS).post("/studio/jobs", content=parts(100_000, 100))
    assert (answer.status_code, answer.text) == (200, "the caller has left")


def test_the_limit_covers_what_lies_below_a_path_and_nothing_beside_it(client: TestClient) -> None:
    assert client.post("/studio/jobs/17/stop", content=b"x" * 2_001).status_code == 413
    assert client.post("/studio/jobsandmore", content=b"x" * 2_001).status_code == 200


@pytest.mark.parametrize("length", ["-1", "+5", "5.0", "0x5", "1_0", "٣", "", "9" * 16, "5, 5"])
def test_a_length_that_is_none_is_malformed(length: str) -> None:
    assert _status(headers=[(b"content-length", length.encode())]) == 400


def test_two_lengths_are_malformed() -> None:
    assert _status(headers=[(b"content-length", b"5"), (b"content-length", b"5")]) == 400


def test_bugs_behind_the_guard_stay_loud(client: TestClient) -> None:
    with pytest.raises(RuntimeError, match="a bug of ours"):
        client.post("/studio/broken/body")


def test_too_many_and_too_long_headers_are_refused() -> None:
    assert _status(headers=[(b"x-%d" % number, b"") for number in range(99)]) == 200
    assert _status(headers=[(b"x-%d" % number, b"") for number in range(100)]) == 431
    assert _status(headers=[(b"x-long", b"x" * HEADER_LIMIT)]) == 431


def test_addresses_that_are_too_long_are_refused() -> None:
    assert _status(path="/studio/" + "x" * (PATH_LIMIT - 8)) == 200
    assert _status(path="/studio/" + "x" * PATH_LIMIT) == 414
    assert _status(query=b"x" * QUERY_LIMIT) == 200
    assert _status(query=b"x" * (QUERY_LIMIT + 1)) == 414


def test_a_prompt_of_4000_characters_of_any_script_fits_an_address() -> None:
    assert _status(query=b"prompt=" + quote("🌊" * 4000).encode()) == 200


def test_what_a_person_keeps_fits_through_the_door() -> None:
    """The largest picture of a painted step without packing, a whole wordbook, and the pixels of a document."""
    packed = 1.01  # what deflate adds to noise, and more
    assert BODY_LIMITS["/studio/uploads"] > 4 * PIXELS_LIMIT * packed
    assert BODY_LIMITS["/studio/pixels"] > 4 * MAX_SIDE**2 * packed
    assert BODY_LIMITS["/studio/wordbook"] >= FILE_LIMIT
    assert BODY_LIMITS["/studio/documents"] >= STATE_LIMIT


def _status(
    path: str = "/studio/session", query: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None
) -> int:
    """The status of a request that no client would send for us."""
    statuses: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1:7860"), *(headers or [])],
    }
    run(Guard(application)(scope, receive, send))  # type: ignore[arg-type]
    return statuses[0]


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("size", [0, PIECE, PIECE + 1, 3 * PIECE])
def test_a_large_answer_is_handed_to_the_server_in_pieces(size: int, more: bool) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    sent: list[Message] = []

    async def application(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content[:size], "more_body": more})
        if more:
            await send({"type": "http.response.body", "body": b"end"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/studio/x", "headers": [(b"host", b"127.0.0.1:7860")]}
    run(Guard(application)(scope, receive, send))
    bodies = [message["body"] for message in sent[1:]]
    assert b"".join(bodies) == content[:size] + (b"end" if more else b"")
    assert max(map(len, bodies)) <= PIECE
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(bodies) - 1) + [False]
    assert not more or bodies[-1] == b"end"
    assert size <= PIECE or len(bodies[-1]) < 4  # it waits until the pieces before it are nearly gone
