"""Our routes below /studio for documents: made, opened, changed, undone, named, put into the bin, flattened.

Everything is looked up among what belongs to the visitor. What is answered with 200 or 201 is on the disk.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio.errors import InvalidRequest
from studio.imaging.plain_png import write_plain
from studio.project.document_rows import DocumentFacts
from studio.project.document_values import SETTINGS_DEPTH, SETTINGS_LIMIT, STATE_DEPTH, STATE_LIMIT, Settings, State
from studio.project.documents import DocumentStore
from studio.project.flattening import flat, thumbnail
from studio.project.pixels_store import PixelStore
from studio.project.thumbnails import ThumbnailCache
from studio.viewer.source import nobody_waits
from studio.web.desk import Desk, Query, answer, json_object, only
from studio.web.owners import owner_of

BODY_LIMIT = STATE_LIMIT + 64 * 1024  # bytes of a state and the words around it
THUMBNAIL = 320  # px
RUNS_LIMIT = 200  # of a family, whose documents are asked for
CHANGING = {"Cache-Control": "no-store"}


def build_document_routes(
    documents: DocumentStore, pixels: PixelStore, thumbnails: ThumbnailCache, desk: Desk
) -> APIRouter:
    """The routes of one studio's documents."""
    router = APIRouter(prefix="/studio", include_in_schema=False)

    @router.get("/documents")
    async def listed(request: Request) -> Response:
        def work() -> Response:
            owner, query = owner_of(request), Query(request)
            limit = min(max(query.whole("limit", 60) or 0, 1), 500)
            offset = max(query.whole("cursor", 0) or 0, 0)
            runs = [each for each in query.text("runs").split(",") if each]
            if len(runs) > RUNS_LIMIT:
                raise InvalidRequest(f"At most {RUNS_LIMIT} runs are looked for at once, not {len(runs)}.", "runs")
            words, binned_ones = query.text("query")[:400], query.text("bin") == "1"
            found = documents.listed(owner, words, limit + 1, offset, binned_ones, runs)
            here, binned = documents.count(owner)
            all_ = binned if binned_ones else here
            return answer(
                {
                    "documents": [_line(facts) for facts in found[:limit]],
                    "cursor": offset + limit if len(found) > limit else None,
                    "found": documents.found(owner, words, binned_ones, runs) if words.strip() or runs else all_,
                    "count": here,
                    "in_bin": binned,
                }
            )

        return await desk.shown(request, work)

    @router.post("/documents")
    async def create(request: Request) -> Response:
        def work(body: bytes) -> Response:
            wish = json_object(body, BODY_LIMIT, STATE_DEPTH + 1)
            only(wish, "name", "state", "label", "id")
            document, node = documents.create(
                owner_of(request),
                _text(wish, "name", ""),
                State.from_dict(wish.get("state")),
                _text(wish, "label", "New"),
                _text(wish, "id", "") or None,
            )
            return answer({"id": document, "node": node}, 201)

        return await desk.taken(request, work)

    @router.post("/documents/bin/empty")
    async def empty_bin(request: Request) -> Response:
        return await desk.taken(request, lambda _: answer({"deleted": documents.empty_bin(owner_of(request))}))

    @router.get("/documents/{document}")
    async def opened(request: Request, document: str) -> Response:
        def work() -> Response:
            found = documents.open(owner_of(request), document)
            return answer(
                _line(found.facts)
                | {
                    "state": found.state.to_dict(),
                    "history": [dataclasses.asdict(node) for node in found.history],
                    "settings": found.settings.values,
                }
            )

        return await desk.shown(request, work)

    @router.get("/documents/{document}/history")
    async def history(request: Request, document: str) -> Response:
        def work() -> Response:
            head, nodes = documents.history(owner_of(request), document)
            return answer({"head": head, "history": [dataclasses.asdict(node) for node in nodes]})

        return await desk.shown(request, work)

    @router.post("/documents/{document}/nodes")
    async def append(request: Request, document: str) -> Response:
        def work(body: bytes) -> Response:
            wish = json_object(body, BODY_LIMIT, STATE_DEPTH + 1)
            only(wish, "id", "parent", "label", "state")
            node = _text(wish, "id")
            head = documents.append(
                owner_of(request),
                document,
                node,
                _text(wish, "parent"),
                _text(wish, "label"),
                State.from_dict(wish.get("state")),
            )
            return answer({"id": node, "head": head}, 201)

        return await desk.taken(request, work)

    @router.post("/documents/{document}/head")
    async def move_head(request: Request, document: str) -> Response:
        def work(body: bytes) -> Response:
            wish = json_object(body, 1024, 1)
            only(wish, "node")
            documents.move_head(owner_of(request), document, _text(wish, "node"))
            return answer({"head": wish["node"]})

        return await desk.taken(request, work)

    @router.get("/documents/{document}/nodes/{node}")
    async def node_state(request: Request, document: str, node: str) -> Response:
        return await desk.shown(request, lambda: answer(documents.state(owner_of(request), document, node).to_dict()))

    @router.patch("/documents/{document}")
    async def change(request: Request, document: str) -> Response:
        def work(body: bytes) -> Response:
            wish = json_object(body, 4096 + SETTINGS_LIMIT, SETTINGS_DEPTH + 1)
            only(wish, "name", "settings")
            name = None if "name" not in wish and "settings" in wish else _text(wish, "name")
            settings = Settings.from_dict(wish["settings"]) if "settings" in wish else None
            return answer(_line(documents.change(owner_of(request), document, name, settings)))

        return await desk.taken(request, work)

    @router.post("/documents/{document}/duplicate")
    async def duplicate(request: Request, document: str) -> Response:
        def work(_: bytes) -> Response:
            copy = documents.duplicate(owner_of(request), document)
            return answer(_line(documents.facts(owner_of(request), copy)), 201)

        return await desk.taken(request, work)

    @router.delete("/documents/{document}")
    async def delete(request: Request, document: str) -> Response:
        return await moved(request, document, documents.delete)

    @router.post("/documents/{document}/restore")
    async def restore(request: Request, document: str) -> Response:
        return await moved(request, document, documents.restore)

    async def moved(request: Request, document: str, move: Callable[[str, str], None]) -> Response:
        """Puts a document into the bin or takes it out, and says what it is then."""

        def work(_: bytes) -> Response:
            move(owner_of(request), document)
            return answer(_line(documents.facts(owner_of(request), document)))

        return await desk.taken(request, work)

    @router.get("/documents/{document}/flat.png")
    async def flat_png(request: Request, document: str) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            state = documents.state(owner, document, Query(request).text("node") or None)
            picture = flat(state, pixels, owner, nobody_waits)
            return Response(write_plain(picture, level=3), media_type="image/png", headers=CHANGING)

        return await desk.shown(request, work, desk.heavy)

    @router.get("/documents/{document}/thumbnail.webp")
    async def small(request: Request, document: str) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            head = documents.facts(owner, document).head
            webp = thumbnails.get(
                owner,
                f"document {document} {head}",
                lambda: thumbnail(flat(documents.state(owner, document, head), pixels, owner), THUMBNAIL),
            )
            return Response(webp, media_type="image/webp", headers=CHANGING)

        return await desk.shown(request, work, desk.heavy)

    return router


def file_name(name: str, ending: str) -> str:
    """A document's name as the name of a file: plain letters, digits and dashes."""
    words = "-".join(re.findall(r"[a-z0-9]+", name.lower())[:10])[:60].strip("-")
    return f"{words or 'document'}.{ending}"


def _line(facts: DocumentFacts) -> dict[str, Any]:
    return dataclasses.asdict(facts)


def _text(wish: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = wish.get(name, default)
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} should be text.", name)
    return value
