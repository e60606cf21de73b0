"""Our routes below /studio for grids: two parameters with values, painted as one job, and the sheet that comes of it.

POST /studio/grids/check    {"request", "across": {"field", "values"}, "down": the same or null}  ->  what it would be
POST /studio/grids          the same  ->  the grid, begun; its `job` can be stopped and followed as any other
POST /studio/grids/ID/again paints the cells that have no picture: the job was stopped, failed, or died with the studio
GET  /studio/grids          those that are kept, newest first; /studio/grids/ID one of them; /fields what there is
GET  /studio/grids/ID/sheet.png   the pictures with their labels, as far as they are painted
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio import __version__
from studio.diffusion.strengths import Strengths
from studio.engine import Engine
from studio.errors import InvalidRequest, NotFound, StudioError
from studio.grids import CELL_LIMIT, FIELDS, TEXT_LIMIT, Calibrated, Grid, axis_of, sentence
from studio.imaging.geometry import Extent
from studio.imaging.png import Pixels, read_picture, write_png
from studio.imaging.sheet import Sheet, draw_sheet
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.models import presets
from studio.project.grid_store import KEPT_GRIDS, GridStore, KeptGrid
from studio.project.store import PictureStore
from studio.project.wordbook import Wordbooks
from studio.prompts.prepared import as_written, prepared
from studio.requests import JSON_DEPTH, JSON_LIMIT, TextToImage
from studio.web.desk import Desk, answer, json_object, only
from studio.web.owners import owner_of
from studio.web.routes import request_of

PAINTINGS = 512  # jobs of grids that are remembered: more than can wait
CUT = "cut"  # the state of a grid whose job died with the process
SHEET_KEY = "wavebrush-grid"  # the iTXt key under which a sheet says what it is

_RESTING = {"ahead": 0, "step": 0, "steps": 0, "seconds": 0.0, "eta_job": None}  # of a job that is not here any more
_BODY_LIMIT = JSON_LIMIT + 8 * TEXT_LIMIT


@dataclasses.dataclass(frozen=True)
class _Painting:
    """The job that paints a grid, and which of its cells are the pictures of the job."""

    job: str
    cells: tuple[int, ...]


class Grids:
    """The grids that are kept, and the jobs that paint them in this process."""

    def __init__(self, kept: GridStore, jobs: Jobs, store: PictureStore) -> None:
        self._kept = kept
        self._jobs = jobs
        self._store = store
        self._paintings: dict[str, _Painting] = {}
        self._lock = threading.Lock()

    def begin(self, owner: str, grid: Grid, cells: Sequence[TextToImage]) -> dict[str, Any]:
        """Keeps a grid and begins to paint it; returns what is told of it. Raises Busy, StudioError without room."""
        kept = self._kept.add(owner, grid, cells)
        try:
            return self._paint(owner, kept, range(len(cells)))
        except BaseException:
            self._kept.discard(owner, kept.id)
            raise

    def again(self, owner: str, grid_id: str, engine: Engine) -> dict[str, Any]:
        """Paints the cells that have no picture. Raises NotFound, Busy, and InvalidRequest if there are none."""
        told, kept = self.one(owner, grid_id), self._kept.get(owner, grid_id)
        missing = [k for k, cell in enumerate(told["cells"]) if cell["id"] is None]
        if not told["ended"] or not missing:
            raise InvalidRequest("This grid is being painted." if missing else "All pictures of this grid are there.")
        request_of(kept.cells[missing[0]].to_dict(), engine)  # raises for another model than the one that is here
        self._kept.ended(owner, grid_id, None)
        return self._paint(owner, kept, missing)

    def one(self, owner: str, grid_id: str) -> dict[str, Any]:
        """What is told of a grid. Raises NotFound."""
        return self._told(owner, self._kept.get(owner, grid_id))

    def newest(self, owner: str) -> list[dict[str, Any]]:
        """What a list tells of each grid: all but its cells, and what they have in common but in words."""
        told = (self._told(owner, kept) for kept in self._kept.newest(owner, KEPT_GRIDS))
        return [{name: value for name, value in one.items() if name not in ("base", "cells")} for one in told]

    def of(self, owner: str, grid_id: str) -> KeptGrid:
        """Raises NotFound."""
        return self._kept.get(owner, grid_id)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _paint(self, owner: str, kept: KeptGrid, cells: Sequence[int]) -> dict[str, Any]:
        places = tuple(cells)
        snapshot = self._jobs.submit(
            [kept.cells[k] for k in places],
            owner,
            lambda index, picture: self._kept.painted(owner, kept.id, places[index], picture),
        )
        with self._lock:
            self._paintings.pop(kept.id, None)
            self._paintings[kept.id] = _Painting(snapshot["id"], places)
            while len(self._paintings) > PAINTINGS:
                del self._paintings[next(iter(self._paintings))]
        return self._told(owner, self._kept.get(owner, kept.id))

    def _told(self, owner: str, kept: KeptGrid) -> dict[str, Any]:
        """What the page is told of a grid: its sides, and how far its pictures are."""
        with self._lock:
            painting = self._paintings.get(kept.id)
        snapshot = self._jobs.snapshot(painting.job, owner) if painting is not None else None
        slots = dict(zip(painting.cells, snapshot["pictures"], strict=True)) if painting and snapshot else {}
        cells = [self._cell(owner, picture, slots.get(place)) for place, picture in enumerate(kept.pictures)]
        way: dict[str, Any]
        if snapshot is None:
            is_whole = all(cell["id"] is not None for cell in cells)
            way = {"state": "done" if is_whole else kept.ended or CUT, "error": kept.error, **_RESTING}
        else:
            way = {name: snapshot[name] for name in ("state", "error", *_RESTING)}
            if way["state"] in FINISHED and kept.ended is None:
                with contextlib.suppress(StudioError):  # said again after the next look
                    self._kept.ended(owner, kept.id, way["state"], way["error"])
        return {
            "id": kept.id,
            "job": painting.job if painting and snapshot else None,
            **kept.grid.to_dict(),
            "same": sentence(kept.grid.base, _running(kept.grid)),
            **way,
            "ended": snapshot is None or way["state"] in FINISHED,
            "cells": cells,
        }

    def _cell(self, owner: str, picture: str | None, slot: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is told of a cell: the picture that is kept of it, and the one of the job, if one is at work."""
        for id_ in (
            slot["id"] if slot is not None else None,
            picture,
        ):  # the job's may not have found room on the disk
            if id_ is not None and self._store.has(owner, id_):
                return {"id": id_, "state": "done"}
        return {"id": None, "state": slot["state"] if slot is not None and slot["state"] != "done" else "missing"}


