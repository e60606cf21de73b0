"""Our routes below /studio: jobs, pictures, the page's files. JSON and lossless PNG, addressed by ids that we made.

Who may come here is the guard's business (`guard.py`); whose pictures and jobs these are is decided by `owner_of`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from studio import strict_json
from studio.assets import asset
from studio.engine import Engine
from studio.errors import Busy, InvalidRequest, StudioError
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.project.settings_in import settings_in
from studio.project.store import KeptPicture, PictureStore, request_in
from studio.project.wordbook import Wordbooks
from studio.prompts.prepared import prepared
from studio.requests import JSON_DEPTH, JSON_LIMIT, PROMPT_LIMIT, TextToImage, batch
from studio.web.desk import SHARE, Desk, answer, refusal
from studio.web.files import file_response
from studio.web.owners import owner_of
from studio.web.turns import Turns

EVENT_INTERVAL = 0.05  # seconds between two events of a stream, at the least
STREAMS = 32  # that one owner may follow at a time; a browser opens six
FOREVER = {  # an id never comes to mean another picture; whoever signs in next on this browser is not shown it
    "Cache-Control": "private, max-age=31536000, immutable",
    "Vary": "Cookie",
}
WAIT = 1.0  # seconds that a thread waits for news of a job at a time
TOLD = 8  # jobs whose last event is kept for other streams
KEEP_ALIVE = 10.0  # seconds after which a quiet stream says that it is still there

_ASSET_NAME = re.compile(r"(?:examples/)?[a-z0-9][a-z0-9_-]*\.(?:js|css|svg|png|webp|json)")
_MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "json": "application/json"}


def build_routes(
    engine: Engine,
    jobs: Jobs,
    store: PictureStore,
    wordbooks: Wordbooks | None = None,
    rewriter: str | None = None,
    opening: Desk | None = None,
) -> APIRouter:
    """The routes of one studio. `wordbooks` hold the lists that prompts may name; `rewriter` names the language model
    that makes prompts richer, if there is one; at `opening` whole files are taken in.
    """
    router = APIRouter(prefix="/studio", include_in_schema=False)
    desk, opening = Desk(refuse=_refused), opening or Desk(bodies=2)
    waiting = anyio.CapacityLimiter(128)  # threads in which event streams wait
    streams, telling = Turns(8, STREAMS - SHARE), _Telling(jobs)

    @router.get("/session")
    async def session(request: Request) -> Response:
        def work() -> Response:
            owner = owner_of(request)
            return answer(
                {
                    "jobs": jobs.current(owner),
                    "pictures": [_picture(kept) for kept in store.newest(owner)],
                    "model": _model(engine),
                    "rewriter": rewriter,
                    "user": request.scope.get("state", {}).get("user"),
                }
            )

        return await desk.shown(request, work)

    @router.post("/jobs")
    async def submit(request: Request) -> Response:
        def work(body: bytes) -> Response:
            wanted, count = _wanted(body, engine)
            owner = owner_of(request)
            lists = wordbooks.lists(owner) if wordbooks is not None else {}
            weighs = engine.weighs(wanted.model)
            ready = [prepared(one, lists, weighs) for one in batch(wanted, count)]
            return answer(jobs.submit(ready, owner), 202)

        return await desk.taken(request, work)

    @router.get("/jobs/{job_id}")
    async def job(request: Request, job_id: str) -> Response:
        return await desk.shown(request, lambda: _found(jobs.snapshot(job_id, owner_of(request))))

    @router.get("/jobs/{job_id}/events")
    async def events(request: Request, job_id: str) -> Response:
        owner = owner_of(request)

        async def told(first: _Event) -> AsyncIterator[str]:
            event: _Event | None = first
            version, quiet = -1, time.monotonic()
            while event is not None:
                if event.version > version:
                    version, quiet = event.version, time.monotonic()
                    yield event.text
                    if event.is_last:
                        return
                    await anyio.sleep(EVENT_INTERVAL)
                elif time.monotonic() - quiet > KEEP_ALIVE:
                    quiet = time.monotonic()
                    yield ": still here\n\n"
                # not abandoned when its stream ends: threads may not pile up
                event = await anyio.to_thread.run_sync(telling.next, job_id, owner, version, limiter=waiting)

        def work() -> Response:
            first = telling.next(job_id, owner, -1)
            if first is None:
                return _found(None)
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(told(first), media_type="text/event-stream", headers=headers)

        return await desk.shown(request, work, streams)

    @router.get("/jobs/{job_id}/preview.png")
    async def preview(request: Request, job_id: str) -> Response:
        def work() -> Response:
            png = jobs.preview(job_id, owner_of(request))
            if png is not None:
                return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})
            if jobs.snapshot(job_id, owner_of(request)) is None:
                return _no_such_picture()
            return Response(status_code=204, headers={"Cache-Control": "no-store"})  # asked too early, or as it ended

        return await desk.shown(request, work, desk.heavy)

    @router.post("/jobs/{job_id}/stop")
    async def stop(request: Request, job_id: str) -> Response:
        def work(body: bytes) -> Response:
            try:
                wish = strict_json.loads(body or b"{}", max_bytes=1024, max_depth=2)
            except ValueError as problem:
                raise InvalidRequest(f"This is no JSON object: {problem}") from problem
            everything = isinstance(wish, dict) and wish.get("everything") is True
            return _found(jobs.stop(job_id, owner_of(request), everything))

        return await desk.taken(request, work, desk.quick)  # not behind what else a person sends

    @router.get("/pictures/{name}")
    async def picture(request: Request, name: str, download: bool = False) -> Response:
        def work() -> Response:
            owner, picture_id = owner_of(request), name.removesuffix(".png")
            file = store.opened(owner, picture_id)
            if file is None:
                return _no_such_picture()
            # the name of a download is in the middle of the file
            return file_response(file, "image/png", FOREVER, picture_file_name(file.read()) if download else None)

        return await desk.shown(request, work)

    @router.post("/import")
    async def import_png(request: Request) -> Response:
        def work(body: bytes) -> Response:
            card = engine.card()
            found = settings_in(body, card.request(), card.max_side)
            told = {**dataclasses.asdict(found), "request": found.request.to_dict()}
            if found.branch is not None:
                told["branch"]["run"] = jobs.run_of(owner_of(request), body, found.branch)
            return answer(told)

        return await opening.taken(request, work)

    @router.get("/words")
    async def words(request: Request, prompt: str = "") -> Response:
        def work() -> Response:
            if engine.default_model != "painter":
                return answer({"unknown": []})
            from studio.painter.vocabulary import unknown_words

            unknown = unknown_words(prompt[:PROMPT_LIMIT])
            return answer({"unknown": [{"word": u.word, "nearest": list(u.nearest)} for u in unknown[:20]]})

        return await desk.shown(request, work)

    @router.get("/assets/{name:path}")
    def page_file(name: str) -> Response:
        path = asset(*name.split("/"))
        if not _ASSET_NAME.fullmatch(name) or not path.is_file():
            return Response("There is no such file.", status_code=404, media_type="text/plain")
        media_type = _MEDIA_TYPES.get(name.rsplit(".", 1)[-1])
        return FileResponse(path, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return router


@dataclasses.dataclass(frozen=True)
class _Event:
    """What a stream tells of a job at one moment."""

    version: int
    is_last: bool
    text: str


class _Telling:
    """Makes the events of streams: each once, however many of them follow a job. Safe to call from several threads."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._latest: OrderedDict[str, _Event] = OrderedDict()  # by job
        self._lock = threading.Lock()

    def next(self, job_id: str, owner: str, version: int) -> _Event | None:
        """An event newer than `version`, or the present one after a while; None if this owner has no such job."""
        found = self._jobs.wait_for_change(job_id, owner, version, WAIT)
        if found is None:
            return None
        with self._lock:
            event = self._latest.get(job_id)
            if event is None or event.version != found["version"]:
                text = f"data: {json.dumps(found)}\n\n"
                event = self._latest[job_id] = _Event(found["version"], found["state"] in FINISHED, text)
                self._latest.move_to_end(job_id)
                if len(self._latest) > TOLD:
                    self._latest.popitem(last=False)
            return event


