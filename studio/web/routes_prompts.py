"""Our routes below /studio that help with prompts: what words come to, styles and lists, and what one word does.

POST /studio/prompt              {"prompt", "negative_prompt", "seed"}  ->  tokens, weights, choices, remarks
GET, POST /studio/wordbook       {"kind", "name", "value"}; null takes an entry out
POST /studio/effects             {"request", "without"}  ->  a job of two pictures, with and without a word
GET /studio/effects/A/B          the bands that it moved; .../difference.png draws them
POST /studio/rewrite             {"prompt"}  ->  a proposal, where a rewriter was named at the start
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from studio.engine import Engine
from studio.errors import InvalidRequest, NotFound, shown
from studio.imaging.png import read_picture, write_png
from studio.jobs import Jobs
from studio.project.store import PictureStore
from studio.project.wordbook import FILE_LIMIT, Wordbooks
from studio.prompts import emphasis, wildcards
from studio.prompts.prepared import prepared
from studio.requests import JSON_DEPTH, JSON_LIMIT, TextToImage
from studio.web.desk import Desk, Query, answer, json_object, only
from studio.web.owners import owner_of
from studio.web.routes import request_of
from studio.web.turns import Turns

if TYPE_CHECKING:
    from studio.models.rewriter import Rewriter
    from studio.viewer.difference import Difference

WORD_LIMIT = 200  # characters of what a sentence names


def build_prompt_routes(
    engine: Engine, jobs: Jobs, store: PictureStore, wordbooks: Wordbooks, rewriter: Rewriter | None, desk: Desk
) -> APIRouter:
    """The routes of one studio."""
    router = APIRouter(prefix="/studio", include_in_schema=False)
    rewriting = Turns(1, 1)  # one at a time, and nobody's second before another one's first

    @router.post("/prompt")
    async def prompt(request: Request) -> Response:
        def work(body: bytes) -> Response:
            values = json_object(body, JSON_LIMIT, 2)
            only(values, "prompt", "negative_prompt", "seed")
            wanted = TextToImage.from_dict(values)
            return answer(_read(wanted, engine, wordbooks.lists(owner_of(request))))

        return await desk.taken(request, work)

    @router.get("/wordbook")
    async def wordbook(request: Request) -> Response:
        return await desk.shown(request, lambda: answer(wordbooks.read(owner_of(request))))

    @router.post("/wordbook")
    async def keep(request: Request) -> Response:
        def work(body: bytes) -> Response:
            values = json_object(body, FILE_LIMIT, 5)
            only(values, "kind", "name", "value")
            book = wordbooks.keep(owner_of(request), values.get("kind"), values.get("name"), values.get("value"))
            return answer(book)

        return await desk.taken(request, work)

    @router.post("/effects")
    async def begin(request: Request) -> Response:
        def work(body: bytes) -> Response:
            values = json_object(body, JSON_LIMIT, JSON_DEPTH + 1)
            only(values, "request", "without")
            owner = owner_of(request)
            whole = request_of(values.get("request"), engine)
            less = request_of({**_object(values.get("request")), "prompt": values.get("without")}, engine)
            lists, weighs = wordbooks.lists(owner), engine.weighs(whole.model)
            pair = [prepared(one, lists, weighs) for one in (whole, less)]
            if (pair[0].prompt, pair[0].weighted) == (pair[1].prompt, pair[1].weighted):
                raise InvalidRequest("With and without it, the prompt is the same.", "prompt")
            return answer(jobs.submit(pair, owner), 202)

        return await desk.taken(request, work)

    @router.get("/effects/{first}/{second}")
    async def effect(request: Request, first: str, second: str) -> Response:
        def work() -> Response:
            found = _difference(store, owner_of(request), first, second)
            word = shown(Query(request).text("word") or "It", WORD_LIMIT)
            return answer(
                {
                    "sentence": [list(piece) for piece in found.sentence(word)],
                    "bands": [
                        {"label": band.label, "pixels": band.pixels, "share": share}
                        for band, share in zip(found.bands, found.shares, strict=True)
                    ],
                    "gain": found.gain,
                    "mean": found.mean,
                    "changed": found.changed,
                }
            )

        return await desk.shown(request, work, desk.heavy)

    @router.get("/effects/{first}/{second}/difference.png")
    async def drawing(request: Request, first: str, second: str) -> Response:
        def work() -> Response:
            png = write_png(_difference(store, owner_of(request), first, second).picture)
            return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

        return await desk.shown(request, work, desk.heavy)

    @router.post("/rewrite")
    async def rewrite(request: Request) -> Response:
        def work(body: bytes) -> Response:
            values = json_object(body, JSON_LIMIT, 2)
            only(values, "prompt")
            if rewriter is None:
                raise NotFound("There is no rewriter here. Start the studio with --rewriter and a model's folder.")
            return answer({"text": rewriter.rewrite(TextToImage.from_dict(values).prompt)})

        return await desk.taken(request, work, rewriting)

    return router


def _read(request: TextToImage, engine: Engine, lists: Mapping[str, list[str]]) -> dict[str, Any]:
    """What the words of a form come to, and what had better be known about them before they are painted."""
    weighs = engine.weighs(engine.default_model)
    try:
        resolved = wildcards.resolve(request.prompt, request.seed, lists)
    except InvalidRequest as problem:
        return {"problem": str(problem), "tokens": None, "pieces": [], "choices": [], "remarks": []}
    ready = prepared(request, lists, weighs)
    pieces = emphasis.parse(ready.prompt) if ready.weighted else ()
    remarks = emphasis.remarks(resolved.text)
    if not weighs and emphasis.is_weighted(resolved.text):
        remarks.insert(0, "This model's text encoder cannot weigh words: brackets are characters to it.")
    return {
        "problem": None,
        "tokens": _tokens(engine, emphasis.plain(ready.prompt) if ready.weighted else ready.prompt),
        "negative_tokens": _tokens(
            engine, emphasis.plain(ready.negative_prompt) if ready.weighted else ready.negative_prompt
        ),
        "pieces": [
            {"text": piece.text.strip(), "weight": piece.weight}
            for piece in pieces
            if piece.weight != 1 and piece.text.strip()
        ][:40],
        "choices": list(resolved.choices)[:40],
        "remarks": remarks[:4],
    }


def _tokens(engine: Engine, text: str) -> dict[str, Any] | None:
    """The tokens of a text, the encoder's limit, and the words that lie beyond it; None while no model is loaded."""
    found = engine.count_words(text)
    if found is None:
        return None
    beyond = text[found.cut_at :].strip() if found.cut_at is not None else None
    return {"count": found.tokens, "limit": found.limit, "beyond": beyond}


def _difference(store: PictureStore, owner: str, first: str, second: str) -> Difference:
    from studio.viewer.difference import difference

    pngs = [store.png(owner, name) for name in (first, second)]
    if any(png is None for png in pngs):
        raise NotFound("One of these pictures is not there any more.")
    one, other = (read_picture(png)[..., :3] for png in pngs if png is not None)
    return difference(one, other)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest('This is no request: it should be {"request": {…}, "without": "…"}.')
    return value
