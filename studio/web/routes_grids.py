"""Our routes below /studio for grids: two parameters with values, painted as one job, and the sheet that comes of it.

POST /studio/grids/check    {"request", "across": {"field", "values"}, "down": the same or null}  ->  what it would be
POST /studio/grids          the same  ->  the grid, begun; its job can be stopped and followed as any other
GET  /studio/grids          those of this session, newest first; /studio/grids/ID one of them; /fields what there is
GET  /studio/grids/ID/sheet.png   the pictures with their labels, as far as they are painted
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
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
from studio.jobs import FINISHED, Jobs, too_many
from studio.models import presets
from studio.project.store import PictureStore
from studio.project.wordbook import Wordbooks
from studio.prompts.prepared import as_written, prepared
from studio.requests import JSON_DEPTH, JSON_LIMIT, TextToImage
from studio.web.desk import Desk, answer, json_object, only
from studio.web.owners import owner_of
from studio.web.routes import request_of

KEPT_GRIDS = 100  # of everybody, while the studio runs; their pictures stay in the gallery
SHOWN_GRIDS = 20  # in a list
SHEET_KEY = "wavebrush-grid"  # the iTXt key under which a sheet says what it is

_BODY_LIMIT = JSON_LIMIT + 8 * TEXT_LIMIT


@dataclasses.dataclass(frozen=True)
class _Kept:
    owner: str
    grid: Grid


class Grids:
    """The grids that were begun, by the id of their job."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job_id: str, owner: str, grid: Grid) -> None:
        with self._lock:
            self._kept[job_id] = _Kept(owner, grid)
            for one in too_many([(id_, kept.owner) for id_, kept in self._kept.items()], KEPT_GRIDS):
                del self._kept[one]

    def of(self, owner: str) -> list[tuple[str, Grid]]:
        """Those of this owner, newest first."""
        with self._lock:
            return [(job, kept.grid) for job, kept in reversed(self._kept.items()) if kept.owner == owner]

    def get(self, owner: str, job_id: str) -> Grid:
        """Raises NotFound."""
        with self._lock:
            kept = self._kept.get(job_id)
        if kept is None or kept.owner != owner:
            raise NotFound(
                "There is no such grid here. It may have been made before the studio was restarted; its pictures "
                "are in the gallery."
            )
        return kept.grid


def build_grid_routes(
    engine: Engine, jobs: Jobs, store: PictureStore, wordbooks: Wordbooks, data: Path, desk: Desk
) -> APIRouter:
    """The routes of one studio."""
    router = APIRouter(prefix="/studio/grids", include_in_schema=False)
    grids = Grids()

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
            grid, cells = wanted(body, owner)
            snapshot = jobs.submit(cells, owner)
            grids.add(snapshot["id"], owner, grid)
            return answer(_told(grid, snapshot), 202)

        return await desk.taken(request, work)

    @router.get("")
    async def begun(request: Request) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            told = []
            for job_id, grid in grids.of(owner)[:SHOWN_GRIDS]:
                snapshot = jobs.snapshot(job_id, owner)
                if snapshot is not None:
                    told.append(_told(grid, snapshot))
            return answer({"grids": told})

        return await desk.shown(request, work)

    @router.get("/{job_id}")
    async def one(request: Request, job_id: str) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            return answer(_told(grids.get(owner, job_id), _snapshot(jobs, job_id, owner)))

        return await desk.shown(request, work)

    @router.get("/{job_id}/sheet.png")
    async def sheet(request: Request, job_id: str) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            grid, snapshot = grids.get(owner, job_id), _snapshot(jobs, job_id, owner)
            png = _sheet(grid, [picture["id"] for picture in snapshot["pictures"]], store, owner)
            headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{_name(grid)}"'}
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


def _snapshot(jobs: Jobs, job_id: str, owner: str) -> dict[str, Any]:
    snapshot = jobs.snapshot(job_id, owner)
    if snapshot is None:
        raise NotFound("This grid was let go. Its pictures are in the gallery.")
    return snapshot


def _told(grid: Grid, snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """What the page is told of a grid: its sides, and how far its pictures are."""
    ended = snapshot["state"] in FINISHED
    return {
        "id": snapshot["id"],
        **grid.to_dict(),
        "same": sentence(grid.base, _running(grid)),
        **{name: snapshot[name] for name in ("state", "error", "ahead", "index", "step", "steps", "seconds")},
        "eta": snapshot["eta_job"],
        "ended": ended,
        "cells": [{"id": picture["id"], "state": picture["state"]} for picture in snapshot["pictures"]],
    }


def _running(grid: Grid) -> list[str]:
    """The fields that are not the same in all cells."""
    fields = [axis.field for axis in (grid.across, grid.down) if axis is not None]
    return [
        "prompt" if field == "words" else "correction" if field.startswith(("correction", "strength")) else field
        for field in fields
    ]


def _sheet(grid: Grid, ids: list[str | None], store: PictureStore, owner: str) -> bytes:
    """The sheet as PNG, with what it is inside. Raises NotFound if there is no picture yet."""
    shown = [id_ for id_ in ids if id_ is not None]
    if not shown:
        raise NotFound("No picture of this grid is painted yet.")

    def picture(row: int, column: int) -> Pixels | None:
        id_ = ids[row * grid.columns + column]
        png = store.png(owner, id_) if id_ is not None else None
        return read_picture(png) if png is not None else None

    sizes = [
        cell for axis in (grid.across, grid.down) if axis is not None and axis.field == "size" for cell in axis.values
    ]
    extent = Extent(
        max((width for width, _ in sizes), default=grid.base.width),
        max((height for _, height in sizes), default=grid.base.height),
    )
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
