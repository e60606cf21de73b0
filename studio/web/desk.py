"""What our routes share: a place in the queue of their kind, words where something is refused, values behind the "?".

Queues, so that what computes pixels, what only looks things up, what a person hands over and what they take home do
not wait for each other; in each of them people take turns. Who has a place has it until the answer was sent.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from studio import strict_json
from studio.errors import Busy, InvalidRequest, NotFound, StudioError
from studio.web.owners import LOCAL_OWNER, owner_of
from studio.web.turns import Lane, Turns

ALONE, SHARE = 4, 2  # requests of one owner that are answered at once: alone here, and beside other people
LEFT = 499  # the status, seen by nobody, for a caller who has left


class Desk:
    """Answers requests in threads, fairly among people, and says refusals in words."""

    def __init__(self, bodies: int = 6, refuse: Callable[[StudioError], Response] | None = None) -> None:
        """`bodies` of one person may wait in memory; `refuse` puts refusals into words, by default as `refusal`."""
        self.heavy, self.quick, self.taking = Turns(4, 64), Turns(8, 128), Turns(4, bodies)
        self.files = Turns(2, 2)  # files that lie on the disk until they were sent
        self._large = Turns(2, 1)  # bodies that go to the disk
        self._refuse = refuse or refusal

    async def shown(self, request: Request, work: Callable[[], Response], turns: Turns | None = None) -> Response:
        """What `work` answers. By default it is taken for a quick look."""
        turns = turns or self.quick
        return await self._placed(request, turns, lambda lane: turns.run(lane, request, work))

    async def taken(self, request: Request, work: Callable[[bytes], Response], turns: Turns | None = None) -> Response:
        """What `work` answers to the body of a request."""
        turns = turns or self.taking

        async def answered(lane: Lane) -> Response | None:
            try:
                body = await request.body()  # only now, so that few of them are in memory at once
            except ClientDisconnect:
                return None
            return await turns.run(lane, request, lambda: work(body))

        return await self._placed(request, turns, answered)

    async def received(self, request: Request, target: Path, work: Callable[[], Response]) -> Response:
        """What `work` answers once the body of a request, which may be large, was written to `target`."""

        async def answered(lane: Lane) -> Response | None:
            try:
                async with await anyio.open_file(target, "xb") as file:
                    async for piece in request.stream():
                        await file.write(piece)
            except ClientDisconnect:
                return None
            except OSError as problem:
                raise StudioError(
                    f"There is no room for this file: {problem.strerror or problem}. Make room, then send it again."
                ) from problem
            return await self._large.run(lane, request, work)

        return await self._placed(request, self._large, answered, 1)

    async def _placed(
        self,
        request: Request,
        turns: Turns,
        answered: Callable[[Lane], Awaitable[Response | None]],
        share: int | None = None,
    ) -> Response:
        owner = owner_of(request)
        try:
            with contextlib.ExitStack() as place:
                lane = place.enter_context(turns.place(owner, share or _share_of(owner)))
                found = await answered(lane) or Response(status_code=LEFT)
                return _Placed(found, place.pop_all())
        except StudioError as problem:
            return self._refuse(problem)


class _Placed(Response):
    """An answer whose caller keeps their place until it was sent: who reads slowly waits for themselves."""

    def __init__(self, inside: Response, place: contextlib.ExitStack) -> None:
        self._inside, self._place = inside, place
        self.status_code, self.raw_headers, self.background = inside.status_code, inside.raw_headers, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await self._inside(scope, receive, send)


def refusal(problem: StudioError) -> JSONResponse:
    """What a person is told when something cannot be done, with the status that a program understands."""
    status = 429 if isinstance(problem, Busy) else 404 if isinstance(problem, NotFound) else 422
    return answer({"error": str(problem), "field": getattr(problem, "field", None)}, status)


def answer(value: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(value, status_code=status, headers={"Cache-Control": "no-store"})


def json_object(body: bytes, limit: int, depth: int) -> Mapping[str, Any]:
    """The JSON object in a body. Raises InvalidRequest for anything else."""
    try:
        values = strict_json.loads(body, max_bytes=limit, max_depth=depth)
    except ValueError as problem:
        raise InvalidRequest(f"This cannot be read: {problem}.") from problem
    if not isinstance(values, dict):
        raise InvalidRequest("This cannot be read: it should be a JSON object.")
    return values


def only(values: Mapping[str, Any], *known: str) -> None:
    """Raises InvalidRequest if there is a field besides the known ones."""
    for name in values:
        if name not in known:
            raise InvalidRequest(f"There is no field {name[:40]!r} here. There are {', '.join(known)}.", name[:40])


@dataclasses.dataclass(frozen=True)
class Query:
    """The values behind the question mark. Raises InvalidRequest, naming the value, when one is read that is wrong."""

    request: Request

    def text(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default)

    def whole(self, name: str, default: int | None = None) -> int | None:
        text = self.request.query_params.get(name, "")
        if text == "":
            return default
        if len(text) > 15 or not (text.isascii() and text.removeprefix("-").isdigit()):
            raise InvalidRequest(f"{name} should be a whole number, not {text[:40]!r}.", name)
        return int(text)


def _share_of(owner: str) -> int:
    return ALONE if owner == LOCAL_OWNER else SHARE
