"""A studio of two people over a real port, as the tests of recorded runs against harm use it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from paced_engine import PATIENCE, PacedEngine
from starlette.types import Receive, Scope, Send

from studio.engine import Engine
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.project.runs import RunStore
from studio.project.store import PictureStore
from studio.project.uploads import Uploads
from studio.requests import TextToImage
from studio.viewer.viewer import Viewer
from studio.web.guard import Guard
from studio.web.routes import build_routes
from studio.web.routes_runs import build_run_routes

STEPS = 3
SIDE = 64
ANN, EVE = {"x-user": "ann"}, {"x-user": "eve"}


@dataclass
class Studio:
    client: httpx.Client
    engine: PacedEngine
    viewer: Viewer
    jobs: Jobs
    request: dict[str, Any]
    data: Path
    origin: str

    def ended(self, answer: httpx.Response, who: dict[str, str]) -> dict[str, Any]:
        assert answer.status_code == 202, answer.text
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            job = self.client.get(f"/studio/jobs/{answer.json()['id']}", headers=who).json()
            if job["state"] in FINISHED:
                assert job["state"] != "failed", job["error"]
                return job["pictures"][0]
            time.sleep(0.02)
        raise AssertionError("the job never ended")

    def make(self, who: dict[str, str], **changed: Any) -> str:
        body = {"request": self.request | changed, "count": 1}
        run = self.ended(self.client.post("/studio/jobs", json=body, headers=who), who)["id"]
        deadline = time.monotonic() + PATIENCE
        while self.viewer.runs.get(f"user:{who['x-user']}", run) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return run

    def upload(self, who: dict[str, str], png: bytes) -> httpx.Response:
        return self.client.put("/studio/uploads", content=png, headers=who | {"Content-Type": "image/png"})


@contextlib.contextmanager
def opened(inner: Engine, model: Path, folder: Path) -> Iterator[Studio]:
    """The studio behind its guard on a real port, with its data in `folder`; whoever sends `x-user` is signed in."""
    engine = PacedEngine(inner)
    engine.paced = False
    runs = RunStore(folder)
    runs.prepare()
    viewer = Viewer(engine, runs, data=folder)
    store = PictureStore(folder)
    jobs = Jobs(engine, store, 8, viewer, owner_limit=4)
    app = FastAPI()
    app.include_router(build_routes(engine, jobs, store))
    app.include_router(build_run_routes(engine, jobs, viewer, Uploads()))

    async def signed_in(scope: Scope, receive: Receive, send: Send) -> None:
        """As the login does, without passwords."""
        if user := dict(scope["headers"]).get(b"x-user"):
            scope["state"]["user"] = user.decode()
        await app(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    guarded = Guard(signed_in, host="127.0.0.1", port=port)
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    request = TextToImage("a lake", width=SIDE, height=SIDE, num_inference_steps=STEPS, seed=7, model=str(model))
    origin = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=origin, timeout=PATIENCE, trust_env=False) as client:
        yield Studio(client, engine, viewer, jobs, request.to_dict(), folder, origin)
    engine.paced = False
    engine.allow(1000)
    jobs.close(PATIENCE)
    server.should_exit = True
    thread.join(PATIENCE)
    listener.close()
