"""Our routes below /studio for selections that take thought. Pixels come by their ids, masks go as grey PNGs.

A wand with a hard edge is none of them: the page takes the same pixels itself (`assets/canvas_flood.js`), at once.

POST /studio/selections/wand     {"source": PIXELS, "x", "y", "tolerance", "contiguous", "radius"}: its edge is fitted
POST /studio/selections/grabcut  {"source": PIXELS, "box": {"x", "y", "width", "height"}} or {..., "scribble": PIXELS}
POST /studio/selections/refine   {"source": PIXELS, "mask": PIXELS, "radius"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from studio.errors import InvalidRequest, NotFound, shown_value
from studio.imaging.geometry import Bounds
from studio.imaging.plain_png import write_plain
from studio.project.pixels_store import PixelStore
from studio.web.desk import Desk, json_object, only
from studio.web.owners import owner_of

BODY_LIMIT = 4096  # bytes
FARTHEST = 1_000_000  # px; no box is larger or farther away
_LEVEL = 1  # zlib's: masks are packed well by the fastest

Values = Mapping[str, Any]


def build_selection_routes(pixels: PixelStore, desk: Desk) -> APIRouter:
    """The routes of one studio's selections."""
    router = APIRouter(prefix="/studio/selections", include_in_schema=False)

    async def selected(request: Request, select: Callable[[Values, str], NDArray[np.uint8]]) -> Response:
        def work(body: bytes) -> Response:
            mask = select(json_object(body, BODY_LIMIT, 2), owner_of(request))
            return Response(write_plain(mask, _LEVEL), media_type="image/png", headers={"Cache-Control": "no-store"})

        return await desk.taken(request, work)

    @router.post("/wand")
    async def wand(request: Request) -> Response:
        def select(values: Values, owner: str) -> NDArray[np.uint8]:
            from studio.imaging import selection

            only(values, "source", "x", "y", "tolerance", "contiguous", "radius")
            contiguous = values.get("contiguous", True)
            if not isinstance(contiguous, bool):
                raise InvalidRequest(f"contiguous is true or false, not {shown_value(contiguous)}.", "contiguous")
            names = ("x", "y", "tolerance", "radius")
            x, y, tolerance, radius = (_whole(values, name, FARTHEST) for name in names)
            colours = _colours(pixels, owner, values)
            return selection.refined(colours, selection.wand(colours, x, y, tolerance, contiguous), radius)

        return await selected(request, select)

    @router.post("/grabcut")
    async def grabcut(request: Request) -> Response:
        def select(values: Values, owner: str) -> NDArray[np.uint8]:
            from studio.imaging import selection

            only(values, "source", "box", "scribble")
            if ("box" in values) == ("scribble" in values):
                raise InvalidRequest("Say where the object is by a box or by a scribble.", "box")
            if "box" in values:
                return selection.cut_out_box(_colours(pixels, owner, values), _box(values["box"]))
            return selection.cut_out_scribble(
                _colours(pixels, owner, values), _grey(pixels, owner, values, "scribble")
            )

        return await selected(request, select)

    @router.post("/refine")
    async def refine(request: Request) -> Response:
        def select(values: Values, owner: str) -> NDArray[np.uint8]:
            from studio.imaging import selection

            only(values, "source", "mask", "radius")
            radius = _whole(values, "radius", FARTHEST)
            return selection.refined(_colours(pixels, owner, values), _grey(pixels, owner, values, "mask"), radius)

        return await selected(request, select)

    return router


def _found(pixels: PixelStore, owner: str, values: Values, field: str) -> NDArray[np.uint8]:
    pixels_id = values.get(field)
    if not isinstance(pixels_id, str):
        raise InvalidRequest(f"{field} is the id of pixels, not {shown_value(pixels_id)}.", field)
    found = pixels.pixels(owner, pixels_id)
    if found is None:
        raise NotFound(f"The pixels of the {field} are not there any more. Send them again.")
    return found


def _colours(pixels: PixelStore, owner: str, values: Values) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W, 4)."""
    found = _found(pixels, owner, values, "source")
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, axis=2)


def _grey(pixels: PixelStore, owner: str, values: Values, field: str) -> NDArray[np.uint8]:
    found = _found(pixels, owner, values, field)
    if found.ndim != 2:
        raise InvalidRequest(f"The {field} should be a grey PNG.", field)
    return found


def _whole(values: Values, name: str, limit: int) -> int:
    value = values.get(name)
    if type(value) is not int or abs(value) > limit:
        raise InvalidRequest(f"{name} should be a whole number, not {shown_value(value)}.", name)
    return value


def _box(value: object) -> Bounds:
    if not isinstance(value, Mapping) or set(value) != {"x", "y", "width", "height"}:
        raise InvalidRequest('A box is an object like {"x": 10, "y": 20, "width": 200, "height": 100}.', "box")
    x, y, width, height = (_whole(value, side, FARTHEST) for side in ("x", "y", "width", "height"))
    if width < 1 or height < 1:
        raise InvalidRequest(f"A box has sides of at least 1 pixel, not {width} × {height}.", "box")
    return Bounds(x, y, width, height)
