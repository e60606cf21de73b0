"""Recorded runs against people who mean harm: through the guard, over a real port, two people signed in."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from paced_engine import PATIENCE, PacedEngine
from starlette.types import Receive, Scope, Send

from studio.diffusion.run_file import load_recording
from studio.diffusion.strengths import Strengths
from studio.engine import Engine
from studio.errors import StudioError
from studio.imaging.png import write_png
from studio.jobs import FINISHED, Jobs
from studio.project.runs import LatentsGone, RunStore
from studio.project.store import PictureStore
from studio.project.uploads import Uploads
from studio.requests import TextToImage
from studio.viewer import numbers
from studio.viewer.cache import ByteCache
from studio.viewer.source import NotThere
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


@pytest.fixture(scope="module")
def studio(_tiny_engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("data")
    engine = PacedEngine(_tiny_engine)
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
    request = TextToImage("a lake", width=SIDE, height=SIDE, num_inference_steps=STEPS, seed=7, model=str(tiny_model))
    origin = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=origin, timeout=PATIENCE, trust_env=False) as client:
        yield Studio(client, engine, viewer, jobs, request.to_dict(), folder, origin)
    engine.paced = False
    engine.allow(1000)
    jobs.close(PATIENCE)
    server.should_exit = True
    thread.join(PATIENCE)
    listener.close()


@pytest.fixture(scope="module")
def run(studio: Studio) -> str:
    """A run of Ann's."""
    return studio.make(ANN)


@pytest.fixture(scope="module")
def own(studio: Studio) -> str:
    """A run of Eve's."""
    return studio.make(EVE)


# -- other people's things --------------------------------------------------------------------------------------------


def test_nothing_of_another_person_is_reached_through_ones_own(studio: Studio, run: str, own: str) -> None:
    upload = studio.upload(ANN, write_png(np.full((SIDE, SIDE, 3), 255, dtype=np.uint8))).json()["id"]
    for address in (f"{own}/difference/{run}/0.png", f"{run}/difference/{own}/0.png"):
        studio.client.get(f"/studio/runs/{address}", headers=ANN)  # a wrong answer that is cached, perhaps
        assert studio.client.get(f"/studio/runs/{address}", headers=EVE).status_code == 404
    mix = {"from": 1, "mix": {"run": run, "bands": [0]}}
    assert studio.client.post(f"/studio/runs/{own}/branch", json=mix, headers=EVE).status_code == 404
    for wish in ({"edit": {"picture": upload}}, {"mask": upload}, {"edit": {"picture": upload, "mask": upload}}):
        answer = studio.client.post(f"/studio/runs/{own}/branch", json={"from": 1, **wish}, headers=EVE)
        assert answer.status_code == 422
        assert "not there any more" in answer.json()["error"]


def test_what_one_has_looked_at_is_not_served_to_another(studio: Studio, run: str) -> None:
    for path in ("/thumbnail.png", "/steps/0.png", "/steps/0/bands.png", "/contact.png", "/animation.gif"):
        seen = studio.client.get(f"/studio/runs/{run}{path}", headers=ANN)
        assert seen.status_code == 200
        assert seen.headers["cache-control"] == "private, max-age=3600"
        assert seen.headers["vary"] == "Cookie", "whoever signs in next on this browser is another"
        assert studio.client.get(f"/studio/runs/{run}{path}", headers=EVE).status_code == 404
    picture = studio.client.get(f"/studio/pictures/{run}.png", headers=ANN)
    assert (picture.status_code, picture.headers["vary"]) == (200, "Cookie")


def test_every_answer_says_what_it_is_and_may_not_be_guessed_at(studio: Studio, run: str) -> None:
    kinds = {
        "": "application/json",
        "/strip.png": "image/png",
        "/steps/0.png": "image/png",
        "/animation.gif": "image/gif",
        "/run.safetensors": "application/octet-stream",
        "/steps/99.png": "application/json",
    }
    for path, kind in kinds.items():
        answer = studio.client.get(f"/studio/runs/{run}{path}", headers=ANN)
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        if kind != "image/png" and kind != "image/gif":
            assert answer.headers["cache-control"] == "no-store"
    assert (
        "attachment"
        in studio.client.get(f"/studio/runs/{run}/run.safetensors", headers=ANN).headers["content-disposition"]
    )


