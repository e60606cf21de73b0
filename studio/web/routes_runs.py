"""Our routes below /studio for recorded runs: steps as pictures, bands, curves, branches, files, uploads.

Ids are ours, and everything is looked up among what belongs to the visitor. Work that takes long goes through the same
queue as pictures do.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from studio import strict_json
from studio.engine import CannotShow, Engine
from studio.errors import Busy, InvalidRequest, StudioError
from studio.jobs import Jobs
from studio.project.runs import LatentsGone
from studio.project.uploads import Uploads
from studio.requests import JSON_DEPTH, JSON_LIMIT
from studio.viewer.branching import Wish, branch_of
from studio.viewer.calibrated import strengths_to_start_from
from studio.viewer.facts import facts_of, lines_of
from studio.viewer.source import NotThere
from studio.viewer.viewer import BandWish, Viewer
from studio.web.desk import Desk
from studio.web.files import file_response
from studio.web.owners import owner_of
from studio.web.turns import Turns

BRANCH_LIMIT = 2 * JSON_LIMIT  # bytes
CACHED = {  # the whole address says what a picture shows, and to whom is in the cookie
    "Cache-Control": "private, max-age=3600",
    "Vary": "Cookie",
}


def build_run_routes(engine: Engine, jobs: Jobs, viewer: Viewer, uploads: Uploads) -> APIRouter:
    """The routes of one studio's runs."""
    router = APIRouter(prefix="/studio", include_in_schema=False)
    desk = Desk(bodies=2, refuse=refusal)
    quick, taken = desk.quick, desk.taken

    async def shown(request: Request, work: Callable[[], Response], turns: Turns = desk.heavy) -> Response:
        return await desk.shown(request, work, turns)

    @router.get("/runs")
    async def runs(request: Request) -> Response:
        wish = _Query(request)
        return await shown(
            request,
            lambda: _json({"runs": lines_of(viewer, owner_of(request), min(max(wish.whole("limit", 60), 1), 500))}),
            quick,
        )

    @router.get("/runs/{run_id}")
    async def facts(request: Request, run_id: str) -> Response:
        wish = _Query(request)
        return await shown(
            request,
            lambda: _json(
                facts_of(
                    viewer,
                    owner_of(request),
                    run_id,
                    wish.text("wavelet", "db2"),
                    wish.whole("levels", 4),
                    wish.text("look", "auto"),
                )
            ),
        )

    @router.get("/runs/{run_id}/strip.png")
    async def strip(request: Request, run_id: str) -> Response:
        return await shown(request, lambda: _png(viewer.strip(owner_of(request), run_id)), quick)

    @router.get("/runs/{run_id}/thumbnail.png")
    async def thumbnail(request: Request, run_id: str) -> Response:
        return await shown(request, lambda: _png(viewer.thumbnail(owner_of(request), run_id)), quick)

    @router.get("/runs/{run_id}/steps/{step}.png")
    async def step_png(request: Request, run_id: str, step: str) -> Response:
        wish = _Query(request)

        def work() -> Response:
            show = wish.text("show", "estimate")
            look = wish.text("look", "fast" if show == "noisy" else "full")
            size, gain = wish.whole_or_none("size"), wish.number("gain", 1.0)
            return _png(viewer.step(owner_of(request), run_id, _index(step), look, show, size, gain))

        return await shown(request, work)

    @router.get("/runs/{run_id}/steps/{step}/bands.png")
    async def bands_png(request: Request, run_id: str, step: str) -> Response:
        wish = _Query(request)

        def work() -> Response:
            png, width, height = viewer.bands(
                owner_of(request),
                run_id,
                _index(step),
                BandWish(
                    wavelet=wish.text("wavelet", "db2"),
                    levels=wish.whole("levels", 4),
                    space=wish.text("space", "picture"),
                    show=wish.text("show", "signed"),
                    added=wish.text("added", "0") == "1",
                    look=wish.text("look", "fast"),
                    size=wish.whole("size", 256),
                    channel=wish.whole_or_none("channel"),
                    only=wish.whole_or_none("band"),
                    gain=wish.number("gain", 1.0),
                ),
            )
            return _png(png, {"X-Tile-Width": str(width), "X-Tile-Height": str(height)})

        return await shown(request, work)

    @router.get("/runs/{run_id}/difference/{other_id}/{step}.png")
    async def difference(request: Request, run_id: str, other_id: str, step: str) -> Response:
        wish = _Query(request)

        def work() -> Response:
            index = _index(step)
            png, mean = viewer.difference(
                owner_of(request),
                run_id,
                other_id,
                index,
                wish.whole("other_step", index),
                wish.number("gain", 8.0),
                wish.text("look", "full"),
            )
            return _png(png, {"X-Mean-Difference": f"{mean:.4f}"})

        return await shown(request, work)

    @router.get("/runs/{run_id}/contact.png")
    async def contact(request: Request, run_id: str) -> Response:
        return await shown(
            request,
            lambda: _file(_png(viewer.contact_sheet(owner_of(request), run_id)), request, f"steps-{run_id}.png"),
        )

    @router.get("/runs/{run_id}/animation.gif")
    async def animation(request: Request, run_id: str) -> Response:
        wish = _Query(request)

        def work() -> Response:
            gif = viewer.animation(owner_of(request), run_id, wish.whole("size", 512), wish.number("fps", 8.0))
            response = Response(gif, media_type="image/gif", headers=CACHED)
            return _file(response, request, f"steps-{run_id}.gif")

        return await shown(request, work)

    @router.get("/runs/{run_id}/run.safetensors")
    async def run_file(request: Request, run_id: str) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            file = viewer.runs.opened(owner, run_id)  # from here on it stays readable, whatever makes room
            if file is None:
                if viewer.runs.get(owner, run_id) is None:
                    raise NotThere("There is no such run here.")
                raise LatentsGone("The pixels of this run were let go to make room. Run it again.")
            kind, headers = "application/octet-stream", {"Cache-Control": "no-store"}
            return file_response(file, kind, headers, f"run-{run_id}.safetensors")

        return await shown(request, work, desk.files)

    @router.put("/uploads")
    async def upload(request: Request) -> Response:
        def work(body: bytes) -> Response:
            if not body.startswith(b"\x89PNG\r\n\x1a\n"):
                raise InvalidRequest("Pictures are sent as PNG, which loses nothing.", "picture")
            upload_id, width, height = uploads.add(owner_of(request), body)
            return _json({"id": upload_id, "width": width, "height": height}, 201)

        return await taken(request, work)

    @router.post("/runs/{run_id}/branch")
    async def branch(request: Request, run_id: str) -> Response:
        def work(body: bytes) -> Response:
            owner = owner_of(request)
            shape = 'an object such as {"from": 5}'
            values = strict_json.read_object(body, BRANCH_LIMIT, JSON_DEPTH + 2, "branch", shape)
            wish = Wish.from_dict(values, functools.partial(uploads.picture, owner))
            return _json(jobs.submit_branch(branch_of(viewer, owner, run_id, wish, _running(engine)), owner), 202)

        return await taken(request, work)

    @router.get("/strengths")
    async def strengths(request: Request) -> Response:
        return await shown(request, lambda: _json(strengths_to_start_from(engine.default_model, viewer.data)), quick)

    return router