def build_grid_routes(
    engine: Engine, jobs: Jobs, store: PictureStore, wordbooks: Wordbooks, data: Path, desk: Desk
) -> APIRouter:
    """The routes of one studio, whose grids are kept below `data`."""
    router = APIRouter(prefix="/studio/grids", include_in_schema=False)
    kept = GridStore(data)
    kept.prepare()
    grids = Grids(kept, jobs, store)

    def wanted(body: bytes, owner: str) -> tuple[Grid, list[TextToImage]]:
        values = json_object(body, _BODY_LIMIT, JSON_DEPTH + 1)
        only(values, "request", "across", "down")
        base = as_written(request_of(values.get("request"), engine))
        down = values.get("down")
        grid = Grid(base, _axis(values.get("across"), "across"), _axis(down, "down") if down is not None else None)
        lists, weighs = wordbooks.lists(owner), engine.weighs(base.model)
        return grid, [prepared(cell, lists, weighs) for cell in grid.requests(_calibrated(data))]

    @router.get("/fields")
    async def fields(request: Request) -> Response:
        return await desk.shown(
            request,
            lambda: answer({"fields": [dataclasses.asdict(field) for field in FIELDS], "limit": CELL_LIMIT}),
        )

    @router.post("/check")
    async def check(request: Request) -> Response:
        def work(body: bytes) -> Response:
            try:
                grid, cells = wanted(body, owner_of(request))
            except InvalidRequest as problem:  # nothing failed: somebody is still typing
                return answer({"count": None, "error": str(problem), "field": problem.field})
            each = [engine.seconds_for(cell) for cell in cells]
            return answer(
                {
                    "count": len(cells),
                    "across": grid.across.to_dict(),
                    "down": grid.down.to_dict() if grid.down is not None else None,
                    "seconds": sum(filter(None, each)) if all(each) else None,
                }
            )

        return await desk.taken(request, work)

    @router.post("")
    async def begin(request: Request) -> Response:
        def work(body: bytes) -> Response:
            owner = owner_of(request)
            return answer(grids.begin(owner, *wanted(body, owner)), 202)

        return await desk.taken(request, work)

    @router.get("")
    async def begun(request: Request) -> Response:
        return await desk.shown(request, lambda: answer({"grids": grids.newest(owner_of(request))}))

    @router.get("/{grid_id}")
    async def one(request: Request, grid_id: str) -> Response:
        return await desk.shown(request, lambda: answer(grids.one(owner_of(request), grid_id)))

    @router.post("/{grid_id}/again")
    async def again(request: Request, grid_id: str) -> Response:
        return await desk.taken(request, lambda _: answer(grids.again(owner_of(request), grid_id, engine), 202))

    @router.get("/{grid_id}/sheet.png")
    async def sheet(request: Request, grid_id: str) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            found, told = grids.of(owner, grid_id), grids.one(owner, grid_id)
            png = _sheet(found, [cell["id"] for cell in told["cells"]], store, owner)
            headers = {
                "Cache-Control": "no-store",
                "Content-Disposition": f'attachment; filename="{_name(found.grid)}"',
            }
            return Response(png, media_type="image/png", headers=headers)

        return await desk.shown(request, work, desk.heavy)

    return router


