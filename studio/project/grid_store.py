"""The grids that a person began, on disk: what they run over, and which pictures there are of them.

One small JSON file per grid in a folder per owner, written whole. A grid outlives the job that painted it: what is
not painted when the process ends can be painted later, from the requests that stand here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio import strict_json
from studio.errors import NotFound, StudioError
from studio.grids import CELL_LIMIT, TEXT_LIMIT, Axis, Grid
from studio.project.disk import check_free, not_kept, taken
from studio.project.kept_run import is_plain_file
from studio.project.names import HOME, PICTURE_ID, home_of, new_id
from studio.requests import JSON_DEPTH, TextToImage
from studio.whole_file import write_whole

KEPT_GRIDS = 100  # of one owner; their pictures stay in the gallery
GRIDS_BUDGET = 32 * 1024**2  # bytes on disk of one owner's; the newest stays in any case
FILE_LIMIT = 4 * 1024**2  # bytes of one grid
FORMAT = 1
ENDS = ("done", "stopped", "failed")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptGrid:
    """A grid, cell by cell and row by row: what each is painted from, and its picture once there is one."""

    id: str
    grid: Grid
    cells: tuple[TextToImage, ...]
    pictures: tuple[str | None, ...]
    ended: str | None = None  # how its job ended, one of ENDS; None while it goes on, or if the process ended first
    error: str | None = None


class GridStore:
    """The grids of everybody who uses this studio, below one folder. Safe to call from several threads."""

    def __init__(self, folder: Path, limit: int = KEPT_GRIDS, budget: int = GRIDS_BUDGET) -> None:
        self._folder = folder / "grids"
        self._limit, self._budget = limit, budget
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Deletes what a killed process left half written."""
        with contextlib.suppress(OSError):
            for home in self._folder.iterdir():
                if HOME.fullmatch(home.name) and home.is_dir() and not home.is_symlink():
                    for partial in home.glob(".*.part"):
                        partial.unlink(missing_ok=True)

    def add(self, owner: str, grid: Grid, cells: Sequence[TextToImage]) -> KeptGrid:
        """Keeps a new grid, of which nothing is painted. The oldest go where there are too many.

        Raises StudioError if the disk does not take it.
        """
        grid_id = new_id(time.time_ns() // 1_000_000)
        kept = KeptGrid(grid_id, grid, tuple(cells), (None,) * len(cells))
        with self._lock:
            self._write(owner, kept)
            self._keep_to_budget(owner, kept.id)
        return kept

    def painted(self, owner: str, grid_id: str, cell: int, picture_id: str | None) -> None:
        """Keeps that this is the picture of a cell; None: that it has none any more. Raises as `change` does."""

        def put(kept: KeptGrid) -> KeptGrid:
            pictures = (*kept.pictures[:cell], picture_id, *kept.pictures[cell + 1 :])
            return dataclasses.replace(kept, pictures=pictures)

        self._change(owner, grid_id, put)

    def ended(self, owner: str, grid_id: str, how: str | None, error: str | None = None) -> None:
        """Keeps how the job of a grid ended; None: that it goes on. Raises as `change` does."""
        self._change(owner, grid_id, lambda kept: dataclasses.replace(kept, ended=how, error=error))

    def discard(self, owner: str, grid_id: str) -> None:
        """Forgets a grid. Its pictures stay."""
        if PICTURE_ID.fullmatch(grid_id):
            with self._lock, contextlib.suppress(OSError):
                self._file(owner, grid_id).unlink(missing_ok=True)

    def get(self, owner: str, grid_id: str) -> KeptGrid:
        """Raises NotFound."""
        found = self._read(owner, grid_id) if PICTURE_ID.fullmatch(grid_id) else None
        if found is None:
            raise NotFound("There is no such grid here (any more). Its pictures are in the gallery.")
        return found

    def newest(self, owner: str, limit: int) -> list[KeptGrid]:
        """The owner's newest grids, newest first. Files that are not ours are left alone."""
        found = (self._read(owner, grid_id) for grid_id in self._ids(owner)[:limit])
        return [kept for kept in found if kept is not None]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _home(self, owner: str) -> Path:
        return self._folder / home_of(owner)

    def _file(self, owner: str, grid_id: str) -> Path:
        return self._home(owner) / f"{grid_id}.json"

    def _ids(self, owner: str) -> list[str]:
        """Newest first."""
        found = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._home(owner)):
                grid_id, _, ending = entry.name.rpartition(".")
                if ending == "json" and PICTURE_ID.fullmatch(grid_id):
                    found.append(grid_id)
        return sorted(found, reverse=True)

    def _read(self, owner: str, grid_id: str) -> KeptGrid | None:
        file = self._file(owner, grid_id)
        try:
            return _from_json(grid_id, file.read_bytes()) if is_plain_file(file, FILE_LIMIT) else None
        except (OSError, ValueError, TypeError, KeyError, StudioError) as problem:
            log.warning("The grid %s cannot be read: %s", file, problem)
            return None

    def _change(self, owner: str, grid_id: str, change: Any) -> None:
        with self._lock:
            before = self.get(owner, grid_id)
            after = change(before)
            if after != before:
                self._write(owner, after)

    def _write(self, owner: str, kept: KeptGrid) -> None:
        data = _to_json(kept)
        if len(data) > FILE_LIMIT:
            raise StudioError("The words of this grid are more than can be kept. Make them shorter.")
        check_free(self._folder, taken(len(data)))
        try:
            write_whole(self._file(owner, kept.id), data, flush=True)
        except StudioError as problem:
            if isinstance(problem.__cause__, OSError):
                raise not_kept("The grid", self._folder, problem.__cause__) from problem
            raise

    def _keep_to_budget(self, owner: str, newest: str) -> None:
        total = 0
        for number, grid_id in enumerate(self._ids(owner)):
            with contextlib.suppress(OSError):
                file = self._file(owner, grid_id)
                total += taken(file.stat().st_size)
                if grid_id != newest and (number >= self._limit or total > self._budget):
                    file.unlink()