def _wanted(body: bytes, engine: Engine) -> tuple[TextToImage, int]:
    """The request and the count in the body of a post. Raises InvalidRequest, ModelNotFound."""
    try:
        wanted = strict_json.loads(body, max_bytes=JSON_LIMIT, max_depth=JSON_DEPTH + 1)
    except ValueError as problem:
        raise InvalidRequest(f"This is no request: {problem}") from problem
    if not isinstance(wanted, dict) or not isinstance(wanted.get("request"), dict):
        raise InvalidRequest('This is no request: it should be {"request": {…}, "count": 1}.')
    return request_of(wanted["request"], engine), wanted.get("count", 1)


def request_of(values: object, engine: Engine) -> TextToImage:
    """The request that a page posts, with the model's own settings where it says nothing. Raises InvalidRequest."""
    if not isinstance(values, dict):
        raise InvalidRequest("This is no request: it should be an object with a prompt and a seed.")
    usual = engine.card().request().to_dict()
    request = TextToImage.from_dict({**usual, **values})
    if request.model not in (engine.default_model, engine.loaded_model):
        # a page, or a stranger's PNG dropped on it, may not make the studio load or fetch a model
        raise InvalidRequest(
            f"The studio runs with '{engine.default_model}'. Start it with --model to use another one.", "model"
        )
    return request


def _model(engine: Engine) -> dict[str, Any]:
    card = engine.card()
    return {
        "name": card.name,
        "title": card.title,
        "width": card.width,
        "height": card.height,
        "num_inference_steps": card.num_inference_steps,
        "guidance_scale": card.guidance_scale,
        "solver": card.solver,
        "blurb": card.blurb,
        "licence": card.licence,
        "loaded": engine.loaded_model == card.name,
        "seconds_per_picture": engine.seconds_for(card.request()),
    }


def _picture(kept: KeptPicture) -> dict[str, Any]:
    return {
        "id": kept.id,
        "request": kept.request.to_dict(),
        "seconds": kept.seconds,
        "made_at": kept.made_at,
        "stopped_at": kept.stopped_at,
    }


def picture_file_name(png: bytes) -> str:
    """A plain ASCII name for a download: the first words of the prompt and the seed."""
    try:
        request, _ = request_in(png)
    except StudioError:
        return f"picture-{time.strftime('%Y%m%d-%H%M%S')}.png"
    words = "-".join(re.findall(r"[a-z0-9]+", request.prompt.lower())[:8])[:60].strip("-")
    return f"{words}-{request.seed}.png" if words else f"{request.seed}.png"


def _refused(problem: StudioError) -> Response:
    """As elsewhere; what is neither a value nor a crowd has to do with the model."""
    if isinstance(problem, (Busy, InvalidRequest)):
        return refusal(problem)
    return answer({"error": str(problem), "field": "model"}, 422)


def _found(snapshot: dict[str, Any] | None) -> Response:
    if snapshot is None:
        return answer(
            {"error": "There is no such job here. It may have been made before the studio was restarted."}, 404
        )
    return answer(snapshot)


def _no_such_picture() -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Cookie"}
    return Response("There is no such picture.", status_code=404, media_type="text/plain", headers=headers)
