"""Turns: who may be at work, in which order, and how long somebody has their place."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from bare_requests import run
from fastapi import Request
from fastapi.responses import Response
from starlette.types import Message

from studio.errors import Busy
from studio.web.desk import Desk
from studio.web.turns import Turns

PATIENCE = 60.0  # s


def _request(owner: str = "ann") -> Request:
    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    return Request({"type": "http", "method": "GET", "headers": [], "state": {"user": owner}}, receive)


def test_nobodys_second_comes_before_another_ones_first() -> None:
    turns, go_on, entered = Turns(1, 1), threading.Event(), threading.Event()
    order: list[str] = []

    async def ask(who: str) -> None:
        def work() -> str:
            entered.set()
            assert go_on.wait(PATIENCE)
            order.append(who)
            return who

        with turns.place(who[:3], 4) as lane:
            assert await turns.run(lane, _request(), work) == who

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for who in ("ann 1", "ann 2", "bob 1"):
                group.start_soon(ask, who)
                await anyio.wait_all_tasks_blocked()
                await anyio.to_thread.run_sync(entered.wait, PATIENCE)
            with pytest.raises(Busy), turns.place("ann", 4):
                pass
            go_on.set()

    run(all_of_them())
    assert order == ["ann 1", "bob 1", "ann 2"]


def _places(desk: Desk) -> int:
    return sum(lane.inside for lane in desk.quick._lanes.values())


def _sent(then: Callable[[Desk, Response, Request], Any]) -> None:
    async def ask() -> None:
        desk, request = Desk(), _request()
        found = await desk.shown(request, lambda: Response(b"x" * 10))
        assert _places(desk) == 1
        await then(desk, found, request)
        del found
        await anyio.sleep(0)  # until then, the interpreter holds what this step of the task was given
        gc.collect()
        assert _places(desk) == 0

    run(ask())


def test_a_place_is_kept_until_the_answer_was_sent() -> None:
    async def then(desk: Desk, found: Response, request: Request) -> None:
        async def send(message: Message) -> None:
            assert _places(desk) == 1

        await found(request.scope, request.receive, send)
        assert _places(desk) == 0

    _sent(then)


def test_a_place_is_free_again_when_the_caller_leaves_in_the_middle() -> None:
    async def then(desk: Desk, found: Response, request: Request) -> None:
        async def send(message: Message) -> None:
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            await found(request.scope, request.receive, send)
        assert _places(desk) == 0

    _sent(then)


def test_a_place_is_free_again_when_the_answer_is_never_sent() -> None:
    async def then(desk: Desk, found: Response, request: Request) -> None:
        pass

    _sent(then)
