"""Our routes below /studio for the gallery: pictures searched, favourites, the bin, and what is used of the disk."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio.engine import Engine
from studio.errors import InvalidRequest, NotFound, StudioError, human_bytes
from studio.imaging.png import read_picture
from studio.jobs import Jobs
from studio.project.archive import Archive
from studio.project.disk import check_free
from studio.project.documents import DocumentStore
from studio.project.flattening import thumbnail
from studio.project.library import PAGE_LIMIT, Library, LibraryEntry, Wanted
from studio.project.names import PICTURE_ID
from studio.project.pixels_store import PixelStore
from studio.project.runs import RunStore
from studio.project.store import PictureStore, request_in
from studio.project.thumbnails import ThumbnailCache
from studio.web.desk import Desk, Query, answer, json_object, only
from studio.web.files import file_response
from studio.web.owners import owner_of
from studio.web.routes import picture_file_name, request_of
from studio.web.routes_exchange import NOT_STORED

EXPORT_LIMIT = 500  # pictures in one zip
EXPORT_BYTES = 2 * 1024**3  # of all of them
THUMBNAIL = 320  # px
CACHED = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Cookie"}


@dataclasses.dataclass(frozen=True)
class Kept:
    """Everything that a person has here, by what keeps it."""

    folder: Path
    pictures: PictureStore
    runs: RunStore
    pixels: PixelStore
    documents: DocumentStore
    library: Library
    thumbnails: ThumbnailCache
    archive: Archive


def build_library_routes(kept: Kept, engine: Engine, jobs: Jobs, desk: Desk) -> APIRouter:
    """The routes of one studio's gallery. `jobs` paint a picture again where it is to be verified."""
    router = APIRouter(prefix="/studio", include_in_schema=False)
    library, pictures = kept.library, kept.pictures

    @router.get("/library")
    async def found(request: Request) -> Response:
        def work() -> Response:
            owner, query = owner_of(request), Query(request)
            wanted = _wanted(query)
            limit = min(max(query.whole("limit", 60) or 0, 1), PAGE_LIMIT)
            before = query.text("cursor")
            if before and not PICTURE_ID.fullmatch(before):
                raise InvalidRequest("cursor should be what the page before gave.", "cursor")
            entries, cursor = library.find(owner, wanted, limit, before or None)
            counts = dataclasses.asdict(library.counts(owner, wanted)) if not before else None  # once, with the first
            return answer(
                {
                    "pictures": [_entry(entry) for entry in entries],
                    "cursor": cursor,
                    "count": counts.pop("found") if counts is not None else None,
                    "counts": counts,
                    "models": library.models(owner) if not before else None,
                }
            )

        return await desk.shown(request, work)

    @router.post("/library/{picture}/favourite")
    async def favourite(request: Request, picture: str) -> Response:
        def work(body: bytes) -> Response:
            wish = json_object(body, 1024, 1)
            only(wish, "favourite")
            if not isinstance(wish.get("favourite"), bool):
                raise InvalidRequest("favourite is true or false.", "favourite")
            library.mark(owner_of(request), picture, wish["favourite"])
            return answer({"id": picture, "favourite": wish["favourite"]})

        return await desk.taken(request, work)

    @router.delete("/library/{picture}")
    async def delete(request: Request, picture: str) -> Response:
        def work(_: bytes) -> Response:
            library.delete(owner_of(request), picture)
            return answer({"id": picture, "binned": True})

        return await desk.taken(request, work)

    @router.post("/library/{picture}/restore")
    async def restore(request: Request, picture: str) -> Response:
        def work(_: bytes) -> Response:
            library.restore(owner_of(request), picture)
            return answer({"id": picture, "binned": False})

        return await desk.taken(request, work)

    @router.post("/library/{picture}/verify")
    async def verify(request: Request, picture: str) -> Response:
        """Begins to paint a picture again, as a job; its verdict is told in the job's picture."""

        def work(_: bytes) -> Response:
            owner, png = owner_of(request), pictures.png(owner_of(request), picture)
            if png is None:
                raise NotFound("There is no such picture here (any more).")
            request_of(request_in(png)[0].to_dict(), engine)  # raises for another model than the one that is here
            return answer(jobs.submit_check(picture, owner), 202)

        return await desk.taken(request, work)

    @router.post("/library/bin/empty")
    async def empty_bin(request: Request) -> Response:
        return await desk.taken(request, lambda _: answer({"deleted": library.empty_bin(owner_of(request))}))

    @router.get("/library/export.zip")
    async def export(request: Request) -> Response:
        def work() -> Response:
            ids = [each for each in Query(request).text("ids").split(",") if each]
            if not 1 <= len(ids) <= EXPORT_LIMIT:
                raise InvalidRequest(f"From 1 to {EXPORT_LIMIT} pictures go into one file, not {len(ids)}.", "ids")
            with kept.archive.passage("zip") as path:
                _write_zip(path, pictures, owner_of(request), ids)
                return file_response(path.open("rb"), "application/zip", NOT_STORED, "pictures.zip")

        return await desk.shown(request, work, desk.files)

    @router.get("/pictures/{picture}/thumbnail.webp")
    async def small(request: Request, picture: str) -> Response:
        def work() -> Response:
            owner = owner_of(request)

            def make() -> bytes:
                png = pictures.png(owner, picture)
                if png is None:
                    raise NotFound("There is no such picture here.")
                return thumbnail(read_picture(png), THUMBNAIL)

            if not pictures.has(owner, picture):
                raise NotFound("There is no such picture here.")
            webp = kept.thumbnails.get(owner, f"picture {picture}", make)
            return Response(webp, media_type="image/webp", headers=CACHED)

        return await desk.shown(request, work, desk.heavy)

    @router.get("/usage")
    async def usage(request: Request) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            here, binned = kept.documents.count(owner)
            count, size = library.used(owner)
            latents, others = kept.runs.used(owner)
            pixels = {"bytes": kept.pixels.used(owner), "budget": kept.pixels.budget}
            return answer(
                {
                    "documents": {"count": here, "in_bin": binned, **pixels},
                    "pictures": {"count": count, "bytes": size, "budget": kept.pictures.budget},
                    "runs": {"bytes": latents, "others": others, "budget": kept.runs.budget},
                    "free": shutil.disk_usage(kept.folder).free,
                }
            )

        return await desk.shown(request, work, desk.heavy)

    return router


