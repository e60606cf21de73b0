"""Whose request is computed now: fair among people, bounded for each, dropped where nobody waits for it any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request

from studio.errors import Busy
from studio.viewer.source import only_while_wanted

Value = TypeVar("Value")


@dataclass(eq=False)
class Lane:
    """The requests of one owner: how many there are, and the places that they share."""

    limiter: anyio.CapacityLimiter
    inside: int = 0


class Turns:
    """Work in threads, `at_once` pieces of it; of one owner `share` pieces, while up to `waiting` more wait.

    Used from one event loop.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._limiter = anyio.CapacityLimiter(at_once)
        self._waiting = waiting
        self._lanes: dict[str, Lane] = {}

    @contextlib.contextmanager
    def place(self, owner: str, share: int) -> Iterator[Lane]:
        """Counts a request of `owner` for as long as it is answered. Raises Busy if there are too many."""
        share = min(share, self._at_once)
        lane = self._lanes.setdefault(owner, Lane(anyio.CapacityLimiter(share)))
        if lane.inside >= share + self._waiting:
            raise Busy(f"{lane.inside} of your requests are being answered already. Wait for some of them.")
        lane.inside += 1
        try:
            yield lane
        finally:
            lane.inside -= 1
            if not lane.inside:
                self._lanes.pop(owner, None)

    async def run(self, lane: Lane, request: Request, work: Callable[[], Value]) -> Value | None:
        """What `work` returns, from a thread; None where the caller left meanwhile, which ends the work early.

        The request's body must have been read, or be empty.
        """
        gone = threading.Event()
        found: list[Value] = []
        failed: list[Exception] = []

        def wanted_work() -> Value:
            with only_while_wanted(lambda: not gone.is_set()):
                return work()

        async def watch(scope: anyio.CancelScope) -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            gone.set()
            scope.cancel()  # whoever still waits goes; whoever is at work looks at `gone`

        async with anyio.create_task_group() as group:
            group.start_soon(watch, group.cancel_scope)
            try:
                async with lane.limiter:
                    found.append(await anyio.to_thread.run_sync(wanted_work, limiter=self._limiter))
            except Exception as problem:  # raised below, outside the group that would wrap it
                failed.append(problem)
            group.cancel_scope.cancel()
        if gone.is_set():
            return None
        if failed:
            raise failed[0]
        return found[0]
