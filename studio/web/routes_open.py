"""Our route below /studio for opening a picture file from anywhere: it becomes pixels that documents keep.

POST /studio/pictures/open[?fit=1][&as=mask]   the body is the file

Where it is the file of a picture in the gallery, the answer names that picture: what is made of it goes on from there.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio.errors import InvalidRequest, shown_value
from studio.imaging.plain_png import write_plain
from studio.project.library import Library
from studio.project.pixels_store import PixelStore
from studio.web.desk import Desk, Query, answer
from studio.web.owners import owner_of

_LEVEL = 3  # zlib's: a large photograph is packed in a second or two


def build_open_routes(pixels: PixelStore, library: Library, desk: Desk) -> APIRouter:
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
            owner = owner_of(request)
            pixels_id, width, height = pixels.add(owner, write_plain(values, _LEVEL))
            ours = library.same_file(owner, body) if kind == "picture" else None
            size = {"width": width, "height": height}
            return answer({"id": pixels_id, **size, "notes": list(opened.notes), "picture": ours}, 201)

        return await desk.taken(request, work)

    return router
