"""The server: our routes and the Gradio page in one FastAPI app, behind the guard."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse

from studio import __version__
from studio.assets import asset
from studio.engine import Engine
from studio.errors import StudioError
from studio.jobs import Jobs
from studio.project.archive import Archive
from studio.project.database import Database
from studio.project.documents import DocumentStore
from studio.project.housekeeping import Housekeeping
from studio.project.library import Library
from studio.project.pixels_store import PixelStore
from studio.project.runs import RunStore
from studio.project.store import PictureStore
from studio.project.thumbnails import ThumbnailCache
from studio.project.uploads import Uploads
from studio.project.wordbook import Wordbooks
from studio.requests import COUNT_RANGE
from studio.settings import Settings
from studio.viewer.viewer import Viewer
from studio.web.accounts import Accounts, check_exposure
from studio.web.connections import Listener, configured
from studio.web.desk import Desk
from studio.web.guard import protect
from studio.web.owners import LOCAL_OWNER
from studio.web.page import build_page
from studio.web.routes import build_routes
from studio.web.routes_documents import build_document_routes
from studio.web.routes_exchange import build_exchange_routes
from studio.web.routes_fill import build_fill_routes
from studio.web.routes_grids import build_grid_routes
from studio.web.routes_library import Kept, build_library_routes
from studio.web.routes_open import build_open_routes
from studio.web.routes_pixels import build_pixel_routes
from studio.web.routes_prompts import build_prompt_routes
from studio.web.routes_runs import build_run_routes
from studio.web.routes_selections import build_selection_routes
from studio.web.waking import Arrivals, wake

if TYPE_CHECKING:
    from studio.models.rewriter import Rewriter

log = logging.getLogger(__name__)


def build_app(settings: Settings, engine: Engine | None = None) -> Any:
    """The whole studio as one ASGI app. The model is loaded in the background once the app has started.

    Raises StudioError for a model that is not there and for settings that would expose the studio.
    """
    return _build(settings, engine)[0]


def _build(settings: Settings, engine: Engine | None) -> tuple[Any, Jobs]:
    accounts = Accounts.read(settings.login) if settings.login is not None else None
    check_exposure(settings.host, accounts, settings.allowed_hosts)
    engine = engine or Engine(settings.model)
    card = engine.card()  # a wrong name ends the start, before anything is served
    store = PictureStore(settings.data)
    store.prepare()
    runs = RunStore(settings.data)
    runs.prepare()
    pixels = PixelStore(settings.data)
    pixels.prepare()
    database = Database(settings.data)
    documents = DocumentStore(database, pixels)
    archive = Archive(settings.data, documents, pixels, store, runs, f"wavebrush {__version__}")
    archive.prepare()
    library = Library(database, store, runs)
    thumbnails = ThumbnailCache(settings.data)
    housekeeping = Housekeeping(documents, pixels, library, thumbnails)
    wordbooks = Wordbooks(settings.data)
    wordbooks.prepare()
    rewriter = _rewriter(settings)
    viewer = Viewer(engine, runs, data=settings.data)
    # where several people sign in, one of them cannot fill the queue for all
    owner_limit = max(settings.queue_limit // 4, COUNT_RANGE[1]) if accounts is not None else None
    jobs = Jobs(engine, store, settings.queue_limit, viewer, owner_limit, pixels)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        ended = threading.Event()
        # lists of many thousands are read before somebody asks for them; who signs in later waits for their own
        lists = (lambda: library.sync(LOCAL_OWNER), lambda: runs.newest(LOCAL_OWNER, 1)) if accounts is None else ()
        wake(arrivals, ended, *lists, engine.load)
        housekeeping.start()
        yield
        ended.set()
        jobs.close()
        housekeeping.stop()
        database.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    opening, asking = Desk(bodies=2), Desk()
    named = rewriter.name if rewriter is not None else None
    app.include_router(build_routes(engine, jobs, store, wordbooks, named, opening))
    app.include_router(build_prompt_routes(engine, jobs, store, wordbooks, rewriter, asking))
    app.include_router(build_run_routes(engine, jobs, viewer, Uploads()))
    app.add_api_route("/manifest.json", _manifest, methods=["GET"])
    desk = Desk()
    app.include_router(build_pixel_routes(pixels, desk))
    kept = Kept(settings.data, store, runs, pixels, documents, library, thumbnails, archive)
    app.include_router(build_library_routes(kept, engine, jobs, desk))
    app.include_router(build_grid_routes(engine, jobs, store, wordbooks, settings.data, asking))
    app.include_router(
        build_exchange_routes(documents, pixels, archive, library, desk)
    )  # before /documents/{document}
    app.include_router(build_document_routes(documents, pixels, thumbnails, desk))
    app.include_router(build_fill_routes(engine, jobs, pixels, Desk(), wordbooks))
    app.include_router(build_selection_routes(pixels, Desk()))
    app.include_router(build_open_routes(pixels, library, opening))
    blocks, mount = build_page(card)
    app = gr.mount_gradio_app(app, blocks, path="", **mount)
    arrivals = Arrivals(app)
    guarded = protect(
        arrivals, host=settings.host, port=settings.port, allow_hosts=settings.allowed_hosts, accounts=accounts
    )
    return guarded, jobs


def _rewriter(settings: Settings) -> Rewriter | None:
    if settings.rewriter is None:
        return None
    from studio.models.rewriter import Rewriter

    return Rewriter(settings.rewriter)


def _manifest() -> FileResponse:
    """The page's name and icon. Gradio's page links to it and would name itself there; so this one comes first."""
    return FileResponse(asset("manifest.json"), media_type="application/manifest+json")


def serve(settings: Settings) -> None:
    """Serves the studio until it is interrupted. Whoever calls this holds the lock of the data folder.

    Raises StudioError if the port is taken.
    """
    with _listening(settings.host, settings.port) as listener:
        app, jobs = _build(settings, None)
        config = configured(app, settings.certificate, settings.key, settings.proxy)
        _Server(config, jobs, settings.address, settings.open_browser).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says where the studio is as soon as it can be reached, opens the page, and ends without fuss."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs, address: str, open_browser: bool) -> None:
        super().__init__(config)
        self._jobs = jobs
        self._address = address
        self._open = open_browser

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"wavebrush is at {self._address}  (Ctrl+C ends it)", flush=True)
            if self._open:
                threading.Thread(target=webbrowser.open, args=(self._address,), daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # the run in progress stops and keeps its picture, which also ends the streams that follow it
        await anyio.to_thread.run_sync(self._jobs.close)
        # open pages hold further streams; that they are cut off now is no error
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens at `host` and `port`, closed on leaving."""
    listener = Listener(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as problem:
        listener.close()
        raise StudioError(
            f"Port {port} on {host} cannot be used: {problem.strerror or problem}. Is the studio running already? "
            f"Otherwise choose another one with --port {port + 1}."
        ) from problem
    with listener:
        yield listener
