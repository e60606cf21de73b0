"""The model wakes beside the page, and lets the page go first: loading it keeps the interpreter busy for seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from studio.errors import StudioError

REST = 0.8  # seconds without a request after which nobody seems to wait for the page
PATIENCE = 5.0  # seconds after the start at which the model wakes in any case

log = logging.getLogger(__name__)


class Arrivals:
    """An application that remembers when its last request came."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._last = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._last = time.monotonic()
        await self._app(scope, receive, send)

    def wait_for_rest(self, ended: threading.Event, rest: float = REST, patience: float = PATIENCE) -> None:
        """Returns once no request has come for `rest` seconds, after `patience` seconds, or when `ended` is set."""
        until = time.monotonic() + patience
        while (left := min(self._last + rest, until) - time.monotonic()) > 0:
            if ended.wait(left):
                return


def wake(arrivals: Arrivals, ended: threading.Event, *tasks: Callable[[], object]) -> threading.Thread:
    """Begins a thread that does the tasks, one after another: the first ones at once, the last one after a rest."""

    def work() -> None:
        for task in tasks[:-1]:
            _done(task)
        arrivals.wait_for_rest(ended)
        if not ended.is_set():
            _done(tasks[-1])

    thread = threading.Thread(target=work, name="studio-wake", daemon=True)
    thread.start()
    return thread


def _done(task: Callable[[], object]) -> None:
    try:
        task()
    except StudioError as problem:
        log.warning("%s", problem)
    except Exception:
        log.exception("What was to be ready before anybody asks could not be made ready")