# -- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
def test_another_site_can_neither_send_nor_look(studio: Studio, run: str, foreign: dict[str, str]) -> None:
    png = write_png(np.zeros((8, 8, 3), dtype=np.uint8))
    headers = ANN | foreign
    assert studio.client.put("/studio/uploads", content=png, headers=headers).status_code == 403
    plain = headers | {"Content-Type": "text/plain"}
    assert studio.client.post(f"/studio/runs/{run}/branch", content='{"from":1}', headers=plain).status_code == 403
    assert studio.client.get(f"/studio/runs/{run}/steps/0.png", headers=headers).status_code == 403
    assert studio.client.get("/studio/runs", headers=headers).status_code == 403


def test_other_methods_do_nothing(studio: Studio, run: str) -> None:
    for method in ("HEAD", "OPTIONS", "DELETE", "PATCH", "PUT"):
        answer = studio.client.request(method, f"/studio/runs/{run}/steps/0.png", headers=ANN)
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert studio.client.post("/studio/uploads", content=b"", headers=ANN).status_code == 405
    assert studio.client.get(f"/studio/runs/{run}/branch", headers=ANN).status_code == 405


# -- names and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc", "%2e%2e", "..", ".", "a%00b", "a\\b", "%252e%252e", "0" * 2000, "{id}%2f..", "C:"]
)
def test_no_name_is_a_path(studio: Studio, run: str, name: str) -> None:
    for address in (f"{name}", f"{name}/strip.png", f"{name}/run.safetensors", f"{run}/steps/{name}.png"):
        # as it stands: httpx would tidy the address up
        with contextlib.closing(http.client.HTTPConnection(studio.origin.removeprefix("http://"))) as connection:
            connection.request("GET", f"/studio/runs/{address}", headers=ANN)
            answer = connection.getresponse()
            assert answer.status in (400, 404, 414)
            assert str(studio.data) not in answer.read().decode()


@pytest.mark.parametrize(
    "query",
    [
        *(
            f"/steps/0.png?size={v}"
            for v in ("-1", "0", "15", "2049", "999999999", "9" * 400, "1e3", "١٢٨", "NaN", "+64")
        ),
        *(f"/steps/0.png?{q}" for q in ("look=../..", "show=%3Cb%3E", "look=auto")),
        *(f"/steps/0/bands.png?levels={v}" for v in ("-1", "0", "6", "999999999", "2.5", "inf")),
        *(
            f"/steps/0/bands.png?{q}"
            for q in ("channel=-1", "band=-1", "band=6", "wavelet=bior6.8", "space=x", "show=x")
        ),
        *(f"/animation.gif?{q}" for q in ("fps=0", "fps=-1", "fps=inf", "fps=1e-9", "size=-5", "size=4096")),
        *(f"?{q}" for q in ("levels=-4", "levels=99999", "wavelet=", "look=fastest")),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_computed(studio: Studio, run: str, query: str) -> None:
    answer = studio.client.get(f"/studio/runs/{run}{query}", headers=ANN)
    assert answer.status_code == 422
    assert answer.json()["field"]


@pytest.mark.parametrize("gain", ["0", "-8", "65", "nan", "inf", "1e300", "8,0", "x"])
def test_no_gain_is_out_of_its_range(studio: Studio, run: str, gain: str) -> None:
    address = f"/studio/runs/{run}/difference/{run}/0.png"
    assert studio.client.get(address, params={"gain": gain}, headers=ANN).json()["field"] == "gain"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 60 + b"1" + b"}" * 60,
        b'{"from": NaN}',
        b'{"from": 1e400}',
        b'{"from": 1, "from": 2}',
        b'{"from": ' + b"9" * 5000 + b"}",
        b'{"from": 1, "label": "\\ud800"}',
        b'{"from": "1"}',
        b'{"from": 1.0}',
        b'{"from": 1, "noise": {"seed": 1e3}}',
        b'{"from": 1, "noise": {"seed": "7"}}',
        b'{"from": 1, "lock": {"bands": [[0]]}}',
        b'{"from": 1, "lock": {"bands": [0], "levels": 1e9}}',
        b'{"from": 1, "lock": {"bands": [0], "levels": [1]}}',
        b'{"from": 1, "lock": {"bands": [0], "release": -1}}',
        b'{"from": 1, "lock": {"bands": [0], "wavelet": ["db2"]}}',
        b'{"from": 1, "mix": {"run": 5, "bands": [0]}}',
        b'{"from": 1, "mix": {"run": {"a": 1}, "bands": [0]}}',
        b'{"from": 1, "edit": {"picture": {"$ref": "x"}}}',
        b'{"from": 1, "edit": [1]}',
        b'{"from": 1, "request": {"seed": 5}}',
        b'{"from": 1, "request": {"model": "stranger/model"}}',
        b'{"from": 1, "request": {"num_inference_steps": 1e9}}',
        b'{"from": 1, "request": {"guidance_scale": 1e30}}',
        b'{"from": 1, "request": {"prompt": ["x"]}}',
        b'{"from": 1, "correction": {"levels": 99}}',
        b"null",
        b"",
        b"\xff\xfe",
    ],
)
def test_hostile_wishes_are_refused_in_words(studio: Studio, run: str, body: bytes) -> None:
    answer = studio.client.post(f"/studio/runs/{run}/branch", content=body, headers=ANN)
    assert answer.status_code == 422
    assert 0 < len(answer.json()["error"]) < 400


