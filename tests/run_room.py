"""A viewer with its engine, for tests that branch runs without a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studio.engine import Engine
from studio.project.runs import RunStore
from studio.requests import TextToImage
from studio.viewer.branching import Wish, branch_of, paint
from studio.viewer.keeping import keep
from studio.viewer.viewer import Viewer


class Room:
    """Runs and branches of one person, kept in a folder as jobs keep them."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        runs = RunStore(folder)
        runs.prepare()
        self.viewer = Viewer(engine, runs, data=folder)
        self.engine = engine
        self.pngs: dict[str, bytes] = {}  # of every picture, by its run
        self._made = 0

    def _id(self) -> str:
        self._made += 1
        return f"{self._made:013d}-{'0' * 16}"

    def make(self, request: TextToImage) -> tuple[str, np.ndarray]:
        picture = self.engine.run(request, record=True)
        run_id = self._id()
        assert keep(self.viewer, "me", run_id, picture, self._made) is not None
        self.pngs[run_id] = picture.to_png()
        return run_id, picture.pixels

    def branch(self, run: str, uploads: dict[str, np.ndarray] | None = None, **wish: object) -> tuple[str, np.ndarray]:
        read = Wish.from_dict(wish, (uploads or {}).get)
        branch = branch_of(self.viewer, "me", run, read, (self.engine.default_model,))
        picture = paint(self.viewer, "me", branch)
        run_id = self._id()
        assert keep(self.viewer, "me", run_id, picture, self._made, branch) is not None
        self.pngs[run_id] = picture.to_png()
        return run_id, picture.pixels
