"""What our routes share: a place in the queue of their kind, words where something is refused, values behind the "?".

Three queues, so that what computes pixels, what only looks things up, and what a person hands over do not wait for
each other; in each of them people take turns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from studio import strict_json
from studio.errors import Busy, InvalidRequest, NotFound, StudioError
from studio.web.routes import LOCAL_OWNER, owner_of
from studio.web.turns import Turns

ALONE, SHARE = 4, 2  # requests of one owner that are answered at once: alone here, and beside other people
LEFT = 499  # the status, seen by nobody, for a caller who has left


class Desk:
    """Answers requests in threads, fairly among people, and says refusals in words."""

    def __init__(self, bodies: int = 6) -> None:
        """`bodies` of one person may be in memory at once."""
        self.heavy, self.quick, self.taking = Turns(4, 64), Turns(8, 128), Turns(4, bodies)
        self._large = Turns(2, 1)  # bodies that go to the disk

    async def shown(self, request: Request, work: Callable[[], Response], turns: Turns | None = None) -> Response:
        """What `work` answers. By default it is taken for a quick look."""
        owner = owner_of(request)
        try:
            with (turns or self.quick).place(owner, _share_of(owner)) as lane:
                return await (turns or self.quick).run(lane, request, work) or Response(status_code=LEFT)
        except StudioError as problem:
            return refusal(problem)

    async def taken(self, request: Request, work: Callable[[bytes], Response]) -> Response:
        """What `work` answers to the body of a request."""
        owner = owner_of(request)
        try:
            with self.taking.place(owner, _share_of(owner)) as lane:
                body = await request.body()  # only now, so that few of them are in memory at once
                return await self.taking.run(lane, request, lambda: work(body)) or Response(status_code=LEFT)
        except StudioError as problem:
            return refusal(problem)

    async def received(self, request: Request, target: Path, work: Callable[[], Response]) -> Response:
        """What `work` answers once the body of a request, which may be large, was written to `target`."""
        owner = owner_of(request)
        try:
            with self._large.place(owner, 1) as lane:
                try:
                    async with await anyio.open_file(target, "xb") as file:
                        async for piece in request.stream():
                            await file.write(piece)
                except ClientDisconnect:
                    return Response(status_code=LEFT)
                except OSError as problem:
                    raise StudioError(
                        f"There is no room for this file: {problem.strerror or problem}. Make room, then send it "
                        "again."
                    ) from problem
                return await self._large.run(lane, request, work) or Response(status_code=LEFT)
        except StudioError as problem:
            return refusal(problem)


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