def test_a_wish_may_not_be_long(studio: Studio, run: str) -> None:
    body = b'{"from": 1, "label": "' + b"x" * 200_000 + b'"}'
    try:
        status = studio.client.post(f"/studio/runs/{run}/branch", content=body, headers=ANN).status_code
    except httpx.TransportError:  # the studio hung up while the rest was still being sent
        status = 413
    assert status == 413
    assert studio.client.get("/studio/runs", headers=ANN).status_code == 200


# -- pictures handed over ---------------------------------------------------------------------------------------------


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def test_bombs_are_refused_unopened(studio: Studio) -> None:
    row = b"\0" + bytes(3 * 6000)
    for bomb in (
        _png(6000, 6000, row * 100),  # would unpack to 108 MB
        _png(2**31 - 1, 2**31 - 1, b""),
        _png(16_384, 16_384, b""),
        _png(5000, 5000, b"", depth=1, colour=0),
    ):
        began = time.process_time()
        answer = studio.upload(EVE, bomb)
        assert answer.status_code == 422
        assert "pixels" in answer.json()["error"] or "broken" in answer.json()["error"]
        assert time.process_time() - began < 30


@pytest.mark.parametrize(
    "png",
    [
        _png(0, 8, b""),
        _png(8, 8, b""),
        _png(8, 8, b"\0" * 10),
        _png(8, 8, (b"\0" + bytes(24)) * 8, depth=3),
        _png(8, 8, (b"\0" + bytes(24)) * 8, colour=5),
        _png(8, 8, (b"\0" + b"\xff" * 8) * 8, colour=3),  # a palette picture without a palette
        _png(8, 8, (b"\0" + bytes(24)) * 8)[:-20],
        _png(8, 8, (b"\x09" + bytes(24)) * 8),  # a filter that does not exist
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 64,
    ],
)
def test_odd_pictures_are_refused_or_read_but_break_nothing(studio: Studio, png: bytes) -> None:
    answer = studio.upload(EVE, png)
    assert answer.status_code in (201, 422)
    if answer.status_code == 201:
        assert (answer.json()["width"], answer.json()["height"]) == (8, 8)


def test_a_second_header_does_not_make_a_picture_larger(studio: Studio) -> None:
    large = _chunk(b"IHDR", struct.pack(">IIBBBBB", 16_384, 3000, 8, 2, 0, 0, 0))
    small = _png(8, 8, (b"\0" + bytes(24)) * 8, more=large)
    assert studio.upload(EVE, small).status_code == 422
    packed = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    assert studio.upload(EVE, _png(8, 8, (b"\0" + bytes(24)) * 8, more=packed)).status_code in (201, 422)


def test_a_flood_of_tiny_uploads_ends() -> None:
    png = write_png(np.zeros((1, 1, 3), dtype=np.uint8))
    uploads = Uploads(owner_budget=256 * 100, total_budget=256 * 150)
    for _ in range(400):
        newest, _, _ = uploads.add("eve", png)
    mine, _, _ = uploads.add("ann", png)
    assert len(uploads) == 257
    assert uploads.picture("eve", newest) is not None
    assert uploads.picture("ann", mine) is not None