def _wanted(query: Query) -> Wanted:
    return Wanted(
        query.text("query")[:400],
        query.text("model")[:400],
        query.whole("from"),
        query.whole("to"),
        query.text("favourite") == "1",
        query.text("bin") == "1",
        query.text("document")[:64],
        query.text("fills") == "1",
        query.text("steps") == "1",
    )


def _entry(entry: LibraryEntry) -> dict[str, object]:
    return dataclasses.asdict(entry)


def _write_zip(path: Path, pictures: PictureStore, owner: str, ids: list[str]) -> None:
    try:
        with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
            taken: set[str] = set()
            size = 0
            for picture_id in dict.fromkeys(ids):
                png = pictures.png(owner, picture_id)
                if png is None:
                    raise NotFound("One of these pictures is not here (any more). Load the gallery again.")
                size += len(png)
                if size > EXPORT_BYTES:
                    raise InvalidRequest(
                        f"These pictures are more than {human_bytes(EXPORT_BYTES)}. Take fewer of them at once.", "ids"
                    )
                name = picture_file_name(png)
                if name in taken:  # other settings, or the same once more
                    name = f"{name.removesuffix('.png')}-{picture_id}.png"
                taken.add(name)
                check_free(path.parent, len(png))
                archive.writestr(name, png)
    except OSError as problem:
        raise StudioError(f"There is no room for this file: {problem.strerror or problem}.") from problem
