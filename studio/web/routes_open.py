"""Our route below /studio for opening a picture file from anywhere: it becomes pixels that documents keep.

POST /studio/pictures/open[?fit=1][&as=mask]   the body is the file
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio.errors import InvalidRequest, shown_value
from studio.imaging.plain_png import write_plain
from studio.project.pixels_store import PixelStore
from studio.web.desk import Desk, Query, answer
from studio.web.owners import owner_of

_LEVEL = 3  # zlib's: a large photograph is packed in a second or two


def build_open_routes(pixels: PixelStore, desk: Desk) -> APIRouter:
    """The route of one studio."""
    router = APIRouter(prefix="/studio", include_in_schema=False)

    @router.post("/pictures/open")
    async def open_file(request: Request) -> Response:
        def work(body: bytes) -> Response:
            from studio.imaging.masks import mask_of
            from studio.imaging.picture_files import open_picture

            query = Query(request)
            kind = query.text("as", "picture")
            if kind not in ("picture", "mask"):
                raise InvalidRequest(f"A file is opened as a picture or as a mask, not {shown_value(kind)}.", "as")
            opened = open_picture(body, fit=query.text("fit") == "1")
            values = opened.pixels if kind == "picture" else mask_of(opened.pixels)
            pixels_id, width, height = pixels.add(owner_of(request), write_plain(values, _LEVEL))
            return answer({"id": pixels_id, "width": width, "height": height, "notes": list(opened.notes)}, 201)

        return await desk.taken(request, work)

    return router
