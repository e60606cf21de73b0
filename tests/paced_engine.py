"""A real engine that a test can hold between two steps of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from studio.engine import Engine, Picture, Progress
from studio.requests import TextToImage

PATIENCE = 60.0  # seconds; far more than anything takes that waits this long at most


class PacedEngine(Engine):
    """The real engine, but each step but the last waits for a permit, so that a test can look at a run half way."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.default_model)
        self._inner = engine
        self.paced = True
        self.fails_on: dict[int, Exception] = {}
        self.painted: list[int] = []

    @property
    def paced(self) -> bool:
        return self._paced

    @paced.setter
    def paced(self, paced: bool) -> None:
        """Not while a run is held: what earlier tests have allowed is forgotten."""
        self._paced = paced
        if paced:
            self._permits = threading.Semaphore(0)
            self._held = threading.Semaphore(0)

    @property
    def loaded_model(self) -> str | None:
        return self._inner.loaded_model

    def load(self, name: str | None = None) -> None:
        self._inner.load(name)

    def look(self, model: str) -> Any:
        return self._inner.look(model)

    def decode(self, request: TextToImage, latents: Any) -> Any:
        return self._inner.decode(request, latents)

    def decode_seconds(self, request: TextToImage) -> float | None:
        return self._inner.decode_seconds(request)

    def encode(self, request: TextToImage, pixels: Any, layout: Any, like: Any) -> Any:
        return self._inner.encode(request, pixels, layout, like)

    def allow(self, steps: int = 1) -> None:
        for _ in range(steps):
            self._permits.release()

    def wait_until_held(self) -> None:
        """Returns once a run has finished computing a step and waits for its permit."""
        assert self._held.acquire(timeout=PATIENCE)

    def run(
        self,
        request: TextToImage,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        previews: bool = True,
        **options: Any,
    ) -> Picture:
        self.painted.append(request.seed)
        if request.seed in self.fails_on:
            raise self.fails_on[request.seed]

        def held() -> bool:
            if self.paced:
                self._held.release()
                assert self._permits.acquire(timeout=PATIENCE)
            return cancelled is not None and cancelled()

        return self._inner.run(request, on_progress, held, previews, **options)
