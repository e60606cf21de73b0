"""The model wakes after the page has come. With a clock of our own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from bare_requests import Application, run

from studio.errors import StudioError
from studio.web import waking
from studio.web.waking import Arrivals, wake


class Clock(threading.Event):
    """Time passes only while somebody waits for this event; `during` may do something meanwhile."""

    def __init__(self, during: Callable[[Clock], object] = lambda clock: None) -> None:
        super().__init__()
        self.now = 100.0
        self._during = during

    def wait(self, timeout: float | None = None) -> bool:
        began = self.now
        self._during(self)
        self.now = max(self.now, began + (timeout or 0.0))
        return self.is_set()


def _arrivals(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Arrivals:
    monkeypatch.setattr(waking.time, "monotonic", lambda: clock.now)
    return Arrivals(Application())


def _ask(arrivals: Arrivals) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    async def request() -> None:
        await arrivals({"type": "http", "state": {}}, receive, send)

    run(request())


def test_it_waits_for_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def during(clock: Clock) -> None:
        if len(asked) < 3:
            clock.now += 0.3
            asked.append(clock.now)
            _ask(arrivals)

    clock = Clock(during)
    arrivals = _arrivals(clock, monkeypatch)
    arrivals.wait_for_rest(clock, rest=0.8, patience=5)
    assert clock.now == pytest.approx(asked[-1] + 0.8)


def test_a_page_that_never_rests_does_not_keep_the_model_from_waking(monkeypatch: pytest.MonkeyPatch) -> None:
    def during(clock: Clock) -> None:
        clock.now += 0.3
        _ask(arrivals)

    clock = Clock(during)
    arrivals = _arrivals(clock, monkeypatch)
    arrivals.wait_for_rest(clock, rest=0.8, patience=5)
    assert 105 <= clock.now <= 105.3


def test_a_studio_that_ends_does_not_wake_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(lambda clock: clock.set())
    done: list[str] = []
    wake(_arrivals(clock, monkeypatch), clock, lambda: done.append("list"), lambda: done.append("model")).join()
    assert done == ["list"]


def test_what_fails_is_told_and_the_model_wakes_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise StudioError("No room.")

    def breaks() -> None:
        raise KeyError("a mistake of ours")

    clock = Clock()
    done: list[str] = []
    with caplog.at_level(logging.WARNING):
        wake(_arrivals(clock, monkeypatch), clock, fails, breaks, lambda: done.append("model")).join()
    assert done == ["model"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
