"""Our routes over a real port, as the page calls them. The guard and the login around them have tests of their own."""

from __future__ import annotations

import json
import socket
import threading
import time
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
from signed_in import named_by_header

from studio.engine import Engine
from studio.imaging.png import REQUEST_KEY, write_png
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.project.store import PictureStore, request_in
from studio.requests import SEED_RANGE, TextToImage, batch
from studio.web.routes import build_routes

STEPS = 5


@dataclass
class Studio:
    """A studio's routes, and what is behind them."""

    client: httpx.Client
    engine: PacedEngine
    jobs: Jobs
    store: PictureStore
    request: dict[str, Any]

    def submit(self, count: int = 1, status: int = 202, **changed: Any) -> dict[str, Any]:
        answer = self.client.post("/studio/jobs", json={"request": self.request | changed, "count": count})
        assert answer.status_code == status, answer.text
        return answer.json()

    def until_ended(self, job_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            snapshot = self.client.get(f"/studio/jobs/{job_id}").json()
            if snapshot["state"] in FINISHED:
                return snapshot
            time.sleep(0.02)
        raise AssertionError("the job never ended")


@pytest.fixture
def studio(tiny_engine: Engine, tiny_model: Path, tmp_path: Path) -> Iterator[Studio]:
    engine = PacedEngine(tiny_engine)
    engine.paced = False
    store = PictureStore(tmp_path)
    jobs = Jobs(engine, store, queue_limit=6)
    app = FastAPI()
    named_by_header(app)
    app.include_router(build_routes(engine, jobs, store))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    request = TextToImage("a lake", width=64, height=64, num_inference_steps=STEPS, seed=7, model=str(tiny_model))
    port = listener.getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
        yield Studio(client, engine, jobs, store, request.to_dict())
    engine.paced = False
    engine.allow(1000)
    jobs.close(PATIENCE)
    server.should_exit = True
    thread.join(PATIENCE)
    listener.close()


def _events(stream: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in stream:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


# -- the main job -----------------------------------------------------------------------------------------------------


def test_a_picture_is_made_and_its_png_makes_the_same_again(studio: Studio) -> None:
    ended = studio.until_ended(studio.submit()["id"])
    assert ended["state"] == "done"
    answer = studio.client.get(f"/studio/pictures/{ended['pictures'][0]['id']}.png")
    assert answer.headers["content-type"] == "image/png"
    imported = studio.client.post("/studio/import", content=answer.content)
    assert imported.status_code == 200
    assert imported.json()["request"] == studio.request
    again = studio.until_ended(studio.submit(**imported.json()["request"])["id"])
    assert studio.client.get(f"/studio/pictures/{again['pictures'][0]['id']}.png").content == answer.content


def test_events_tell_every_state_until_the_end(studio: Studio) -> None:
    studio.engine.paced = True
    job_id = studio.submit(count=2)["id"]
    seen: list[dict[str, Any]] = []
    with studio.client.stream("GET", f"/studio/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        for snapshot in _events(answer.iter_lines()):
            seen.append(snapshot)
            studio.engine.allow()
    versions = [snapshot["version"] for snapshot in seen]
    assert versions == sorted(set(versions))
    assert seen[-1]["state"] == "done"
    assert {snapshot["index"] for snapshot in seen} == {0, 1}
    assert len({(snapshot["index"], snapshot["step"]) for snapshot in seen}) > STEPS
    assert seen[-1] == studio.client.get(f"/studio/jobs/{job_id}").json()


def test_a_reader_that_comes_late_or_comes_back_is_told_the_present_state(studio: Studio) -> None:
    studio.engine.paced = True
    job_id = studio.submit()["id"]
    studio.engine.allow(2)
    for _ in range(3):
        studio.engine.wait_until_held()
    with studio.client.stream("GET", f"/studio/jobs/{job_id}/events") as answer:
        first = next(_events(answer.iter_lines()))
    assert (first["state"], first["step"]) == ("running", 2)
    session = studio.client.get("/studio/session").json()
    assert [job["id"] for job in session["jobs"]] == [job_id]
    assert session["jobs"][0]["step"] == 2
    studio.engine.allow(STEPS)
    assert studio.until_ended(job_id)["state"] == "done"


def test_the_stream_of_an_ended_job_ends_at_once(studio: Studio) -> None:
    job_id = studio.submit()["id"]
    ended = studio.until_ended(job_id)
    with studio.client.stream("GET", f"/studio/jobs/{job_id}/events") as answer:
        assert list(_events(answer.iter_lines())) == [ended]


def test_streams_end_when_the_studio_closes(studio: Studio) -> None:
    studio.engine.paced = True
    job_id = studio.submit()["id"]
    studio.engine.wait_until_held()
    with studio.client.stream("GET", f"/studio/jobs/{job_id}/events") as answer:
        events = _events(answer.iter_lines())
        next(events)
        studio.engine.allow(1000)
        studio.jobs.close(PATIENCE)
        assert list(events)[-1]["state"] == "stopped"


def test_stop_keeps_a_picture_and_previews_come_before(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.engine.PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr("studio.engine.PREVIEW_SHARE", 1e9)
    studio.engine.paced = True
    job_id = studio.submit(count=2)["id"]
    assert studio.client.get(f"/studio/jobs/{job_id}/preview.png").status_code == 204
    studio.engine.allow(1)
    studio.engine.wait_until_held()
    studio.engine.wait_until_held()
    preview = studio.client.get(f"/studio/jobs/{job_id}/preview.png?v=1")
    assert preview.status_code == 200
    assert preview.content.startswith(b"\x89PNG")
    assert preview.headers["cache-control"] == "no-store"
    answer = studio.client.post(f"/studio/jobs/{job_id}/stop", json={"everything": True})
    assert answer.status_code == 200
    studio.engine.allow(1)
    ended = studio.until_ended(job_id)
    assert [slot["state"] for slot in ended["pictures"]] == ["stopped", "stopped"]
    assert ended["pictures"][0]["stopped_at"] == 2
    kept = studio.client.get(f"/studio/pictures/{ended['pictures'][0]['id']}.png").content
    assert request_in(kept)[1] == 2


@pytest.mark.parametrize("body", [b"", b"{}", b'{"everything": false}', b'{"everything": 1}', b"[]", b"null"])
def test_stop_means_this_picture_unless_everything_is_asked_for(studio: Studio, body: bytes) -> None:
    studio.engine.paced = True
    job_id = studio.submit(count=2)["id"]
    studio.engine.wait_until_held()
    assert studio.client.post(f"/studio/jobs/{job_id}/stop", content=body).status_code == 200
    studio.engine.paced = False
    studio.engine.allow(1)
    assert [slot["state"] for slot in studio.until_ended(job_id)["pictures"]] == ["stopped", "done"]


@pytest.mark.parametrize("body", [b"{", b"NaN", b"x" * 5000, b"[[[[]]]]"])
def test_a_stop_that_is_no_json_is_refused_and_stops_nothing(studio: Studio, body: bytes) -> None:
    studio.engine.paced = True
    job_id = studio.submit()["id"]
    studio.engine.wait_until_held()
    assert studio.client.post(f"/studio/jobs/{job_id}/stop", content=body).status_code == 422
    studio.engine.allow(STEPS)
    assert studio.until_ended(job_id)["state"] == "done"


def test_the_session_tells_pictures_newest_first_and_the_model(studio: Studio) -> None:
    assert studio.client.get("/studio/session").json()["model"]["seconds_per_picture"] is None
    ended = studio.until_ended(studio.submit(count=2)["id"])
    session = studio.client.get("/studio/session").json()
    assert [p["id"] for p in session["pictures"]] == [s["id"] for s in reversed(ended["pictures"])]
    newest = session["pictures"][0]
    assert newest["request"] == studio.request | {"seed": 8}
    assert newest["seconds"] > 0
    assert abs(newest["made_at"] / 1000 - time.time()) < 600
    assert session["model"]["name"] == studio.engine.default_model
    assert session["model"]["loaded"] is True
    assert {"title", "width", "height", "num_inference_steps", "guidance_scale", "solver", "blurb"} <= set(
        session["model"]
    )


def test_a_field_that_is_not_sent_is_what_suits_the_model(studio: Studio) -> None:
    answer = studio.client.post("/studio/jobs", json={"request": {"prompt": "a lake", "num_inference_steps": 2}})
    request = answer.json()["pictures"][0]["request"]
    card = studio.engine.card()
    assert (request["width"], request["height"], request["solver"]) == (card.width, card.height, card.solver)
    assert request["model"] == studio.engine.default_model
    studio.until_ended(answer.json()["id"])


# -- bad input --------------------------------------------------------------------------------------------------------

BAD_FIELDS: list[tuple[str, Any]] = [
    ("prompt", "x" * 5000),
    ("prompt", "a\u0000b"),
    ("prompt", "\u001b[31m"),
    ("prompt", 7),
    ("negative_prompt", "\u0007"),
    ("width", 0),
    ("width", 7),
    ("width", 100_000),
    ("height", 130),
    ("num_inference_steps", 0),
    ("num_inference_steps", 10_000),
    ("guidance_scale", -1),
    ("guidance_scale", "5"),
    ("seed", -1),
    ("seed", 2**70),
    ("seed", 1.5),
    ("solver", "Magic"),
    ("model", "nobody"),
    ("model", "/etc"),
    ("model", "../../secret.safetensors"),
    ("model", "owner/some-repository"),
    ("model", ""),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS, ids=[f"{f}-{n}" for n, (f, _) in enumerate(BAD_FIELDS)])
def test_a_bad_field_is_named_in_words_and_the_next_request_works(studio: Studio, field: str, value: Any) -> None:
    told = studio.submit(status=422, **{field: value})
    assert told["field"] == field
    assert told["error"].isprintable()
    assert 10 < len(told["error"]) < 400
    assert studio.client.get("/studio/session").json()["jobs"] == []
    assert studio.until_ended(studio.submit(num_inference_steps=1)["id"])["state"] == "done"


@pytest.mark.parametrize("count", [0, -1, 9, 1000, 1.5, "2", None, True])
def test_a_bad_count_is_named(studio: Studio, count: Any) -> None:
    assert studio.submit(count=count, status=422)["field"] == "count"


BAD_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"request"',
    b"{}",
    b'{"request": null}',
    b'{"request": []}',
    b'{"request": {"guidance_scale": NaN}}',
    b'{"request": {"guidance_scale": Infinity}}',
    b'{"request": {"guidance_scale": 1e999}}',
    b'{"request": {"seed": 1, "seed": 2}}',
    b'{"request": {"colour": "red"}}',
    b'{"request": {"prompt": "\\ud800"}}',
    b'{"request": {"prompt": [[[[[]]]]]}}',
    b"[" * 50_000,
    b'{"request": {"prompt": "' + b"x" * 100_000 + b'"}}',
    b'{"request": {"seed": ' + b"9" * 5000 + b"}}",
    b"\xff\xfe",
    b"prompt=a+lake&count=1",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=[body[:24].decode("latin-1") for body in BAD_BODIES])
def test_a_body_that_is_no_request_is_refused_in_words(studio: Studio, body: bytes) -> None:
    answer = studio.client.post("/studio/jobs", content=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "field"}
    assert answer.json()["error"].isprintable()
    assert len(answer.json()["error"]) < 400
    assert studio.client.get("/studio/session").json()["jobs"] == []


def test_a_hundred_thousand_characters_are_answered_in_words_beside_the_prompt(studio: Studio) -> None:
    told = studio.submit(status=422, prompt="x" * 60_000)
    assert told["field"] == "prompt"
    assert "60,000 characters" in told["error"]


def test_a_full_queue_is_429_in_words_and_frees_itself(studio: Studio) -> None:
    studio.engine.paced = True
    job_id = studio.submit(count=6)["id"]
    told = studio.submit(status=429)
    assert "6 pictures are waiting" in told["error"]
    studio.client.post(f"/studio/jobs/{job_id}/stop", json={"everything": True})
    studio.engine.paced = False
    studio.engine.allow(10)
    studio.until_ended(job_id)
    assert studio.until_ended(studio.submit()["id"])["state"] == "done"


def test_a_failing_picture_is_told_in_words_and_the_next_is_painted(studio: Studio) -> None:
    studio.engine.fails_on[7] = RuntimeError("secret detail of /home/me")
    ended = studio.until_ended(studio.submit()["id"])
    assert ended["state"] == "failed"
    assert "secret" not in json.dumps(ended)
    assert studio.until_ended(studio.submit(seed=8)["id"])["state"] == "done"


def _note(**changed: Any) -> bytes:
    note = {"format": 1, "request": TextToImage().to_dict()} | changed
    return write_png(np.zeros((4, 4, 3), np.uint8), {REQUEST_KEY: json.dumps(note)})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no png",
        b"\x89PNG\r\n\x1a\n",
        write_png(np.zeros((4, 4, 3), np.uint8)),
        _note(format=9),
        _note(request={"seed": -1}),
        _note(request={"width": 100_000}),
        _note()[:-30],
    ],
    ids=lambda body: f"{len(body)} bytes",
)
def test_a_file_that_cannot_be_imported_is_answered_in_words(studio: Studio, body: bytes) -> None:
    answer = studio.client.post("/studio/import", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"].isprintable()


def test_importing_a_strangers_png_loads_nothing_and_paints_nothing(studio: Studio) -> None:
    before = studio.engine.loaded_model
    request = TextToImage("${alert(1)} <img onerror=x>", model="/somewhere/strange.safetensors").to_dict()
    answer = studio.client.post("/studio/import", content=_note(request=request))
    assert answer.status_code == 200
    # brackets of a request from before there were weights stand for themselves
    assert answer.json()["request"] == {**request, "prompt": r"${alert\(1\)} <img onerror=x>"}
    assert answer.json()["prompt"] == request["prompt"]
    assert studio.engine.loaded_model == before
    assert studio.engine.painted == []
    assert studio.submit(status=422, **request)["field"] == "model"


# -- names and owners -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/studio/pictures/..%2f..%2fsecret.png",
        "/studio/pictures/secret.png",
        "/studio/pictures/.png",
        "/studio/pictures/1700000000000-0123456789abcdef.png",
        "/studio/jobs/nobody",
        "/studio/jobs/nobody/events",
        "/studio/jobs/nobody/preview.png",
        "/studio/assets/../pyproject.toml",
        "/studio/assets/..%2fpyproject.toml",
        "/studio/assets/%2e%2e/pyproject.toml",
        "/studio/assets//etc/passwd",
        "/studio/assets/models/painter/model_index.json",
        "/studio/assets/.hidden.js",
        "/studio/assets/nobody.js",
        "/studio/assets/generate.js%00.png",
        "/studio/assets/examples/..%2fgenerate.js",
        "/studio/assets/",
        "/studio/nothing",
    ],
)
def test_what_is_not_there_is_404(studio: Studio, path: str) -> None:
    studio.until_ended(studio.submit(num_inference_steps=1)["id"])
    assert studio.client.get(path).status_code == 404


