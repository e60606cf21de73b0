"""What our routes share: a place in the queue of their kind, words where something is refused, values behind the "?".

Queues, so that what computes pixels, what only looks things up, what a person hands over and what they take home do
not wait for each other; in each of them people take turns. Who has a place has it until the answer was sent. Bodies
and large answers share one budget of memory, whatever desk they are at.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from studio import strict_json
from studio.errors import Busy, InvalidRequest, NotFound, StudioError, human_bytes
from studio.project.disk import check_free, not_kept
from studio.web.files import AT_ONCE
from studio.web.owners import LOCAL_OWNER, owner_of
from studio.web.turns import Lane, Turns

ALONE, SHARE = 4, 2  # requests of one owner that are answered at once: alone here, and beside other people
MEMORY = 1024**3  # bytes of bodies and large answers that are held at once, of everybody
OWNER_MEMORY = MEMORY // 4  # of one person, where there are several
LOOK = 64 * 1024**2  # bytes of a body on its way to the disk after which the room there is looked at again
LEFT = 499  # the status, seen by nobody, for a caller who has left


class Memory:
    """How many bytes the requests of everybody hold. Used from one event loop."""

    def __init__(self, limit: int = MEMORY, owner_limit: int = OWNER_MEMORY) -> None:
        self._limit = limit
        self._owner_limit = owner_limit
        self._held: Counter[str] = Counter()

    def take(self, owner: str, size: int, until: ExitStack) -> None:
        """Counts `size` bytes until `until` is closed. Raises Busy if there are too many."""
        limit = self._limit if owner == LOCAL_OWNER else self._owner_limit
        if self._held.total() + size > self._limit or self._held[owner] + size > limit:
            raise Busy(f"{human_bytes(self._held.total())} are on their way already. Wait a moment, then try again.")
        self._held[owner] += size
        until.callback(self._give_back, owner, size)

    def _give_back(self, owner: str, size: int) -> None:
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]


_MEMORY = Memory()  # there is one memory, however many desks


class Desk:
    """Answers requests in threads, fairly among people, and says refusals in words."""

    def __init__(
        self, bodies: int = 6, refuse: Callable[[StudioError], Response] | None = None, memory: Memory = _MEMORY
    ) -> None:
        """`bodies` of one person may wait in memory; `refuse` puts refusals into words, by default as `refusal`."""
        self._memory = memory
        self.heavy, self.quick, self.taking = Turns(4, 64), Turns(8, 128), Turns(4, bodies)
        self.files = Turns(2, 2)  # files that lie on the disk until they were sent
        self._large = Turns(2, 1)  # bodies that go to the disk
        self._refuse = refuse or refusal

    async def shown(self, request: Request, work: Callable[[], Response], turns: Turns | None = None) -> Response:
        """What `work` answers. By default it is taken for a quick look."""
        turns = turns or self.quick
        return await self._placed(request, turns, lambda lane, _: turns.run(lane, request, work))

    async def taken(self, request: Request, work: Callable[[bytes], Response], turns: Turns | None = None) -> Response:
        """What `work` answers to the body of a request."""
        turns = turns or self.taking

        async def answered(lane: Lane, until: ExitStack) -> Response | None:
            owner, announced = owner_of(request), request.headers.get("content-length")
            self._memory.take(owner, int(announced or 0), until)
            pieces = bytearray()
            try:
                async for piece in request.stream():  # only now, so that few of them are in memory at once
                    if announced is None:
                        self._memory.take(owner, len(piece), until)
                    pieces += piece
            except ClientDisconnect:
                return None
            body = bytes(pieces)
            pieces.clear()
            return await turns.run(lane, request, lambda: work(body))

        return await self._placed(request, turns, answered)

    async def received(
        self, request: Request, passage: AbstractContextManager[Path], work: Callable[[Path], Response]
    ) -> Response:
        """What `work` answers once the body of a request, which may be large, was written to the path that `passage`
        gives and takes away."""

        async def answered(lane: Lane, _: ExitStack) -> Response | None:
            target = await anyio.to_thread.run_sync(passage.__enter__)
            try:
                await _written(request, target)
                return await self._large.run(lane, request, lambda: work(target))
            except ClientDisconnect:
                return None
            except OSError as problem:
                raise not_kept("This file", target.parent, problem) from problem
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(passage.__exit__, None, None, None)

        return await self._placed(request, self._large, answered, 1)

    async def _placed(
        self,
        request: Request,
        turns: Turns,
        answered: Callable[[Lane, ExitStack], Awaitable[Response | None]],
        share: int | None = None,
    ) -> Response:
        """An answer whose place, and what else was put into the stack, is kept until it was sent."""
        owner = owner_of(request)
        try:
            with ExitStack() as until:
                lane = until.enter_context(turns.place(owner, share or _share_of(owner)))
                with ExitStack() as meanwhile:
                    found = await answered(lane, meanwhile) or Response(status_code=LEFT)
                if (size := len(getattr(found, "body", b""))) > AT_ONCE:
                    self._memory.take(owner, size, until)
                return _Placed(found, until.pop_all())
        except StudioError as problem:
            return self._refuse(problem)


async def _written(request: Request, target: Path) -> None:
    """Writes the body to `target`. Raises StudioError where the disk becomes too full of it, OSError."""
    left, unseen = int(request.headers.get("content-length", 0)), LOOK
    async with await anyio.open_file(target, "xb") as file:
        async for piece in request.stream():
            if unseen >= LOOK:
                await anyio.to_thread.run_sync(check_free, target.parent, left)
                unseen = 0
            await file.write(piece)
            left, unseen = max(left - len(piece), 0), unseen + len(piece)


class _Placed(Response):
    """An answer whose caller keeps their place until it was sent: who reads slowly waits for themselves."""

    def __init__(self, inside: Response, place: ExitStack) -> None:
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
