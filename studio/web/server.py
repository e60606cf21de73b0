"""The server: our routes and the Gradio page in one FastAPI app, behind the guard."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio.to_thread
import gradio as gr
import uvicorn
from fastapi import FastAPI

from studio.engine import Engine
from studio.errors import StudioError
from studio.jobs import Jobs
from studio.project.runs import RunStore
from studio.project.store import PictureStore
from studio.project.uploads import Uploads
from studio.requests import COUNT_RANGE
from studio.settings import Settings
from studio.viewer.viewer import Viewer
from studio.web.accounts import Accounts, check_exposure
from studio.web.guard import protect
from studio.web.page import build_page
from studio.web.routes import build_routes
from studio.web.routes_runs import build_run_routes

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
    viewer = Viewer(engine, runs, data=settings.data)
    # where several people sign in, one of them cannot fill the queue for all
    owner_limit = max(settings.queue_limit // 4, COUNT_RANGE[1]) if accounts is not None else None
    jobs = Jobs(engine, store, settings.queue_limit, viewer, owner_limit)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=_wake, args=(engine,), name="studio-wake", daemon=True).start()
        yield
        jobs.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(build_routes(engine, jobs, store))
    app.include_router(build_run_routes(engine, jobs, viewer, Uploads()))
    blocks, mount = build_page(card)
    app = gr.mount_gradio_app(app, blocks, path="", **mount)
    guarded = protect(
        app, host=settings.host, port=settings.port, allow_hosts=settings.allowed_hosts, accounts=accounts
    )
    return guarded, jobs


def serve(settings: Settings) -> None:
    """Serves the studio until it is interrupted. Raises StudioError if the port is taken."""
    with _listening(settings.host, settings.port) as listener:
        app, jobs = _build(settings, None)
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=1, limit_concurrency=256
        )
        _Server(config, jobs, _address(settings), settings.open_browser).run(sockets=[listener])


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
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
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


def _address(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/"


def _wake(engine: Engine) -> None:
    try:
        engine.load()
    except StudioError as problem:
        log.warning("%s", problem)
    except Exception:
        log.exception("The model could not be loaded")