def _axis(values: object, side: str) -> Any:
    if not isinstance(values, Mapping) or not all(isinstance(values.get(name), str) for name in ("field", "values")):
        raise InvalidRequest('A side of a grid is {"field": "seed", "values": "1-4"}.', side)
    only(values, "field", "values")
    return axis_of(values["field"], values["values"], side)


def _calibrated(data: Path) -> Calibrated:
    def calibrated(request: TextToImage) -> Strengths | None:
        try:
            found = presets.find(request.model, request.solver, request.num_inference_steps, data)
        except StudioError:
            found = None
        if found is None:
            raise InvalidRequest(
                f"No correction was calibrated for {request.solver} with about {request.num_inference_steps} steps. "
                "Write off, or calibrate it first: python -m studio calibrate."
            )
        return found.strengths

    return calibrated


def _running(grid: Grid) -> list[str]:
    """The fields that are not the same in all cells."""
    fields = [axis.field for axis in (grid.across, grid.down) if axis is not None]
    return [
        "prompt" if field == "words" else "correction" if field.startswith(("correction", "strength")) else field
        for field in fields
    ]


def _sheet(kept: KeptGrid, ids: list[str | None], store: PictureStore, owner: str) -> bytes:
    """The sheet as PNG, with what it is inside. Raises NotFound if there is no picture yet."""
    grid = kept.grid
    if not any(ids):
        raise NotFound("No picture of this grid is painted yet.")

    def picture(row: int, column: int) -> Pixels | None:
        id_ = ids[row * grid.columns + column]
        png = store.png(owner, id_) if id_ is not None else None
        return read_picture(png) if png is not None else None

    extent = Extent(max(cell.width for cell in kept.cells), max(cell.height for cell in kept.cells))
    title = (
        grid.across.title if grid.down is None else f"{grid.across.title} to the right, {grid.down.title.lower()} down"
    )
    rows = grid.down.labels if grid.down is not None else ("",)
    words = Sheet(title, grid.across.labels, rows, f"{sentence(grid.base, _running(grid))} · wavebrush {__version__}")
    note = json.dumps({"format": 1, **grid.to_dict(), "pictures": ids}, sort_keys=True, ensure_ascii=False)
    return write_png(draw_sheet(words, extent, picture), {SHEET_KEY: note, "Software": f"wavebrush {__version__}"})


def _name(grid: Grid) -> str:
    sides = [axis.field for axis in (grid.across, grid.down) if axis is not None]
    return f"grid-{'-'.join(sides)}-{grid.base.seed}.png"
