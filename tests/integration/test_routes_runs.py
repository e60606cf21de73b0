"""Recorded runs over a real port, as the Steps tab reads them. Every number is compared with the library's own."""

from __future__ import annotations

import io
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
from PIL import Image
from signed_in import named_by_header

from studio.diffusion.run_file import load_recording
from studio.diffusion.strengths import Strengths
from studio.diffusion.wavelets import band_energies, shares
from studio.engine import Engine
from studio.imaging.png import write_png
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.project.runs import RunStore
from studio.project.store import PictureStore
from studio.project.uploads import Uploads
from studio.requests import TextToImage
from studio.viewer.facts import facts_of
from studio.viewer.viewer import Viewer
from studio.web.routes import build_routes
from studio.web.routes_runs import build_run_routes

STEPS = 6
SIDE = 64


@dataclass
class Studio:
    client: httpx.Client
    engine: PacedEngine
    viewer: Viewer
    request: dict[str, Any]
    data: Path

    def ended(self, answer: httpx.Response) -> dict[str, Any]:
        """Waits for the job in `answer` and returns its only picture's slot."""
        assert answer.status_code == 202, answer.text
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            snapshot = self.client.get(f"/studio/jobs/{answer.json()['id']}").json()
            if snapshot["state"] in FINISHED:
                assert snapshot["state"] != "failed", snapshot["error"]
                return snapshot["pictures"][0]
            time.sleep(0.02)
        raise AssertionError("the job never ended")

    def make(self, **changed: Any) -> str:
        """A finished picture's id, which is its run's."""
        answer = self.client.post("/studio/jobs", json={"request": self.request | changed, "count": 1})
        return self.ended(answer)["id"]

    def branch(self, run: str, **wish: Any) -> str:
        return self.ended(self.client.post(f"/studio/runs/{run}/branch", json=wish))["id"]

    def refused(self, run: str, status: int = 422, **wish: Any) -> dict[str, Any]:
        answer = self.client.post(f"/studio/runs/{run}/branch", json=wish)
        assert answer.status_code == status, answer.text
        return answer.json()

    def facts(self, run: str, **query: Any) -> dict[str, Any]:
        answer = self.client.get(f"/studio/runs/{run}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pixels(self, path: str, **query: Any) -> np.ndarray:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))

    def picture(self, run: str) -> np.ndarray:
        return self.pixels(f"/studio/pictures/{run}.png")

    def upload(self, pixels: np.ndarray) -> str:
        answer = self.client.put("/studio/uploads", content=write_png(pixels), headers={"Content-Type": "image/png"})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def studio(_tiny_engine: Engine, tiny_model: Path, folder: Path) -> Iterator[Studio]:
    engine = PacedEngine(_tiny_engine)
    engine.paced = False
    store, runs = PictureStore(folder), RunStore(folder)
    runs.prepare()
    viewer = Viewer(engine, runs, data=folder)
    jobs = Jobs(engine, store, queue_limit=6, viewer=viewer)
    app = FastAPI()
    named_by_header(app)
    app.include_router(build_routes(engine, jobs, store))
    app.include_router(build_run_routes(engine, jobs, viewer, Uploads()))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    request = TextToImage(
        "a lake", width=SIDE, height=SIDE, num_inference_steps=STEPS, seed=7, model=str(tiny_model), solver="DPM++ 2M"
    )
    port = listener.getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
        yield Studio(client, engine, viewer, request.to_dict(), folder)
    engine.paced = False
    engine.allow(1000)
    jobs.close(PATIENCE)
    server.should_exit = True
    thread.join(PATIENCE)
    listener.close()


@pytest.fixture(scope="module")
def run(studio: Studio) -> str:
    return studio.make()


def _shared(studio: Studio, run: str, branch: str, steps: int) -> None:
    for k in range(steps):
        for look in ("fast", "full"):
            one, two = (studio.pixels(f"/studio/runs/{r}/steps/{k}.png", look=look) for r in (run, branch))
            np.testing.assert_array_equal(one, two)


# -- see --------------------------------------------------------------------------------------------------------------


def test_every_finished_picture_is_a_run(studio: Studio, run: str) -> None:
    lines = studio.client.get("/studio/runs").json()["runs"]
    (line,) = [line for line in lines if line["id"] == run]
    assert line["request"] == studio.request
    assert (line["parent"], line["root"], line["branch_at"], line["label"]) == (None, run, None, "Original")
    assert (line["recorded"], line["count"], line["latents"]) == (STEPS, STEPS, True)
    assert line["bytes"] > 0
    assert [line["made_at"] for line in lines] == sorted((line["made_at"] for line in lines), reverse=True)
    assert studio.client.get(line["picture"]).status_code == 200
    assert max(studio.pixels(line["thumbnail"]).shape[:2]) <= 160


def test_the_numbers_are_the_librarys(studio: Studio, run: str) -> None:
    facts = studio.facts(run, wavelet="haar", levels=3, look="full")
    recording = load_recording(next((studio.data / "runs").glob(f"*/{run}.safetensors")))
    latents = [step.denoised[0].numpy() for step in recording.steps]
    request = TextToImage.from_dict(studio.request)
    pictures = [studio.engine.decode(request, step.denoised) for step in recording.steps]
    for space, planes in (("latent", latents), ("picture", pictures)):
        for k, plane in enumerate(planes):
            np.testing.assert_allclose(facts["energy"][space][k], band_energies(plane, "haar", 3), rtol=1e-6)
            change = plane - planes[k - 1] if k else plane
            np.testing.assert_allclose(facts["change"][space][k], band_energies(change, "haar", 3), rtol=1e-6)
    for k, step in enumerate(facts["steps"]):
        assert step["moved"] == shares(np.array(facts["change"]["picture"][k]))
        assert round(10 * sum(step["moved"])) == round(10 * sum(step["share"])) == 1000
        assert (step["index"], step["number"], step["shared"]) == (k, k + 1, False)
        assert step["sigma"] == recording.steps[k].sigma
        assert step["noise_level"] == recording.steps[k].noise_level
        assert step["sentence"].startswith(f"Step {k + 1}. ")
        assert "".join(piece["text"] for piece in step["words"]) == step["sentence"]
    assert facts["steps"][-1]["settled"] == [True] * 4
    assert all(value == pytest.approx(100) for value in facts["arrived"]["picture"][-1])
    assert facts["bands"][0]["label"] == "Composition"
    assert facts["bands"][-1] == {
        "index": 3,
        "name": "grain",
        "label": "Grain",
        "pixels": "1–2 px",
        "low": 1,
        "high": 2,
    }


def test_the_last_step_in_full_is_the_picture_before_the_last_rounding(studio: Studio, run: str) -> None:
    last = studio.pixels(f"/studio/runs/{run}/steps/{STEPS - 1}.png", look="full")
    apart = np.abs(last.astype(int) - studio.picture(run).astype(int))
    assert apart.max() <= 1, "the clean estimate of the last step is what the pipeline decodes"


def test_a_strip_holds_every_step(studio: Studio, run: str) -> None:
    strip = studio.facts(run)["strip"]
    sprite = studio.pixels(strip["url"])
    width, height = strip["tile_width"], strip["tile_height"]
    assert sprite.shape == (strip["rows"] * height, strip["columns"] * width, 3)
    assert strip["count"] == STEPS
    for k in range(STEPS):
        top, left = k // strip["columns"] * height, k % strip["columns"] * width
        tile = sprite[top : top + height, left : left + width]
        np.testing.assert_array_equal(tile, studio.pixels(f"/studio/runs/{run}/steps/{k}.png", look="fast"))


def test_bands_add_up_to_the_step_and_share_one_scale(studio: Studio, run: str) -> None:
    facts = studio.facts(run, look="full")
    sprite = studio.pixels(f"/studio/runs/{run}/steps/3/bands.png", look="full", show="signed")
    assert sprite.shape == (5 * SIDE, SIDE, 3)
    tiles = sprite.reshape(5, SIDE, SIDE, 3).astype(float)
    assert np.ptp(tiles[0], axis=-1).max() > 0, "the composition is in colour"
    assert np.ptp(tiles[1:], axis=-1).max() == 0, "details are grey"
    step = studio.pixels(f"/studio/runs/{run}/steps/3.png", look="full").astype(float)
    luma = step @ [0.299, 0.587, 0.114]
    total = tiles[0] @ [0.299, 0.587, 0.114]
    loose = np.zeros_like(total, dtype=bool)
    for tile, scale in zip(tiles[1:], facts["scale"]["picture"]["bands"][1:], strict=True):
        total = total + (tile[..., 0] - 127.5) / 127.5 * scale
        loose |= (tile[..., 0] == 0) | (tile[..., 0] == 255)  # cut off
    loose |= ((tiles[0] == 0) | (tiles[0] == 255)).any(axis=-1)
    tolerance = 1 + sum(facts["scale"]["picture"]["bands"][1:]) / 255  # half a grey per band
    assert (~loose).mean() > 0.5
    assert np.abs(total - luma)[~loose].max() <= tolerance


def test_bands_come_alone_as_magnitude_and_of_the_latent(studio: Studio, run: str) -> None:
    path = f"/studio/runs/{run}/steps/3/bands.png"
    whole = studio.pixels(path, wavelet="haar", levels=2)
    np.testing.assert_array_equal(
        whole[SIDE : 2 * SIDE], studio.pixels(path, wavelet="haar", levels=2, band=1), err_msg="one band is its tile"
    )
    magnitude = studio.pixels(path, wavelet="haar", levels=2, show="magnitude", band=1).astype(float)
    signed = studio.pixels(path, wavelet="haar", levels=2, band=1).astype(float)
    assert np.abs(magnitude - 2 * np.abs(signed - 127.5)).max() <= 2, "the same numbers, without their sign"
    answer = studio.client.get(path, params={"space": "latent", "levels": 2, "size": 100, "channel": 3})
    assert (answer.headers["x-tile-width"], answer.headers["x-tile-height"]) == ("96", "96")
    assert Image.open(io.BytesIO(answer.content)).size == (96, 3 * 96)
    added = studio.pixels(path, added=1, wavelet="haar", levels=2)
    assert not np.array_equal(added, whole)


def test_downloads_are_files(studio: Studio, run: str) -> None:
    sheet = studio.client.get(f"/studio/runs/{run}/contact.png?download=1")
    assert sheet.headers["content-disposition"].startswith("attachment")
    assert Image.open(io.BytesIO(sheet.content)).size[0] > 3 * SIDE
    film = studio.client.get(f"/studio/runs/{run}/animation.gif?fps=10&download=1")
    animation = Image.open(io.BytesIO(film.content))
    assert (animation.format, animation.n_frames, animation.size) == ("GIF", STEPS, (SIDE, SIDE))
    assert film.headers["content-type"] == "image/gif"
    file = studio.client.get(f"/studio/runs/{run}/run.safetensors")
    path = studio.data / "copy.safetensors"
    path.write_bytes(file.content)
    assert len(load_recording(path).steps) == STEPS


def test_the_difference_of_a_run_with_itself_is_grey(studio: Studio, run: str) -> None:
    answer = studio.client.get(f"/studio/runs/{run}/difference/{run}/2.png")
    assert float(answer.headers["x-mean-difference"]) == 0
    assert set(np.asarray(Image.open(io.BytesIO(answer.content))).flat) == {128}
    other = studio.client.get(f"/studio/runs/{run}/difference/{run}/2.png?other_step=5&gain=4")
    assert float(other.headers["x-mean-difference"]) > 0


# -- tune and step in -------------------------------------------------------------------------------------------------


def test_an_unchanged_branch_is_the_same_picture_and_shares_the_steps_before(studio: Studio, run: str) -> None:
    branch = studio.branch(run, **{"from": 3})
    np.testing.assert_array_equal(studio.picture(branch), studio.picture(run))
    facts = studio.facts(branch)
    assert (facts["parent"], facts["root"], facts["branch_at"]) == (run, run, 3)
    assert [step["shared"] for step in facts["steps"]] == [True] * 3 + [False] * 3
    assert facts["energy"] == studio.facts(run)["energy"]
    assert facts["effect"] == {"parent": run, "percent": [0.0] * 5}
    assert {leaf["id"] for leaf in facts["tree"]} >= {run, branch}
    assert facts["tree"][0]["id"] == run
    _shared(studio, run, branch, 3)


def test_other_words_from_a_step_on(studio: Studio, run: str) -> None:
    branch = studio.branch(run, **{"from": 2, "request": {"prompt": "a red boat", "guidance_scale": 3.5}})
    facts = studio.facts(branch)
    assert facts["label"] == "Other words from step 3"
    assert facts["request"] == studio.request | {"prompt": "a red boat", "guidance_scale": 3.5}
    _shared(studio, run, branch, 2)
    assert not np.array_equal(studio.picture(branch), studio.picture(run))
    twig = studio.branch(branch, **{"from": 1, "label": "Back to a lake", "request": {"prompt": "a lake"}})
    assert studio.facts(twig)["label"] == "Back to a lake"
    _shared(studio, run, twig, 1)


def test_another_solver_and_another_number_of_steps_from_a_step_on(studio: Studio, run: str) -> None:
    branch = studio.branch(run, **{"from": 3, "request": {"solver": "Heun", "num_inference_steps": 10}})
    facts = studio.facts(branch)
    assert facts["recorded"] == facts["count"] > STEPS
    levels = [step["noise_level"] for step in facts["steps"]]
    assert levels == sorted(levels, reverse=True)
    _shared(studio, run, branch, 3)


def test_strengths_are_tried_from_the_start_and_from_a_step(studio: Studio, run: str) -> None:
    strengths = Strengths.double(0.05, 0.05).to_dict()
    whole = studio.branch(run, **{"from": 0, "correction": strengths})
    np.testing.assert_array_equal(studio.picture(whole), studio.picture(studio.make(correction=strengths)))
    facts = studio.facts(whole)
    assert facts["strengths"] == strengths
    assert facts["label"] == "Other strengths"
    assert any(abs(value) > 0.01 for value in facts["effect"]["percent"])
    later = studio.branch(run, **{"from": 4, "correction": strengths})
    assert studio.facts(later)["label"] == "Other strengths from step 5"
    _shared(studio, run, later, 4)
    off = studio.branch(later, **{"from": 4, "correction": None})
    np.testing.assert_array_equal(studio.picture(off), studio.picture(run))


def test_a_mask_keeps_strengths_to_its_side(studio: Studio, run: str) -> None:
    mask = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    mask[:, : SIDE // 2] = 255
    strengths = Strengths.double(0.05, 0.05).to_dict()
    last = {"from": STEPS - 2, "correction": strengths}
    whole, part = studio.branch(run, **last), studio.branch(run, **last, mask=studio.upload(mask))
    before = studio.picture(run).astype(int)
    moved = [np.abs(studio.picture(branch).astype(int) - before) for branch in (whole, part)]
    left, right = moved[1][:, : SIDE // 2].mean(), moved[1][:, SIDE // 2 :].mean()
    assert left > 0
    assert right < moved[0][:, SIDE // 2 :].mean(), "the other side moves less than without a mask"


def test_a_painted_step_enters_the_run_where_it_was_painted(studio: Studio, run: str) -> None:
    at = STEPS - 2
    shown = studio.pixels(f"/studio/runs/{run}/steps/{at}.png", look="full")
    layer = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)  # transparent where nothing was painted
    layer[:24, :24] = (255, 0, 0, 255)
    mask = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    mask[:24, :24] = 255
    edit = {"picture": studio.upload(layer), "mask": studio.upload(mask)}
    branch = studio.branch(run, **{"from": at, "edit": edit})
    assert studio.facts(branch)["label"] == f"Painted over from step {at + 1}"
    _shared(studio, run, branch, at)
    entering = [studio.viewer.frames("local", studio.viewer.run("local", r))[at].step.x[0] for r in (run, branch)]
    touched = (entering[0] != entering[1]).any(dim=0).numpy()
    cell = SIDE // touched.shape[0]
    wanted = np.zeros_like(touched)
    wanted[: 24 // cell, : 24 // cell] = True
    np.testing.assert_array_equal(touched, wanted)
    same = studio.branch(run, **{"from": at, "edit": {"picture": studio.upload(shown)}})
    np.testing.assert_array_equal(
        studio.picture(same), studio.picture(run), err_msg="nothing painted, nothing changed"
    )


def test_locked_bands_stay_and_the_rest_is_redone(studio: Studio, run: str) -> None:
    def final_latents(branch: str) -> np.ndarray:
        return studio.viewer.frames("local", studio.viewer.run("local", branch))[-1].latents

    lock = {"bands": [0], "wavelet": "haar", "levels": 1}
    free = studio.branch(run, **{"from": 1, "noise": {"seed": 3}})
    held = studio.branch(run, **{"from": 1, "noise": {"seed": 3}, "lock": lock})
    assert studio.facts(held)["label"] == "Composition kept from step 2"

    def low(latents: np.ndarray) -> np.ndarray:
        channels, height, width = latents.shape
        return latents.reshape(channels, height // 2, 2, width // 2, 2).mean(axis=(2, 4))

    before = final_latents(run)
    np.testing.assert_allclose(low(final_latents(held)), low(before), atol=1e-4)
    assert np.abs(low(final_latents(free)) - low(before)).max() > 0.05
    assert np.abs(final_latents(held) - before).max() > 0.05, "the rest came anew"
    energy = studio.branch(run, **{"from": 1, "noise": {"seed": 3}, "lock": {**lock, "bands": [1], "mode": "energy"}})
    assert not np.array_equal(studio.picture(energy), studio.picture(free))


def test_bands_of_another_run_are_mixed_in(studio: Studio, run: str) -> None:
    other = studio.make(seed=8)
    mix = {"run": other, "bands": [0, 1], "wavelet": "haar", "levels": 1}
    branch = studio.branch(run, **{"from": STEPS - 1, "mix": mix})
    apart = np.abs(studio.picture(branch).astype(int) - studio.picture(other).astype(int)).mean()
    own = np.abs(studio.picture(branch).astype(int) - studio.picture(run).astype(int)).mean()
    assert apart < own, "with all bands of the other run, the picture is more like that"


def test_a_stopped_run_goes_on(studio: Studio) -> None:
    studio.engine.paced = True
    answer = studio.client.post("/studio/jobs", json={"request": studio.request | {"seed": 9}, "count": 1})
    job_id = answer.json()["id"]
    studio.engine.allow(2)
    for _ in range(3):
        studio.engine.wait_until_held()
    studio.client.post(f"/studio/jobs/{job_id}/stop", json={})
    studio.engine.paced = False
    studio.engine.allow(1)
    slot = studio.ended(answer)
    facts = studio.facts(slot["id"])
    assert facts["stopped_at"] == facts["recorded"] == slot["stopped_at"] == 3
    assert facts["count"] == STEPS
    whole = studio.branch(slot["id"], **{"from": 3})
    np.testing.assert_array_equal(studio.picture(whole), studio.picture(studio.make(seed=9)))


def test_a_branch_tells_where_it_came_from(studio: Studio, run: str) -> None:
    answer = studio.client.post(f"/studio/runs/{run}/branch", json={"from": 2})
    slot = studio.ended(answer)
    assert slot["run"] == {"parent": run, "from": 2}
    assert len(slot["ribbon"]) == STEPS, "the shared steps are in the ribbon too"


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "from"),
        ({"from": True}, "from"),
        ({"from": STEPS}, "from"),
        ({"from": -1}, "from"),
        ({"from": 1, "more": 1}, None),
        ({"from": 1, "request": {"width": 128}}, "width"),
        ({"from": 1, "request": {"solver": "none"}}, "solver"),
        ({"from": 1, "request": []}, "request"),
        ({"from": 1, "correction": {"variant": "none"}}, "correction"),
        ({"from": 1, "mask": "0" * 32}, "mask"),
        ({"from": 1, "mask": 5}, "mask"),
        ({"from": 1, "edit": {}}, "edit"),
        ({"from": 1, "noise": {"seed": -1}}, "noise"),
        ({"from": 1, "lock": {"bands": []}}, "lock"),
        ({"from": 1, "lock": {"bands": [0, 9]}}, "lock"),
        ({"from": 1, "lock": {"bands": [0], "mode": "none"}}, "lock"),
        ({"from": 1, "lock": {"bands": [0], "release": "1"}}, "lock"),
        ({"from": 1, "lock": {"bands": [0], "levels": 5}}, "lock"),
        ({"from": 1, "lock": {"bands": [0], "wavelet": "bior2.2"}}, "lock"),
        ({"from": 1, "mix": {"bands": [0]}}, "mix"),
        ({"from": 1, "label": "two\nlines"}, "label"),
    ],
)
def test_a_wrong_wish_is_refused_and_says_where(studio: Studio, run: str, wish: dict[str, Any], field: str) -> None:
    answer = studio.refused(run, **wish)
    assert answer["field"] == field
    assert answer["error"]


def test_sizes_and_empty_masks_are_refused(studio: Studio, run: str) -> None:
    small = studio.upload(np.zeros((32, 32, 3), dtype=np.uint8))
    assert studio.refused(run, **{"from": 1, "edit": {"picture": small}})["field"] == "edit"
    assert "empty" in studio.refused(run, **{"from": 1, "mask": small})["error"]
    wide = studio.upload(np.full((16, 64, 3), 255, dtype=np.uint8))
    assert studio.refused(run, **{"from": 1, "mask": wide})["field"] == "mask"


@pytest.mark.parametrize(
    "body",
    [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 not a PNG, though perhaps a JPEG"],
)
def test_only_pictures_are_taken(studio: Studio, body: bytes) -> None:
    answer = studio.client.put("/studio/uploads", content=body, headers={"Content-Type": "image/png"})
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_another_person_sees_nothing_of_it(studio: Studio, run: str) -> None:
    upload = studio.upload(np.full((SIDE, SIDE, 3), 255, dtype=np.uint8))
    stranger = {"x-user": "eve"}
    assert studio.client.get("/studio/runs", headers=stranger).json()["runs"] == []
    for path in (
        "",
        "/strip.png",
        "/thumbnail.png",
        "/steps/0.png",
        "/steps/0/bands.png",
        "/contact.png",
        "/animation.gif",
        "/run.safetensors",
        f"/difference/{run}/0.png",
    ):
        assert studio.client.get(f"/studio/runs/{run}{path}", headers=stranger).status_code == 404, path
    answer = studio.client.post(f"/studio/runs/{run}/branch", json={"from": 1}, headers=stranger)
    assert answer.status_code == 404
    studio.ended(studio.client.post("/studio/jobs", json={"request": studio.request, "count": 1}))
    own = studio.client.post("/studio/jobs", json={"request": studio.request, "count": 1}, headers=stranger)
    deadline = time.monotonic() + PATIENCE
    while not (theirs := studio.client.get("/studio/runs", headers=stranger).json()["runs"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert own.status_code == 202
    wish = {"from": 1, "mask": upload}
    answer = studio.client.post(f"/studio/runs/{theirs[0]['id']}/branch", json=wish, headers=stranger)
    assert (answer.status_code, answer.json()["field"]) == (422, "mask")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/steps/6.png", 404),
        ("/steps/x.png", 404),
        ("/steps/1.png?look=none", 422),
        ("/steps/1.png?show=none", 422),
        ("/steps/1.png?size=9999999", 422),
        ("/steps/1/bands.png?levels=6", 422),
        ("/steps/1/bands.png?wavelet=../../etc", 422),
        ("/steps/1/bands.png?band=5", 422),
        ("/steps/1/bands.png?channel=99", 422),
        ("/steps/1/bands.png?levels=9e9", 422),
        ("/animation.gif?fps=nan", 422),
        ("/animation.gif?fps=1000", 422),
        ("?levels=0", 422),
        ("?look=none", 422),
    ],
)
def test_what_is_not_there_or_wrong_is_said(studio: Studio, run: str, path: str, status: int) -> None:
    answer = studio.client.get(f"/studio/runs/{run}{path}")
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_name_is_no_path(studio: Studio) -> None:
    for name in ("..", "x" * 400, "0000000000000-0000000000000000"):
        assert studio.client.get(f"/studio/runs/{name}/strip.png").status_code == 404


def test_strengths_to_start_from(studio: Studio) -> None:
    answer = studio.client.get("/studio/strengths").json()
    assert Strengths.from_dict(answer["off"]) == Strengths()
    assert answer["presets"] == []
    assert answer["calibrated"] is False


def test_a_new_process_finds_every_run_again(studio: Studio, run: str) -> None:
    branch = studio.branch(run, **{"from": 3, "request": {"prompt": "a forest"}})
    again = Viewer(studio.engine, RunStore(studio.data), data=studio.data)
    assert facts_of(again, "local", branch) == studio.facts(branch)
    assert again.step("local", branch, 1, "full") == studio.viewer.step("local", branch, 1, "full")