# -- what takes long --------------------------------------------------------------------------------------------------


def test_an_animation_of_gigabytes_is_refused(studio: Studio, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.viewer.viewer.ANIMATION_PIXELS", SIDE * SIDE * STEPS - 1)
    answer = studio.client.get(f"/studio/runs/{run}/animation.gif", headers=ANN)
    assert (answer.status_code, answer.json()["field"]) == (422, "size")
    most = int(re.findall(r"at most (\d+)", answer.json()["error"])[0])
    assert studio.client.get(f"/studio/runs/{run}/animation.gif?size={most}", headers=ANN).status_code == 200


def test_nearly_equal_questions_have_one_answer_in_the_cache(studio: Studio, run: str) -> None:
    for path in ("animation.gif?fps=8.000{}", f"difference/{run}/1.png?gain=8.000{{}}"):
        studio.client.get(f"/studio/runs/{run}/{path.format(0)}", headers=ANN)
        before = studio.viewer.cache.size
        for number in range(1, 20):
            assert studio.client.get(f"/studio/runs/{run}/{path.format(number)}", headers=ANN).status_code == 200
        assert studio.viewer.cache.size == before


class _Held:
    """Decoding that waits, and says who came."""

    def __init__(self, studio: Studio) -> None:
        self.go_on, self.inside = threading.Event(), threading.Semaphore(0)
        self.calls = 0
        self._decode = studio.engine.decode

    def __call__(self, request: TextToImage, latents: Any) -> Any:
        self.calls += 1
        self.inside.release()
        assert self.go_on.wait(PATIENCE)
        return self._decode(request, latents)

    def came(self) -> None:
        assert self.inside.acquire(timeout=PATIENCE)


@pytest.fixture
def held(studio: Studio, run: str, own: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Held]:
    held = _Held(studio)
    fresh = type(studio.viewer.cache)(2**24)
    monkeypatch.setattr(studio.viewer, "cache", fresh)
    monkeypatch.setattr(studio.engine, "decode", held)
    yield held
    held.go_on.set()


def test_one_persons_viewing_leaves_room_for_others_and_for_the_queue(
    studio: Studio, run: str, own: str, held: _Held
) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as people:
        address = f"/studio/runs/{own}/steps/{{}}.png?look=full"
        busy = [people.submit(studio.client.get, address.format(k), headers=EVE) for k in (0, 1, 2)]
        held.came()
        held.came()
        assert studio.client.get("/studio/runs", headers=EVE).status_code == 200, "lists do not wait for pixels"
        assert studio.client.get(f"/studio/runs/{own}/thumbnail.png", headers=EVE).status_code == 200
        assert studio.client.get(f"/studio/runs/{run}/steps/0.png?look=fast", headers=ANN).status_code == 200
        studio.make(ANN, seed=11)
        assert held.calls == 2, "the third of hers waits"
        held.go_on.set()
        assert [answer.result(PATIENCE).status_code for answer in busy] == [200] * 3


def test_too_many_questions_at_once_are_turned_away(
    studio: Studio, run: str, own: str, held: _Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = httpx.Limits(max_connections=200)
    with (
        httpx.Client(base_url=studio.origin, timeout=PATIENCE, trust_env=False, limits=limits) as client,
        concurrent.futures.ThreadPoolExecutor(80) as people,
    ):
        addresses = [f"/studio/runs/{own}/steps/{k % STEPS}.png?look=full&size={64 + k}" for k in range(80)]
        answers = [people.submit(client.get, address, headers=EVE) for address in addresses]
        held.came()
        turned_away = next(concurrent.futures.as_completed(answers, timeout=PATIENCE)).result()
        assert turned_away.status_code == 429
        assert "Wait" in turned_away.json()["error"]
        assert studio.client.get(f"/studio/runs/{run}/steps/0.png?look=fast", headers=ANN).status_code == 200
        held.go_on.set()
        statuses = {answer.result(PATIENCE).status_code for answer in answers}
    assert statuses == {200, 429}


def test_what_nobody_waits_for_is_not_computed_to_its_end(studio: Studio, own: str, held: _Held) -> None:
    with socket.create_connection(("127.0.0.1", int(studio.origin.rpartition(":")[2]))) as connection:
        host = studio.origin.removeprefix("http://")
        text = f"GET /studio/runs/{own}?look=full HTTP/1.1\r\nHost: {host}\r\nx-user: eve\r\n\r\n"
        connection.sendall(text.encode())
        held.came()
    deadline = time.monotonic() + PATIENCE
    while True:  # until the server has seen that the caller left
        held.go_on.set()
        time.sleep(0.05)
        if held.calls < STEPS and not _heavy_threads():
            break
        assert time.monotonic() < deadline, held.calls
    assert held.calls < STEPS


def _heavy_threads() -> bool:
    import sys

    frames = sys._current_frames().values()
    for frame in frames:
        here: Any = frame
        while here is not None:
            if here.f_code.co_name == "wanted_work":
                return True
            here = here.f_back
    return False


def test_one_person_cannot_fill_the_queue(studio: Studio) -> None:
    studio.engine.paced = True
    body = {"request": studio.request, "count": 4}
    first = studio.client.post("/studio/jobs", json=body, headers=EVE)
    try:
        assert first.status_code == 202
        more = studio.client.post("/studio/jobs", json={**body, "count": 1}, headers=EVE)
        assert more.status_code == 429
        assert "one person" in more.json()["error"]
        other = studio.client.post("/studio/jobs", json={**body, "count": 1}, headers=ANN)
        assert other.status_code == 202
    finally:
        studio.engine.paced = False
        studio.engine.allow(100)
    studio.ended(first, EVE)
    studio.ended(other, ANN)


def test_one_person_cannot_take_every_stream(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.web.routes.STREAMS", 2)
    studio.engine.paced = True
    answer = studio.client.post("/studio/jobs", json={"request": studio.request, "count": 1}, headers=EVE)
    address = f"/studio/jobs/{answer.json()['id']}/events"
    lines: list[Iterator[str]] = []
    try:
        with contextlib.ExitStack() as open_streams:
            for _ in range(2):
                followed = open_streams.enter_context(studio.client.stream("GET", address, headers=EVE))
                lines.append(followed.iter_lines())  # kept: a stream whose reader is dropped is closed
                assert next(lines[-1]).startswith("data:")
            third = open_streams.enter_context(studio.client.stream("GET", address, headers=EVE))
            assert third.status_code == 429
        deadline = time.monotonic() + PATIENCE
        while True:  # until the server has seen that they were closed
            with studio.client.stream("GET", address, headers=EVE) as again:
                if again.status_code == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        studio.engine.paced = False
        studio.engine.allow(100)
    studio.ended(answer, EVE)


def test_a_finished_branch_lets_go_of_the_pixels_that_went_into_it(studio: Studio, run: str) -> None:
    mask = studio.upload(ANN, write_png(np.full((SIDE, SIDE, 3), 255, dtype=np.uint8))).json()["id"]
    wish = {"from": 2, "edit": {"picture": mask}, "mask": mask, "correction": Strengths.double(0.1, 0.1).to_dict()}
    answer = studio.client.post(f"/studio/runs/{run}/branch", json=wish, headers=ANN)
    slot = studio.ended(answer, ANN)
    assert slot["run"] == {"parent": run, "from": 2}
    branch = studio.jobs._jobs[answer.json()["id"]].slots[0].branch
    assert branch is not None
    assert (branch.edit, branch.mask) == (None, None)


def test_values_beyond_all_numbers_are_no_run(studio: Studio, tmp_path: Path) -> None:
    """Strengths of 10 can make them. Infinity is no JSON: neither a page nor the next start could read it."""
    kept = studio.viewer.runs.newest("user:ann")[0]
    huge = np.full((4, 8, 8), 1e30, dtype=np.float32)
    with pytest.raises(StudioError, match="too large"):
        numbers.measure([huge, -huge], "db2", 2)
    store = RunStore(tmp_path)
    store.prepare()
    endless = dataclasses.replace(kept, seconds=float("inf"))
    with pytest.raises(ValueError, match="JSON"):
        store.add("me", endless, load_recording(studio.viewer.runs.latents("user:ann", kept.id)), b"strip")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "nothing half"


# -- a data folder that a stranger packed -----------------------------------------------------------------------------


@pytest.fixture
def planted(studio: Studio, run: str, tmp_path: Path) -> Path:
    """The folder of one owner, "me", with a copy of Ann's run in it."""
    home = tmp_path / "runs" / hashlib.sha256(b"me").hexdigest()[:24]
    home.mkdir(parents=True)
    for path in (studio.data / "runs").glob(f"*/{run}.*"):
        shutil.copy(path, home)
    return home


def _facts(home: Path, run: str, **changed: Any) -> None:
    path = home / f"{run}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"branch_at": -1},
        {"branch_at": 10**6, "parent": "0" * 13 + "-" + "0" * 16},
        {"branch_at": "1"},
        {"parent": "../../etc/passwd", "branch_at": 1, "root": "0" * 13 + "-" + "0" * 16},
        {"root": ["x"]},
        {"label": {"a": 1}},
        {"label": "x" * 5000},
        {"label": "two\nlines"},
        {"count": 1e9},
        {"order": 0},
        {"steps": []},
        {"steps": [{"timestep": "1", "sigma": None, "noise_level": 1.0}] * STEPS},
        {"steps": [{"timestep": 1.0, "sigma": [], "noise_level": 1.0}] * STEPS},
        {"channels": -4},
        {"latent_height": True},
        {"made_at": "now"},
        {"seconds": "1"},
        {"strip": {"columns": 0, "rows": 1, "tile_width": 64, "tile_height": 64}},
        {"strip": {"columns": 3, "rows": 1, "tile_width": 10**9, "tile_height": 10**9}},
        {
            "measured": {
                "wavelet": "db2",
                "levels": 4,
                "look": "fast",
                "picture": None,
                "latent": {"energy": [[1]], "change": [[1]]},
            }
        },
    ],
)
def test_planted_facts_that_do_not_fit_together_are_passed_over(
    planted: Path, run: str, tmp_path: Path, changed: dict[str, Any]
) -> None:
    assert RunStore(tmp_path).get("me", run) is not None
    _facts(planted, run, **changed)
    assert RunStore(tmp_path).newest("me") == []


def test_lines_that_bite_their_tail_are_passed_over(planted: Path, run: str, tmp_path: Path) -> None:
    ids = [f"{number:013d}-{number:016x}" for number in range(1, 5)]
    for new in ids:
        for suffix in (".json", ".safetensors", ".strip.png"):
            shutil.copy(planted / f"{run}{suffix}", planted / f"{new}{suffix}")
    for new, parent in zip(ids, [ids[1], ids[2], ids[1], run], strict=True):  # 1 -> 2 -> 3 -> 2, and a sound one
        _facts(planted, new, id=new, parent=parent, root=ids[0], branch_at=1)
    store = RunStore(tmp_path)
    assert {kept.id for kept in store.newest("me")} == {run, ids[3]}
    assert store.openable("me") == {run, ids[3]}


def test_a_link_or_a_pipe_is_no_file_of_a_run(planted: Path, run: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a password")
    for suffix in (".safetensors", ".strip.png"):
        (planted / f"{run}{suffix}").unlink()
        (planted / f"{run}{suffix}").symlink_to(secret)
    other = f"{1:013d}-{1:016x}"
    os.mkfifo(planted / f"{other}.json")
    store = RunStore(tmp_path)
    assert [kept.id for kept in store.newest("me")] == [run], "and nobody waits for the pipe"
    assert store.strip("me", run) is None
    assert store.latents("me", run) is None
    assert store.opened("me", run) is None
    assert store.openable("me") == set()


def test_starting_deletes_nothing_that_is_not_the_studios(planted: Path, run: str, tmp_path: Path) -> None:
    """Training tools call their folders "runs" too."""
    other = f"{1:013d}-{1:016x}"
    mine = [
        tmp_path / "runs" / "experiment-7" / "model.safetensors",
        tmp_path / "runs" / "experiment-7" / f"{other}.safetensors",
        tmp_path / "elsewhere" / f"{other}.safetensors",
        planted / "model.safetensors",
        planted / ".notes.part",
    ]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weeks of training")
    (tmp_path / "runs" / ("0" * 24)).symlink_to(tmp_path / "elsewhere")
    swept = planted / f"{other}.safetensors"
    swept.write_bytes(b"half")
    store = RunStore(tmp_path, budget=0)
    store.prepare()
    assert not swept.exists()
    kept = store.get("me", run)
    assert kept is not None
    store.add("me", dataclasses.replace(kept, id=f"{9999999999999:013d}-{0:016x}"), None, None)  # beyond the budget
    assert [path for path in mine if not path.exists()] == []
    assert store.latents("me", run) is None


def test_a_recording_of_another_run_is_not_shown(studio: Studio, planted: Path, run: str, tmp_path: Path) -> None:
    shorter = studio.make(ANN, num_inference_steps=2)
    path = studio.viewer.runs.latents("user:ann", shorter)
    assert path is not None
    shutil.copy(path, planted / f"{run}.safetensors")
    viewer = Viewer(studio.engine, RunStore(tmp_path), data=tmp_path)
    with pytest.raises(StudioError, match="not those"):
        viewer.step("me", run, STEPS - 1, "fast")
    (planted / f"{run}.strip.png").write_bytes(b"no picture")
    with pytest.raises(NotThere):
        viewer.thumbnail("me", run)


# -- making room while somebody reads ---------------------------------------------------------------------------------


def test_a_file_that_is_given_up_while_it_is_sent_is_sent_whole(studio: Studio) -> None:
    run = studio.make(ANN, seed=21)
    path = studio.viewer.runs.latents("user:ann", run)
    assert path is not None
    content = path.read_bytes()
    opened = studio.viewer.runs.opened("user:ann", run)
    assert opened is not None
    with opened:
        answer = studio.client.get(f"/studio/runs/{run}/run.safetensors", headers=ANN)
        assert answer.content == content
        path.unlink()
        assert opened.read() == content
    gone = studio.client.get(f"/studio/runs/{run}/run.safetensors", headers=ANN)
    assert (gone.status_code, gone.json()["error"][:10]) == (410, "The pixels")


def test_latents_that_go_between_the_look_and_the_reading_are_gone(
    studio: Studio, run: str, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    path = store.latents("me", run)
    assert path is not None

    def given_up(owner: str, run_id: str) -> Path:
        path.unlink(missing_ok=True)
        return path

    monkeypatch.setattr(store, "latents", given_up)
    with pytest.raises(LatentsGone):
        store.recording("me", run)
    assert store.opened("me", run) is None


def test_a_long_line_of_branches_is_opened_without_climbing_it_over_and_over(
    studio: Studio, planted: Path, run: str, tmp_path: Path
) -> None:
    store = RunStore(tmp_path)
    root = store.get("me", run)
    assert root is not None
    line = [root]
    for number in range(1, 1500):
        run_id = f"{number:013d}-{number:016x}"
        line.append(dataclasses.replace(root, id=run_id, parent=line[-1].id, root=root.id, branch_at=STEPS - 1))
    store._known["me"] = {each.id: each for each in line}
    own = planted / f"{line[1].id}.safetensors"
    shutil.copy(planted / f"{run}.safetensors", own)
    for each in line[2:]:
        os.link(own, planted / f"{each.id}.safetensors")
    assert len(store.openable("me")) == len(line)
    assert store.has_latents("me", line[-1])
    own.unlink()
    assert store.openable("me") == {root.id}, "what comes after a gap cannot be opened"
    (planted / f"{run}.safetensors").unlink()
    viewer = Viewer(studio.engine, store, data=tmp_path)
    with pytest.raises(LatentsGone):
        viewer.frames("me", line[-1])


def test_the_cache_counts_right_when_a_value_is_made_twice() -> None:
    cache = ByteCache(10)
    first, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        first.set()
        assert go_on.wait(PATIENCE)
        cache._keep("k", 1, 6)  # another one was as fast
        return 1

    thread = threading.Thread(target=lambda: cache.get("k", slow, lambda _: 6))
    thread.start()
    assert first.wait(PATIENCE)
    go_on.set()
    thread.join(PATIENCE)
    assert cache.size == 6
    cache.get("other", lambda: 2, lambda _: 8)
    assert cache.size == 8
