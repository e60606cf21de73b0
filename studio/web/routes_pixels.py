"""Our routes below /studio for the pixels of documents: PNGs by the digest of their bytes, in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio.errors import InvalidRequest, NotFound, human_bytes
from studio.imaging.plain_png import extent_at
from studio.project.pixels_store import BUNDLE_LIMIT, PixelStore
from studio.web.desk import Desk, answer
from studio.web.files import file_response
from studio.web.owners import owner_of
from studio.web.routes import FOREVER

UNPACKED_LIMIT = 256 * 1024**2  # bytes of all pixels in a bundle


def build_pixel_routes(pixels: PixelStore, desk: Desk) -> APIRouter:
    """The routes of one studio's pixels."""
    router = APIRouter(prefix="/studio", include_in_schema=False)

    @router.post("/pixels")
    async def add(request: Request) -> Response:
        def work(body: bytes) -> Response:
            pixels_id, width, height = pixels.add(owner_of(request), body)
            return answer({"id": pixels_id, "width": width, "height": height}, 201)

        return await desk.taken(request, work)

    @router.post("/pixels/bundle")
    async def add_bundle(request: Request) -> Response:
        def work(body: bytes) -> Response:
            parts = parts_of(body)
            if sum(extent_at(png).bytes for png in parts) > UNPACKED_LIMIT:  # before any of them is unpacked
                raise InvalidRequest(
                    f"These PNGs are more than {human_bytes(UNPACKED_LIMIT)} unpacked. Send them in several bundles."
                )
            return answer({"ids": pixels.add_many(owner_of(request), parts)}, 201)

        return await desk.taken(request, work)

    @router.get("/pixels/{name}")
    async def png(request: Request, name: str) -> Response:
        def work() -> Response:
            found = pixels.opened(owner_of(request), name.removesuffix(".png"))
            if found is None:
                raise NotFound("There are no such pixels here.")
            return file_response(found, "image/png", FOREVER)

        return await desk.shown(request, work)

    return router


def parts_of(bundle: bytes) -> list[bytes]:
    """The PNGs of a bundle: for each, four bytes that say its length, the highest first, then its bytes.

    Raises InvalidRequest if the lengths do not add up, and for more than 512 parts or none.
    """
    view = memoryview(bundle)
    parts: list[bytes] = []
    position = 0
    while position < len(bundle):
        end = position + 4 + int.from_bytes(view[position : position + 4], "big")
        if position + 4 > len(bundle) or end > len(bundle):
            raise InvalidRequest(f"This bundle is cut short in part {len(parts) + 1}.")
        if len(parts) == BUNDLE_LIMIT:
            raise InvalidRequest(f"A bundle holds at most {BUNDLE_LIMIT} PNGs. Send the others in another one.")
        parts.append(bytes(view[position + 4 : end]))
        position = end
    if not parts:
        raise InvalidRequest("This bundle is empty.")
    return parts
