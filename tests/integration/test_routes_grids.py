"""Grids over the routes, on a real tiny model: checked, painted as one job, and drawn as a labelled sheet."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from signed_in import named_by_header

from studio.engine import Engine
from studio.imaging.png import read_picture, read_png_text
from studio.jobs import Jobs
from studio.project.store import PictureStore, request_in
from studio.project.wordbook import Wordbooks
from studio.requests import TextToImage
from studio.web.desk import Desk
from studio.web.routes import build_routes
from studio.web.routes_grids import SHEET_KEY, build_grid_routes

PATIENCE = 60.0  # s


@dataclass
class Studio:
    client: TestClient
    store: PictureStore
    request: dict[str, Any]
    jobs: Jobs

    def post(self, path: str, status: int, across: Any, down: Any = None, **changed: Any) -> dict[str, Any]:
        body = {"request": self.request | changed, "across": across, "down": down}
        answer = self.client.post(f"/studio/{path}", content=json.dumps(body))
        assert answer.status_code == status, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def painted(self, grid: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            told: dict[str, Any] = self.client.get(f"/studio/grids/{grid['id']}").json()
            if told["ended"]:
                return told
            time.sleep(0.02)
        raise AssertionError("the grid never ended")


@contextmanager
def opened(engine: Engine, model: str, folder: Path) -> Iterator[Studio]:
    """The studio with its data in `folder`, from its start to its end."""
    store, wordbooks = PictureStore(folder), Wordbooks(folder)
    jobs = Jobs(engine, store, queue_limit=12)
    app = FastAPI()
    named_by_header(app)
    app.include_router(build_routes(engine, jobs, store, wordbooks))
    app.include_router(build_grid_routes(engine, jobs, store, wordbooks, folder, Desk()))
    request = TextToImage("a lake", width=64, height=64, num_inference_steps=2, seed=7, model=model)
    with TestClient(app) as client:
        yield Studio(client, store, request.to_dict(), jobs)
    jobs.close(PATIENCE)


@pytest.fixture
def studio(tiny_engine: Engine, tiny_model: Path, tmp_path: Path) -> Iterator[Studio]:
    with opened(tiny_engine, str(tiny_model), tmp_path) as made:
        yield made


SEEDS = {"field": "seed", "values": "3, 4"}
STEPS = {"field": "num_inference_steps", "values": "1-3"}


def test_a_grid_is_painted_cell_by_cell_and_each_says_what_it_was_made_from(studio: Studio) -> None:
    begun = studio.post("grids", 202, SEEDS, STEPS)
    assert (begun["across"]["labels"], begun["down"]["labels"]) == (["3", "4"], ["1", "2", "3"])
    told = studio.painted(begun)
    assert told["state"] == "done"
    requests = []
    for cell in told["cells"]:
        png = studio.store.png("local", cell["id"])
        assert png is not None
        requests.append(request_in(png)[0])
    assert [(request.seed, request.num_inference_steps) for request in requests] == [
        (3, 1),
        (4, 1),
        (3, 2),
        (4, 2),
        (3, 3),
        (4, 3),
    ]
    listed = studio.client.get("/studio/grids").json()["grids"][0]
    assert listed == {name: value for name, value in told.items() if name not in ("base", "cells")}


def test_the_sheet_holds_every_picture_and_says_what_it_is(studio: Studio) -> None:
    told = studio.painted(studio.post("grids", 202, SEEDS))
    answer = studio.client.get(f"/studio/grids/{told['id']}/sheet.png")
    assert answer.headers["content-disposition"] == 'attachment; filename="grid-seed-7.png"'
    sheet = read_picture(answer.content)
    found = json.loads(read_png_text(answer.content)[SHEET_KEY])
    assert found["pictures"] == [cell["id"] for cell in told["cells"]]
    assert found["across"] == {"field": "seed", "title": "Seed", "labels": ["3", "4"]}
    assert found["base"]["prompt"] == "a lake"
    raw = sheet.tobytes()
    for cell in told["cells"]:
        png = studio.store.png("local", cell["id"])
        assert png is not None
        assert read_picture(png)[10].tobytes() in raw  # a row of its pixels, unchanged
    assert Image.open(io.BytesIO(answer.content)).width > 2 * 64


def test_a_check_says_how_many_it_would_be_or_what_is_wrong_beside_its_side(studio: Studio) -> None:
    assert studio.post("grids/check", 200, SEEDS, STEPS)["count"] == 6
    wrong = studio.post("grids/check", 200, SEEDS, {"field": "guidance_scale", "values": "5, 99"})
    assert (wrong["count"], wrong["field"]) == (None, "down")
    assert "Guidance runs from 0 to 30" in wrong["error"]
    calibrated = studio.post("grids/check", 200, {"field": "correction", "values": "off, calibrated"})
    assert "No correction was calibrated" in calibrated["error"]


@pytest.mark.parametrize("across", [None, 5, {"field": "seed"}, {"field": ["seed"], "values": "1"}, {"values": "1"}])
def test_what_is_no_side_of_a_grid_is_refused(studio: Studio, across: Any) -> None:
    assert studio.post("grids", 422, across)["field"] == "across"


def test_more_than_may_wait_is_refused_and_nothing_is_begun(studio: Studio) -> None:
    refused = studio.post("grids", 429, {"field": "seed", "values": "1-13"})
    assert "12 are the limit" in refused["error"]
    assert studio.client.get("/studio/grids").json() == {"grids": []}


def test_nobody_else_sees_a_grid(studio: Studio) -> None:
    grid = studio.painted(studio.post("grids", 202, {"field": "seed", "values": "1"}))
    other = {"x-user": "somebody"}
    assert studio.client.get(f"/studio/grids/{grid['id']}", headers=other).status_code == 404
    assert studio.client.get(f"/studio/grids/{grid['id']}/sheet.png", headers=other).status_code == 404
    assert studio.client.get("/studio/grids", headers=other).json() == {"grids": []}


def test_wildcards_and_weights_of_a_prompt_are_decided_in_each_cell(studio: Studio) -> None:
    prompts = {"field": "prompt", "values": "a {red|blue|green} lake\na plain one"}
    told = studio.painted(studio.post("grids", 202, prompts, {"field": "seed", "values": "1-2"}))
    made = []
    for cell in told["cells"]:
        png = studio.store.png("local", cell["id"])
        assert png is not None
        made.append(request_in(png)[0])
    assert [request.template for request in made] == ["a {red|blue|green} lake", "", "a {red|blue|green} lake", ""]
    assert all("{" not in request.prompt for request in made)


def test_snapshots_of_a_large_grid_stay_small(studio: Studio) -> None:
    told = studio.painted(studio.post("grids", 202, {"field": "seed", "values": "1-9"}))
    job = studio.client.get(f"/studio/jobs/{told['job']}").json()
    assert len(job["pictures"]) == 9
    assert len(job["ribbon"]) == 2  # of the picture that is, or was, being painted
    assert all(picture["ribbon"] == [] for picture in job["pictures"])


# -- a restart --------------------------------------------------------------------------------------------------------


def test_a_grid_is_there_after_a_restart_with_its_sheet_and_cells(
    tiny_engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    with opened(tiny_engine, str(tiny_model), tmp_path) as studio:
        told = studio.painted(studio.post("grids", 202, SEEDS, STEPS))
        sheet = studio.client.get(f"/studio/grids/{told['id']}/sheet.png").content
    with opened(tiny_engine, str(tiny_model), tmp_path) as studio:
        (again,) = studio.client.get("/studio/grids").json()["grids"]
        assert (again["id"], again["same"]) == (told["id"], told["same"])
        assert studio.client.get(f"/studio/grids/{told['id']}").json()["cells"] == told["cells"]
        assert (again["across"], again["down"]) == (told["across"], told["down"])
        assert (again["state"], again["ended"], again["job"]) == ("done", True, None)
        assert studio.client.get(f"/studio/grids/{told['id']}/sheet.png").content == sheet
        refused = studio.client.post(f"/studio/grids/{told['id']}/again")
        assert (refused.status_code, "are there" in refused.json()["error"]) == (422, True)
        assert studio.client.post(f"/studio/grids/{told['id']}/again", headers={"x-user": "eve"}).status_code == 404


def test_a_grid_whose_job_died_says_so_and_its_missing_pictures_are_painted(
    tiny_engine: Engine, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tiny_engine, str(tiny_model), tmp_path) as studio, monkeypatch.context() as patch:
        whole = studio.painted(studio.post("grids", 202, SEEDS, STEPS))
        expected = [studio.store.png("local", cell["id"]) for cell in whole["cells"]]

        class Killed(BaseException):
            """As if the process had ended here."""

        add, count = studio.store.add, 0

        def killed(*values: Any) -> str:
            nonlocal count
            count += 1
            if count > 2:
                raise Killed
            return add(*values)

        patch.setattr(studio.store, "add", killed)
        patch.setattr("threading.excepthook", lambda _: None)
        grid = studio.post("grids", 202, SEEDS, STEPS)
        worker = studio.jobs._worker
        assert worker is not None
        worker.join(PATIENCE)
    with opened(tiny_engine, str(tiny_model), tmp_path) as studio:
        told = studio.client.get(f"/studio/grids/{grid['id']}").json()
        assert (told["state"], told["ended"]) == ("cut", True)
        assert [cell["state"] for cell in told["cells"]] == ["done"] * 2 + ["missing"] * 4
        kept = [cell["id"] for cell in told["cells"][:2]]
        answer = studio.client.post(f"/studio/grids/{grid['id']}/again")
        assert answer.status_code == 202, answer.text
        assert not answer.json()["ended"]
        told = studio.painted(grid)
        assert (told["state"], [cell["id"] for cell in told["cells"][:2]]) == ("done", kept)
        assert [studio.store.png("local", cell["id"]) for cell in told["cells"]] == expected
        studio.store.discard("local", kept[1])
        gone = studio.client.get(f"/studio/grids/{grid['id']}").json()
        assert [cell["id"] is None for cell in gone["cells"]] == [False, True, False, False, False, False]
        studio.client.post(f"/studio/grids/{grid['id']}/again")
        told = studio.painted(grid)
        assert studio.store.png("local", told["cells"][1]["id"]) == expected[1]


def test_a_grid_that_was_stopped_says_so_after_a_restart(
    tiny_engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    with opened(tiny_engine, str(tiny_model), tmp_path) as studio:
        grid = studio.post("grids", 202, {"field": "seed", "values": "1-9"})
        studio.client.post(f"/studio/jobs/{grid['job']}/stop", json={"everything": True})
        stopped = studio.painted(grid)
        assert stopped["state"] == "stopped"
    with opened(tiny_engine, str(tiny_model), tmp_path) as studio:
        told = studio.client.get(f"/studio/grids/{grid['id']}").json()
        assert (told["state"], [cell["id"] for cell in told["cells"]]) == (
            "stopped",
            [cell["id"] for cell in stopped["cells"]],
        )
    with opened(tiny_engine, str(tiny_model), tmp_path) as studio:
        studio.request["model"] = "other"
        (file,) = (tmp_path / "grids").rglob("*.json")
        file.write_text(file.read_text().replace(json.dumps(str(tiny_model)), '"other"'))
        refused = studio.client.post(f"/studio/grids/{grid['id']}/again")
        assert (refused.status_code, refused.json()["field"]) == (422, "model")
