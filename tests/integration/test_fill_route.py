"""Fills over our routes: what a page posts, what it is told, and what it can rely on afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from paced_engine import PATIENCE, PacedEngine

from studio.engine import Engine
from studio.imaging.compositing import paste
from studio.imaging.plain_png import read_plain, write_plain
from studio.imaging.png import read_picture
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.project.pixels_store import PixelStore
from studio.project.runs import RunStore
from studio.project.store import PictureStore
from studio.project.uploads import Uploads
from studio.requests import INTENTS, Fill
from studio.viewer.viewer import Viewer
from studio.web.desk import Desk
from studio.web.routes import build_routes
from studio.web.routes_fill import build_fill_routes
from studio.web.routes_pixels import build_pixel_routes
from studio.web.routes_runs import build_run_routes

SIDE = 96
STEPS = 4


@dataclass
class Studio:
    client: TestClient
    engine: PacedEngine
    jobs: Jobs

    def send(self, pixels: np.ndarray) -> str:
        answer = self.client.post("/studio/pixels", content=write_plain(pixels))
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def post(self, picture: np.ndarray, mask: np.ndarray, count: int = 1, **request: Any) -> Any:
        painting = {"prompt": "a lighthouse", "num_inference_steps": STEPS} | request.pop("painting", {})
        body = {"source": self.send(picture), "mask": self.send(mask), "count": count}
        return self.client.post("/studio/fills", json=body | {"request": {"painting": painting} | request})

    def ended(self, answer: Any) -> dict[str, Any]:
        assert answer.status_code == 202, answer.text
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            snapshot = self.client.get(f"/studio/jobs/{answer.json()['id']}").json()
            if snapshot["state"] in FINISHED:
                return snapshot
            time.sleep(0.01)
        raise AssertionError("the job never ended")

    def layer(self, slot: dict[str, Any]) -> np.ndarray:
        answer = self.client.get(f"/studio/pixels/{slot['layer']['pixels']}.png")
        assert answer.status_code == 200
        return read_plain(answer.content)

    def refused(self, answer: Any) -> tuple[str, str | None]:
        assert answer.status_code == 422, answer.text
        return answer.json()["error"], answer.json()["field"]


@pytest.fixture
def studio(tiny_engine: Engine, tmp_path: Path) -> Iterator[Studio]:
    engine = PacedEngine(tiny_engine)
    engine.paced = False
    store, runs, pixels = PictureStore(tmp_path), RunStore(tmp_path), PixelStore(tmp_path)
    for each in (store, runs, pixels):
        each.prepare()
    viewer = Viewer(engine, runs, data=tmp_path)
    jobs = Jobs(engine, store, viewer=viewer, pixels=pixels)
    app = FastAPI()
    app.include_router(build_routes(engine, jobs, store))
    app.include_router(build_run_routes(engine, jobs, viewer, Uploads()))
    app.include_router(build_pixel_routes(pixels, Desk()))
    app.include_router(build_fill_routes(engine, jobs, pixels, Desk()))
    with TestClient(app) as client:
        yield Studio(client, engine, jobs)
    jobs.close()


@pytest.fixture
def picture() -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.stack([rows * 2, columns * 2, (rows + columns) % 256, np.full_like(rows, 255)], axis=2).astype(np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:60, 30:70] = 255
    return mask


def test_a_fill_becomes_a_layer_and_nothing_else_changes(
    studio: Studio, picture: np.ndarray, mask: np.ndarray
) -> None:
    slot = studio.ended(studio.post(picture, mask))["pictures"][0]
    assert slot["state"] == "done"
    layer = studio.layer(slot)
    place = slot["layer"]
    assert layer.shape == (place["height"], place["width"], 4)
    after = paste(picture, layer, place["x"], place["y"])
    changed = (after != picture).any(axis=2)
    assert not changed[mask == 0].any()
    assert slot["count"] == {
        "changed": int(changed.sum()),
        "untouched": int((mask == 0).sum()),
        "outside_changed": 0,
    }
    assert changed[mask > 0].mean() > 0.9


def test_a_slot_says_how_it_was_filled(studio: Studio, picture: np.ndarray, mask: np.ndarray) -> None:
    answer = studio.post(picture, mask, count=2, painting={"seed": 7})
    waiting = answer.json()["pictures"][0]
    assert waiting["layer"] is None and waiting["fill"]["painting"]["seed"] == 7
    slots = studio.ended(answer)["pictures"]
    assert [slot["seed"] for slot in slots] == [7, 8]
    fill = Fill.from_dict(slots[1]["fill"])
    assert (fill.painting.width, fill.painting.height) == (slots[1]["working"]["width"], slots[1]["working"]["height"])
    assert fill.context is not None and slots[1]["frame"]["width"] == fill.context.width
    assert slots[0]["layer"]["pixels"] != slots[1]["layer"]["pixels"]


def test_the_run_of_a_fill_opens_as_any_other(studio: Studio, picture: np.ndarray, mask: np.ndarray) -> None:
    slot = studio.ended(studio.post(picture, mask))["pictures"][0]
    facts = studio.client.get(f"/studio/runs/{slot['id']}")
    assert facts.status_code == 200, facts.text
    step = studio.client.get(f"/studio/runs/{slot['id']}/steps/{STEPS - 1}.png?look=full")
    kept = studio.client.get(f"/studio/pictures/{slot['id']}.png")
    working = slot["working"]
    pixels = read_picture(kept.content)
    assert pixels.shape == (working["height"], working["width"], 3)
    assert step.status_code == 200
    np.testing.assert_array_equal(read_plain(step.content), pixels)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"intent": "paint"}, "intent"),
        ({"start": 99}, "start"),
        ({"feather": -1}, "feather"),
        ({"grow": 999}, "grow"),
        ({"prefill": "magic"}, "prefill"),
        ({"method": "own", "context": {"x": 0}}, "context"),
        ({"painting": {"prompt": " "}}, "prompt"),
        ({"painting": {"width": 64}}, "width"),
        ({"painting": {"model": "sdxl"}}, "model"),
        ({"nonsense": 1}, None),
    ],
)
def test_a_wrong_wish_is_refused_with_the_name_of_its_field(
    studio: Studio, picture: np.ndarray, mask: np.ndarray, request_: dict[str, Any], field: str | None
) -> None:
    words, named = studio.refused(studio.post(picture, mask, **request_))
    assert named == field and words.endswith((".", "?"))


def test_an_empty_mask_a_mask_of_another_size_and_missing_pixels_are_refused(
    studio: Studio, picture: np.ndarray, mask: np.ndarray
) -> None:
    assert studio.refused(studio.post(picture, np.zeros_like(mask)))[1] == "mask"
    assert studio.refused(studio.post(picture, mask[:50]))[1] == "mask"
    assert studio.refused(studio.post(picture, picture))[1] == "mask"
    assert studio.refused(studio.post(picture[:1, :1], mask[:1, :1]))[1] == "source"
    body = {"source": "0" * 32, "mask": studio.send(mask), "request": {"painting": {"prompt": "a lighthouse"}}}
    assert studio.refused(studio.client.post("/studio/fills", json=body))[1] == "source"
    assert studio.refused(studio.client.post("/studio/fills", json=body | {"count": 99, "more": 1}))[1] == "more"
    # and the studio fills as before
    assert studio.ended(studio.post(picture, mask))["state"] == "done"


def test_a_stopped_fill_keeps_its_layer_as_it_stood(studio: Studio, picture: np.ndarray, mask: np.ndarray) -> None:
    studio.engine.paced = True
    answer = studio.post(picture, mask, count=2)
    studio.engine.wait_until_held()
    studio.engine.allow()
    studio.engine.wait_until_held()
    job = answer.json()["id"]
    studio.client.post(f"/studio/jobs/{job}/stop", json={"everything": True})
    studio.engine.paced = False
    studio.engine.allow(9)
    first, second = studio.ended(answer)["pictures"]
    assert (first["state"], second["state"], second["layer"]) == ("stopped", "stopped", None)
    assert first["stopped_at"] == 2 and first["count"]["outside_changed"] == 0
    told = studio.client.post("/studio/fills/layer", json={"run": first["id"]}).json()
    assert (told["stopped_at"], told["layer"]) == (2, first["layer"])
    layer = studio.layer(first)
    assert not (paste(picture, layer, first["layer"]["x"], first["layer"]["y"]) != picture)[mask == 0].any()


def test_a_branch_of_a_fill_is_put_back_as_the_fill_was(studio: Studio, picture: np.ndarray, mask: np.ndarray) -> None:
    slot = studio.ended(studio.post(picture, mask))["pictures"][0]
    answer = studio.client.post(f"/studio/runs/{slot['id']}/branch", json={"from": 1})
    again = studio.ended(answer)["pictures"][0]
    assert (again["layer"], again["count"], again["frame"]) == (slot["layer"], slot["count"], slot["frame"])
    other = studio.client.post(f"/studio/runs/{slot['id']}/branch", json={"from": 1, "request": {"guidance_scale": 9}})
    changed = studio.ended(other)["pictures"][0]
    assert changed["layer"]["pixels"] != slot["layer"]["pixels"]
    assert changed["fill"]["painting"]["guidance_scale"] == 9
    assert changed["count"]["outside_changed"] == 0


def test_what_a_person_does_not_say_is_what_suits_the_model_and_the_intent(
    studio: Studio, picture: np.ndarray, mask: np.ndarray
) -> None:
    card = studio.engine.card()
    for intent in ("remove", "refine"):
        slot = studio.post(picture, mask, intent=intent).json()["pictures"][0]
        suited = INTENTS[intent]
        assert slot["fill"]["start"] == suited.start_of(STEPS)
        assert slot["fill"]["painting"]["guidance_scale"] == suited.guidance_for(card.guidance_scale)
        assert slot["fill"]["painting"]["solver"] == card.solver
    said = studio.post(picture, mask, intent="refine", start=1, painting={"guidance_scale": 2.0}).json()["pictures"][0]
    assert (said["fill"]["start"], said["fill"]["painting"]["guidance_scale"]) == (1, 2.0)


def test_the_page_is_told_what_the_server_would_decide(studio: Studio, picture: np.ndarray, mask: np.ndarray) -> None:
    answer = studio.client.get("/studio/fills/usual")
    assert answer.status_code == 200
    usual = answer.json()["intents"]
    assert list(usual) == list(INTENTS)
    for intent, suits in usual.items():
        fill = studio.post(picture, mask, intent=intent).json()["pictures"][0]["fill"]
        assert suits["starts"][STEPS - 1] == fill["start"]
        assert suits["guidance_scale"] == fill["painting"]["guidance_scale"]
        assert suits["harmonise"] == fill["harmonise"]
        assert suits["prefill"] == INTENTS[intent].prefill
        assert all(0 <= start < steps for steps, start in enumerate(suits["starts"], start=1))


def test_null_is_what_suits_and_not_a_value(studio: Studio, picture: np.ndarray, mask: np.ndarray) -> None:
    unsaid = {"num_inference_steps": STEPS, "guidance_scale": None}
    fill = studio.post(picture, mask, intent="refine", start=None, harmonise=None, painting=unsaid)
    silent = studio.post(picture, mask, intent="refine")
    assert fill.json()["pictures"][0]["fill"]["start"] == INTENTS["refine"].start_of(STEPS)
    first, second = (one.json()["pictures"][0]["fill"] for one in (fill, silent))
    assert first == second


def test_the_layer_of_a_kept_fill_and_of_its_branches_is_there_again(
    studio: Studio, picture: np.ndarray, mask: np.ndarray
) -> None:
    slot = studio.ended(studio.post(picture, mask))["pictures"][0]
    told = studio.client.post("/studio/fills/layer", json={"run": slot["id"]}).json()
    for name in ("fill", "frame", "working", "layer", "count"):
        assert told[name] == slot[name], name
    assert told["stopped_at"] is None
    branch = studio.client.post(
        f"/studio/runs/{slot['id']}/branch", json={"from": 2, "request": {"guidance_scale": 9}}
    )
    changed = studio.ended(branch)["pictures"][0]
    again = studio.client.post("/studio/fills/layer", json={"run": changed["id"]}).json()
    assert again["layer"] == changed["layer"] != slot["layer"]
    assert again["count"]["outside_changed"] == 0
    assert studio.client.get(f"/studio/runs/{changed['id']}").json()["fill"] is True


def test_what_is_no_fill_has_no_layer(studio: Studio) -> None:
    answer = studio.client.post(
        "/studio/jobs", json={"request": {"prompt": "a lake", "num_inference_steps": 2, "width": 64, "height": 64}}
    )
    whole = studio.ended(answer)["pictures"][0]["id"]
    words, _ = studio.refused(studio.client.post("/studio/fills/layer", json={"run": whole}))
    assert "no fill" in words
    assert studio.client.post("/studio/fills/layer", json={"run": "0" * 12}).status_code == 404
    assert studio.refused(studio.client.post("/studio/fills/layer", json={"run": 3}))[1] == "run"


def test_fills_that_wait_hold_so_many_pixels_and_no_more(
    studio: Studio, picture: np.ndarray, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.jobs.FILLS_LIMIT", 3 * SIDE * SIDE * 6)
    studio.engine.paced = True
    first = studio.post(picture, mask, count=4)  # its variations share their pixels
    assert first.status_code == 202
    answers = [studio.post(picture, mask) for _ in range(4)]
    assert [answer.status_code for answer in answers][-1] == 429
    assert "fills are waiting" in answers[-1].json()["error"]
    studio.engine.paced = False
    studio.engine.allow(99)
    studio.ended(first)
    for answer in answers:
        if answer.status_code == 202:
            studio.ended(answer)
    assert studio.ended(studio.post(picture, mask))["state"] == "done"  # what was done holds none any more


def test_ten_fills_in_a_row_leave_what_none_of_them_touched(studio: Studio, picture: np.ndarray) -> None:
    now, touched = picture, np.zeros((SIDE, SIDE), bool)
    for turn in range(10):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        y, x = 4 + 12 * (turn // 5), 2 + 18 * (turn % 5)
        mask[y : y + 14, x : x + 14] = 255
        touched |= mask > 0
        slot = studio.ended(studio.post(now, mask, painting={"seed": turn}))["pictures"][0]
        now = paste(now, studio.layer(slot), slot["layer"]["x"], slot["layer"]["y"])
    np.testing.assert_array_equal(now[~touched], picture[~touched])
    assert (now != picture).any()