def test_stopping_an_unknown_job_is_404(studio: Studio) -> None:
    assert studio.client.post("/studio/jobs/nobody/stop", json={}).status_code == 404


def test_the_page_gets_its_files_with_their_types(studio: Studio) -> None:
    for name, kind in (
        ("generate.js", "text/javascript"),
        ("tokens.css", "text/css"),
        ("favicon.svg", "image/svg+xml"),
    ):
        answer = studio.client.get(f"/studio/assets/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["cache-control"] == "no-cache"


def test_one_person_sees_nothing_of_another(studio: Studio) -> None:
    mine, yours = {"x-user": "me"}, {"x-user": "you"}
    job_id = studio.client.post("/studio/jobs", json={"request": studio.request}, headers=mine).json()["id"]
    while (job := studio.client.get(f"/studio/jobs/{job_id}", headers=mine).json())["state"] not in FINISHED:
        time.sleep(0.02)
    picture = f"/studio/pictures/{job['pictures'][0]['id']}.png"
    assert studio.client.get(picture, headers=mine).status_code == 200
    for headers in (yours, {}):
        assert studio.client.get(picture, headers=headers).status_code == 404
        assert studio.client.get(f"/studio/jobs/{job_id}", headers=headers).status_code == 404
        assert studio.client.get(f"/studio/jobs/{job_id}/events", headers=headers).status_code == 404
        assert studio.client.post(f"/studio/jobs/{job_id}/stop", json={}, headers=headers).status_code == 404
        session = studio.client.get("/studio/session", headers=headers).json()
        assert (session["jobs"], session["pictures"]) == ([], [])


def test_a_download_is_named_by_its_words_and_seed_in_plain_letters(studio: Studio) -> None:
    job = studio.submit(prompt='A "lake"\r\nX-Evil: 1; été / ../ 雪 at dawn', num_inference_steps=1)
    picture = studio.until_ended(job["id"])["pictures"][0]["id"]
    inline = studio.client.get(f"/studio/pictures/{picture}.png")
    assert "content-disposition" not in inline.headers
    assert "immutable" in inline.headers["cache-control"]
    assert inline.headers["cache-control"].startswith("private")
    download = studio.client.get(f"/studio/pictures/{picture}.png?download=1")
    assert download.headers["content-disposition"] == 'attachment; filename="a-lake-x-evil-1-t-at-dawn-7.png"'
    assert "x-evil" not in download.headers
    assert download.content == inline.content


def test_a_long_prompt_still_gives_a_short_name_that_keeps_the_seed(studio: Studio) -> None:
    job = studio.submit(prompt="extraordinarily " * 40, seed=SEED_RANGE[1], num_inference_steps=1)
    picture = studio.until_ended(job["id"])["pictures"][0]["id"]
    name = studio.client.get(f"/studio/pictures/{picture}.png?download=1").headers["content-disposition"]
    assert f'-{SEED_RANGE[1]}.png"' in name
    assert len(name) < 120


def test_words_are_checked_for_the_painter_alone(studio: Studio) -> None:
    answer = studio.client.get("/studio/words", params={"prompt": "a dragon over a lake"})
    assert answer.json() == {"unknown": []}, "another model may know dragons"


def test_words_that_the_painter_does_not_know_come_with_the_nearest(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio.engine, "default_model", "painter")
    (unknown,) = studio.client.get("/studio/words", params={"prompt": "a dragon over a lake"}).json()["unknown"]
    assert unknown["word"] == "dragon"
    assert len(unknown["nearest"]) == 2
    assert studio.client.get("/studio/words").json() == {"unknown": []}
    assert studio.client.get("/studio/words", params={"prompt": "\x00${x} " + "zq " * 9000}).status_code == 200


def test_many_readers_of_one_job_are_all_told_the_end(studio: Studio) -> None:
    studio.engine.paced = True
    job_id = studio.submit()["id"]
    ends: list[str] = []

    def read() -> None:
        with httpx.stream("GET", f"{studio.client.base_url}/studio/jobs/{job_id}/events", timeout=PATIENCE) as answer:
            ends.append(list(_events(answer.iter_lines()))[-1]["state"])

    readers = [threading.Thread(target=read) for _ in range(12)]
    for reader in readers:
        reader.start()
    studio.engine.allow(STEPS)
    for reader in readers:
        reader.join(PATIENCE)
    assert ends == ["done"] * 12


def test_a_batch_gives_the_pictures_that_single_requests_give(studio: Studio) -> None:
    together = studio.until_ended(studio.submit(count=2)["id"])["pictures"]
    for slot, request in zip(together, batch(TextToImage(**studio.request), 2), strict=True):
        png = studio.client.get(f"/studio/pictures/{slot['id']}.png").content
        assert png == studio.engine.run(request).to_png()