def _to_json(kept: KeptGrid) -> bytes:
    base = kept.grid.base.to_dict()
    sides = (kept.grid.across, kept.grid.down)
    values = {
        "format": FORMAT,
        "base": base,
        "sides": [
            {"field": side.field, "values": side.values, "labels": side.labels} for side in sides if side is not None
        ],
        "cells": [_difference(cell.to_dict(), base) for cell in kept.cells],
        "pictures": kept.pictures,
        "ended": kept.ended,
        "error": kept.error,
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode()


def _difference(cell: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """What a cell's request says otherwise than the base, and the names of what it does not say at all."""
    changed = {name: value for name, value in cell.items() if name not in base or base[name] != value}
    return {"set": changed, "without": sorted(base.keys() - cell.keys())}


def _from_json(grid_id: str, data: bytes) -> KeptGrid:
    """Raises ValueError, KeyError, TypeError or StudioError for what no studio wrote."""
    found = strict_json.loads(data, max_bytes=FILE_LIMIT, max_depth=JSON_DEPTH + 4)
    if not isinstance(found, dict) or found["format"] != FORMAT:
        raise ValueError("it is not of format 1")
    base = found["base"]
    if not isinstance(base, dict) or not all(isinstance(each, dict) for each in (*found["sides"], *found["cells"])):
        raise ValueError("its parts are no objects")
    sides = [_axis(side) for side in found["sides"]]
    if not 1 <= len(sides) <= 2:
        raise ValueError("it has one side or two")
    grid = Grid(TextToImage.from_dict(base), *sides)
    cells = tuple(
        TextToImage.from_dict({name: base[name] for name in base if name not in cell["without"]} | cell["set"])
        for cell in found["cells"]
    )
    pictures = tuple(found["pictures"])
    if not len(cells) == len(pictures) == grid.columns * grid.rows:
        raise ValueError("its cells are not those of its sides")
    if not all(picture is None or PICTURE_ID.fullmatch(picture) for picture in pictures):
        raise ValueError("a picture of it is none")
    if found["ended"] not in (None, *ENDS) or not isinstance(found["error"], str | None):
        raise ValueError("it ended in no known way")
    return KeptGrid(grid_id, grid, cells, pictures, found["ended"], found["error"])


def _axis(side: dict[str, Any]) -> Axis:
    values, labels = side["values"], side["labels"]
    if not 1 <= len(values) == len(labels) <= CELL_LIMIT:
        raise ValueError("a side has no value for each label")
    if not all(isinstance(label, str) and len(label) <= TEXT_LIMIT for label in (side["field"], *labels)):
        raise ValueError("a label is no text")
    axis = Axis(side["field"], tuple(tuple(v) if isinstance(v, list) else v for v in values), tuple(labels))
    _ = axis.title  # raises KeyError for a field that there is none of
    return axis