def refusal(problem: StudioError) -> JSONResponse:
    """What a person is told when something cannot be done, with the status that a program understands."""
    statuses = ((Busy, 429), (NotThere, 404), (LatentsGone, 410), (CannotShow, 409))
    status = next((status for kind, status in statuses if isinstance(problem, kind)), 422)
    return _json({"error": str(problem), "field": getattr(problem, "field", None)}, status)


@dataclasses.dataclass(frozen=True)
class _Query:
    """The values behind the question mark. Raises InvalidRequest, naming the value, when one is read that is wrong."""

    request: Request

    def text(self, name: str, default: str) -> str:
        return self.request.query_params.get(name, default)

    def whole(self, name: str, default: int) -> int:
        found = self.whole_or_none(name)
        return default if found is None else found

    def whole_or_none(self, name: str) -> int | None:
        text = self.request.query_params.get(name, "")
        if text == "":
            return None
        if len(text) > 9 or not (text.isascii() and text.removeprefix("-").isdigit()):
            raise InvalidRequest(f"{name} should be a whole number, not {text[:40]!r}.", name)
        return int(text)

    def number(self, name: str, default: float) -> float:
        text = self.request.query_params.get(name, "")
        try:
            return float(text[:40]) if text else default
        except ValueError:
            raise InvalidRequest(f"{name} should be a number, not {text[:40]!r}.", name) from None


def _running(engine: Engine) -> tuple[str | None, ...]:
    return engine.default_model, engine.loaded_model


def _index(step: str) -> int:
    if len(step) > 6 or not (step.isascii() and step.isdigit()):
        raise NotThere("Steps are counted from 0.")
    return int(step)


def _png(png: bytes, more: Mapping[str, str] | None = None) -> Response:
    return Response(png, media_type="image/png", headers={**CACHED, **(more or {})})


def _file(response: Response, request: Request, name: str) -> Response:
    if request.query_params.get("download") == "1":
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _json(value: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(value, status_code=status, headers={"Cache-Control": "no-store"})
