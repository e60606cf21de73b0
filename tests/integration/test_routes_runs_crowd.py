"""Recorded runs when many ask at once: fair turns, bounded queues and streams, nothing computed for nobody."""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from paced_engine import PATIENCE
from two_people import ANN, EVE, SIDE, STEPS, Studio, opened

from studio.diffusion.strengths import Strengths
from studio.engine import Engine
from studio.imaging.png import write_png
from studio.requests import TextToImage
from studio.viewer.cache import ByteCache
from studio.web.routes import STREAMS


@pytest.fixture(scope="module")
def studio(_tiny_engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(_tiny_engine, tiny_model, tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def run(studio: Studio) -> str:
    """A run of Ann's."""
    return studio.make(ANN)


@pytest.fixture(scope="module")
def own(studio: Studio) -> str:
    """A run of Eve's."""
    return studio.make(EVE)


def test_an_animation_of_gigabytes_is_refused(studio: Studio, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.viewer.viewer.ANIMATION_PIXELS", SIDE * SIDE * STEPS - 1)
    answer = studio.client.get(f"/studio/runs/{run}/animation.gif", headers=ANN)
    assert (answer.status_code, answer.json()["field"]) == (422, "size")
    most = int(re.findall(r"at most (\d+)", answer.json()["error"])[0])
    assert studio.client.get(f"/studio/runs/{run}/animation.gif?size={most}", headers=ANN).status_code == 200


def test_nearly_equal_questions_have_one_answer_in_the_cache(studio: Studio, run: str) -> None:
    paths = (
        "animation.gif?fps=8.000{}",
        f"difference/{run}/1.png?gain=8.000{{}}",
        "steps/1.png?show=added&gain=8.000{}",
    )
    for path in (*paths, "steps/1/bands.png?gain=8.000{}"):
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


def test_one_person_cannot_take_every_stream(studio: Studio) -> None:
    studio.engine.paced = True
    answer = studio.client.post("/studio/jobs", json={"request": studio.request, "count": 1}, headers=EVE)
    address = f"/studio/jobs/{answer.json()['id']}/events"
    lines: list[Iterator[str]] = []
    try:
        with contextlib.ExitStack() as open_streams:
            for _ in range(STREAMS):
                followed = open_streams.enter_context(studio.client.stream("GET", address, headers=EVE))
                lines.append(followed.iter_lines())  # kept: a stream whose reader is dropped is closed
                assert next(lines[-1]).startswith("data:")
            more = open_streams.enter_context(studio.client.stream("GET", address, headers=EVE))
            assert more.status_code == 429
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
