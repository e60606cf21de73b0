"""Our routes below /studio for documents as files: out as a picture, in layers or whole, and in again."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio.errors import NotFound, UnreadablePicture
from studio.imaging.geometry import Extent
from studio.imaging.picture_files import open_picture
from studio.imaging.plain_png import write_plain
from studio.imaging.png import MAX_FILE
from studio.project.archive import Archive
from studio.project.disk import not_kept
from studio.project.documents import DocumentStore
from studio.project.flattening import flat, layers_of, layers_turn, mask_pixels, state_of_picture
from studio.project.library import Library
from studio.project.pixels_store import PixelStore
from studio.viewer.source import nobody_waits
from studio.web.desk import Desk, Query, answer
from studio.web.files import file_response
from studio.web.owners import owner_of
from studio.web.routes_documents import file_name

NOT_STORED = {"Cache-Control": "no-store"}
_TYPES = {
    "png": "image/png",
    "psd": "image/vnd.adobe.photoshop",
    "ora": "image/openraster",
    "wavebrush": "application/vnd.wavebrush+zip",
}


def build_exchange_routes(
    documents: DocumentStore, pixels: PixelStore, archive: Archive, library: Library, desk: Desk
) -> APIRouter:
    """The routes of documents as files. `pixels` and `archive` are those of `documents`; the file of a picture in
    `library` is known again.
    """
    router = APIRouter(prefix="/studio", include_in_schema=False)

    @router.get("/documents/{document}/export.{ending}")
    async def export(request: Request, document: str, ending: str) -> Response:
        def work() -> Response:
            owner, query = owner_of(request), Query(request)
            name = file_name(documents.facts(owner, document).name, ending)
            if ending == "wavebrush":
                history, recordings = query.text("history", "1") != "0", query.text("recordings", "1") != "0"
                with archive.passage(ending) as path:
                    archive.write(owner, document, path, history, recordings)
                    return file_response(path.open("rb"), _TYPES[ending], NOT_STORED, name)
            if ending in ("psd", "ora"):
                packed = _layered(owner, document, ending)
                with archive.passage(ending, len(packed)) as path:
                    try:
                        path.write_bytes(packed)  # out of memory before it is sent
                    except OSError as problem:
                        raise not_kept("The file", path.parent, problem) from problem
                    return file_response(path.open("rb"), _TYPES[ending], NOT_STORED, name)
            picture = flat(documents.state(owner, document), pixels, owner, nobody_waits)
            return _named(Response(write_plain(picture), media_type=_TYPES[ending]), name)

        if ending not in _TYPES:
            return await desk.shown(request, lambda: _no_such_kind(ending))
        return await desk.shown(request, work, desk.files)

    def _layered(owner: str, document: str, ending: str) -> bytes:
        """All layers in one file: up to a gigabyte unpacked, so for one person at a time."""
        from studio.imaging import layered  # only now: its library takes a while

        state, write = documents.state(owner, document), layered.write_psd if ending == "psd" else layered.write_ora
        with layers_turn(nobody_waits):
            pieces = layers_of(state, pixels, owner, nobody_waits)
            return write(pieces, Extent(state.width, state.height))

    @router.get("/documents/{document}/mask.png")
    async def mask(request: Request, document: str) -> Response:
        def work() -> Response:
            owner, wanted = owner_of(request), Query(request).text("mask")
            state = documents.state(owner, document)
            tiles = state.mask.tiles if not wanted else {each.id: each.tiles for each in state.masks}.get(wanted)
            if tiles is None:
                raise NotFound("There is no such mask in this document.")
            png = write_plain(mask_pixels(tiles, state, pixels, owner))
            return _named(Response(png, media_type="image/png"), "mask.png")

        return await desk.shown(request, work, desk.heavy)

    @router.post("/documents/import")
    async def take_in(request: Request) -> Response:
        def work(path: Path) -> Response:
            owner, name = owner_of(request), Query(request).text("name")[:190]
            with path.open("rb") as file:
                start = file.read(4)
            if start == b"PK\x03\x04":
                return answer({"id": archive.take_in(owner, path, name or None, nobody_waits), "notes": []}, 201)
            if path.stat().st_size > MAX_FILE:
                raise UnreadablePicture(
                    f"This file is larger than {MAX_FILE >> 20} MB, which is too much for a picture."
                )
            content = path.read_bytes()
            opened = open_picture(content, fit=Query(request).text("fit") == "1")
            ours = library.same_file(owner, content)
            facts = {"picture": ours, "run": ours} if ours is not None else None
            state = state_of_picture(opened.pixels, name or "Picture", pixels, owner, facts)
            return answer({"id": documents.create(owner, name, state, "Opened")[0], "notes": opened.notes}, 201)

        return await desk.received(request, archive.passage("in"), work)

    return router


def _no_such_kind(ending: str) -> Response:
    raise NotFound(f"Documents are not written as {ending[:20]!r}. There are {', '.join(_TYPES)}.")


def _named(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response
