"""Pictures painted again where they are kept: on the page, and in a folder that a document was taken into."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from document_room import DocumentRoom, node_id, room
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paced_engine import PATIENCE, PacedEngine
from signed_in import named_by_header

from studio.__main__ import main
from studio.engine import Engine
from studio.filling import Filling
from studio.imaging.plain_png import write_plain
from studio.imaging.png import read_picture, read_png_text, write_png
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.project.document_values import Layer, State
from studio.project.flattening import flat
from studio.project.library import Library
from studio.project.run_files import LATENTS
from studio.project.store import note_in
from studio.project.thumbnails import ThumbnailCache
from studio.requests import Fill, TextToImage
from studio.viewer.branching import Wish, branch_of
from studio.viewer.viewer import Viewer
from studio.web.desk import Desk
from studio.web.routes import build_routes
from studio.web.routes_library import Kept, build_library_routes

STEPS = 3


@dataclass
class Studio:
    """What paints and keeps, on a real tiny model, and the routes of its gallery."""

    client: TestClient
    room: DocumentRoom
    jobs: Jobs
    viewer: Viewer
    engine: PacedEngine
    request: TextToImage

    def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            snapshot = self.jobs.snapshot(job["id"], "local")
            assert snapshot is not None
            if snapshot["state"] in FINISHED:
                return snapshot
            time.sleep(0.005)
        raise AssertionError("the job never ended")

    def paint(self, seed: int) -> str:
        job = self.jobs.submit([self.request.with_seed(seed)], "local")
        return str(self.ended(job)["pictures"][0]["id"])

    def fill(self, seed: int, **asked: Any) -> dict[str, Any]:
        source = np.random.default_rng(seed).integers(0, 256, (96, 96, 4), np.uint8)
        source[..., 3] = 255
        mask = np.zeros((96, 96), np.uint8)
        mask[20:60, 30:70] = 255
        fill = Fill.of(self.request.with_seed(seed), **asked)
        filling = Filling.of(fill, source, mask, self.engine.card())
        slot: dict[str, Any] = self.ended(self.jobs.submit_fill(filling, 1, "local"))["pictures"][0]
        return slot

    def branch(self, run: str, uploads: dict[str, np.ndarray] | None = None, **wish: Any) -> str:
        """The id of the picture that a job makes of a branch."""
        read = Wish.from_dict(wish, (uploads or {}).get)
        branch = branch_of(self.viewer, "local", run, read, (self.engine.default_model,))
        return str(self.ended(self.jobs.submit_branch(branch, "local"))["pictures"][0]["id"])

    def png(self, picture: str) -> bytes:
        found = self.room.pictures.png("local", picture)
        assert found is not None
        return found

    def dropped(self, png: bytes, user: str = "local") -> dict[str, Any]:
        """What the page is told of a file that is dropped on it."""
        answer = self.client.post("/studio/import", content=png, headers={"x-user": user} if user != "local" else {})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def verify(self, picture: str, status: int = 202) -> dict[str, Any]:
        """What the gallery is told in the end."""
        answer = self.client.post(f"/studio/library/{picture}/verify")
        assert answer.status_code == status, answer.text
        return self.ended(answer.json()) if status == 202 else answer.json()

    def verdict(self, picture: str) -> dict[str, Any]:
        snapshot = self.verify(picture)
        assert snapshot["state"] == "done", snapshot["error"]
        found: dict[str, Any] = snapshot["pictures"][0]["verdict"]
        return found


@contextmanager
def opened(tiny_engine: Engine, folder: Path) -> Iterator[Studio]:
    engine = PacedEngine(tiny_engine)
    engine.paced = False
    with room(folder) as made:
        viewer = Viewer(engine, made.runs, data=folder)
        jobs = Jobs(engine, made.pictures, viewer=viewer, pixels=made.pixels)
        library = Library(made.database, made.pictures, made.runs)
        small = ThumbnailCache(folder)
        kept = Kept(folder, made.pictures, made.runs, made.pixels, made.documents, library, small, made.archive)
        app = FastAPI()
        named_by_header(app)
        app.include_router(build_routes(engine, jobs, made.pictures))
        app.include_router(build_library_routes(kept, engine, jobs, Desk()))
        model = engine.default_model
        request = TextToImage("a lake", width=64, height=64, num_inference_steps=STEPS, model=model)
        with TestClient(app) as client:
            yield Studio(client, made, jobs, viewer, engine, request)
        jobs.close(PATIENCE)


@pytest.fixture
def studio(tiny_engine: Engine, tmp_path: Path) -> Iterator[Studio]:
    with opened(tiny_engine, tmp_path) as made:
        yield made


IDENTICAL = {"identical": True, "answer": "identical", "reasons": []}


def test_a_picture_of_the_gallery_is_painted_again_and_nothing_is_kept_of_it(studio: Studio) -> None:
    picture = studio.paint(5)
    before = {path: path.stat().st_mtime_ns for path in studio.room.folder.rglob("*.*") if "sqlite" not in path.name}
    assert studio.verdict(picture) == IDENTICAL
    after = {path: path.stat().st_mtime_ns for path in studio.room.folder.rglob("*.*") if "sqlite" not in path.name}
    assert after == before
    session = studio.client.get("/studio/session").json()
    assert [job["pictures"][0]["id"] for job in session["jobs"]] == [picture], "a check is no picture of the page's"


def test_a_picture_that_was_changed_is_told_how_far_apart(studio: Studio) -> None:
    picture = studio.paint(5)
    png = studio.room.pictures.png("local", picture)
    assert png is not None
    pixels = read_picture(png).copy()
    pixels[0, 0, 0] ^= 1
    note = note_in(png)
    for changes, reason in (({}, "Was the picture changed?"), ({"torch": "1.0"}, "torch: was 1.0, is ")):
        made_with = {**note["made_with"], **changes}
        text = {**read_png_text(png), "wavebrush": json.dumps({**note, "made_with": made_with})}
        other = studio.room.pictures.add("local", write_png(pixels, text), 1_700_000_000_000)
        found = studio.verdict(other)
        assert found["identical"] is False
        assert found["answer"].startswith("different. 0.0 % of the values differ, by 1 of 255 at most")
        assert reason in found["reasons"][0]


def test_a_fill_is_painted_again_from_what_is_kept_beside_it(studio: Studio) -> None:
    slot = studio.fill(5)
    assert studio.verdict(slot["id"]) == IDENTICAL
    (mask,) = studio.room.runs._home("local").glob("*.mask.png")
    mask.unlink()
    snapshot = studio.verify(slot["id"])
    assert (snapshot["state"], "let go" in snapshot["error"]) == ("failed", True)
    assert studio.verdict(studio.paint(1)) == IDENTICAL, "the next one works"


def _layer_over() -> dict[str, np.ndarray]:
    layer = np.zeros((64, 64, 4), np.uint8)
    layer[8:40, 8:40] = (250, 200, 40, 255)
    return {"layer": layer}


PAINTED_OVER = {"from": 1, "edit": {"picture": "layer"}}


def test_a_branch_of_the_gallery_is_painted_again_from_its_own_file(studio: Studio) -> None:
    run = studio.paint(5)
    branch = studio.branch(run, _layer_over(), **PAINTED_OVER)
    assert not np.array_equal(read_picture(studio.png(branch)), read_picture(studio.png(run)))
    assert studio.verdict(branch) == IDENTICAL
    studio.room.runs.discard("local", run)
    assert studio.verdict(branch) == IDENTICAL, "also without the run that it left"


@pytest.mark.parametrize("intent", ["fill", "remove"])
def test_a_branch_of_a_fill_is_painted_again_unless_something_was_to_be_taken_away(
    studio: Studio, tmp_path: Path, intent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = studio.fill(5, intent=intent, harmonise=1)["id"]
    size = note_in(studio.png(run))["request"]
    layer = np.zeros((size["height"], size["width"], 4), np.uint8)
    layer[16:40, 16:40] = (250, 200, 40, 255)
    branch = studio.branch(run, {"layer": layer}, **PAINTED_OVER)
    file = tmp_path / "branch.png"
    file.write_bytes(studio.png(branch))
    code = main(["verify", str(file), "--model", studio.engine.default_model])
    said = capsys.readouterr()
    if intent == "remove":
        assert "to be taken away there is not in the file" in said.err
        assert "to be taken away there is not in the file" in studio.verify(branch, 422)["error"]
        return
    assert (code, said.out) == (0, f"{file}: identical\n")
    assert studio.verdict(branch) == IDENTICAL


def test_a_branch_that_is_dropped_leads_to_its_steps_if_they_are_here(studio: Studio) -> None:
    run = studio.paint(5)
    branch = studio.branch(run, _layer_over(), **PAINTED_OVER, request={"prompt": "a boat"})
    other = studio.branch(run, **PAINTED_OVER | {"edit": None, "noise": {"seed": 1}})
    png = studio.png(branch)
    told = studio.dropped(png)
    assert (told["request"]["prompt"], told["exact"]) == ("a boat", False)
    assert "It is a branch: it left another run and goes on from step 2 of it, painted over there." in told["notes"][0]
    assert told["branch"]["run"] == {"id": branch, "step": 1, "own": True}
    assert studio.dropped(studio.png(other))["branch"]["run"]["id"] == other
    assert studio.dropped(studio.png(run))["branch"] is None
    assert studio.dropped(png, "eve")["branch"]["run"] is None
    studio.room.runs.discard("local", branch)
    assert studio.dropped(png)["branch"]["run"] == {"id": run, "step": 1, "own": False}
    studio.room.runs.discard("local", run)
    assert studio.dropped(png)["branch"]["run"] is None


def test_what_cannot_be_painted_again_is_said_before_it_waits(studio: Studio) -> None:
    picture = studio.paint(5)
    png = studio.room.pictures.png("local", picture)
    assert png is not None
    for changes, words in (
        ({"branch": {"parent": picture, "from": 2}}, "left another run at step 3"),
        ({"request": studio.request.to_dict() | {"model": "other"}}, "The studio runs with"),
    ):
        note = json.dumps({**note_in(png), **changes})
        other = studio.room.pictures.add("local", write_png(read_picture(png), {"wavebrush": note}), 1)
        assert words in studio.verify(other, 422)["error"]
    studio.verify("1700000000000-0123456789abcdef", 404)
    theirs = studio.client.post(f"/studio/library/{picture}/verify", headers={"x-user": "eve"})
    assert theirs.status_code == 404


def test_a_check_can_be_stopped(studio: Studio) -> None:
    picture = studio.paint(5)
    studio.engine.paced = True
    job = studio.client.post(f"/studio/library/{picture}/verify").json()
    studio.engine.wait_until_held()
    studio.client.post(f"/studio/jobs/{job['id']}/stop", json={})
    studio.engine.allow(STEPS)
    snapshot = studio.ended(job)
    assert (snapshot["state"], snapshot["pictures"][0]["verdict"]) == ("stopped", None)


# -- round trips ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def painted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, list[str]]]:
    """A folder with two pictures and a fill."""
    engine = Engine(str(tiny_model))
    with opened(engine, tmp_path_factory.mktemp("here")) as studio:
        yield studio, [studio.paint(1), studio.paint(2), studio.fill(3)["id"]]


def _layer(here: DocumentRoom, run: str | None, number: int, x: int, opacity: int) -> Layer:
    facts = {"run": run, "picture": run} if run is not None else None
    picture = here.pictures.png("local", run) if run is not None else None
    tile = np.zeros((256, 256, 4), np.uint8)
    if picture is not None:  # the picture itself
        pixels = read_picture(picture)
        tile[: pixels.shape[0], : pixels.shape[1], : pixels.shape[2]] = pixels
        tile[: pixels.shape[0], : pixels.shape[1], 3] = 255
    else:
        tile[:32, :32] = np.random.default_rng(number).integers(0, 256, (32, 32, 4), np.uint8)
    pixels_id = here.pixels.add("local", write_plain(tile, 1))[0]
    return Layer(f"l{number}", f"Layer {number}", "picture", x, 0, True, opacity, {(0, 0): pixels_id}, facts)


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_what_comes_out_of_any_document_is_verified_in_a_clean_folder(
    painted: tuple[Studio, list[str]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Out, in, and painted again: the same pixels of the document, of its pictures, and of what comes of them."""
    (studio, runs), folder = painted, tmp_path_factory.mktemp("round")
    here = studio.room

    def state() -> State:
        named = data.draw(st.lists(st.sampled_from([None, *runs]), max_size=3))
        places = st.tuples(st.integers(-80, 80), st.integers(0, 100))
        layers = tuple(_layer(here, run, k, *data.draw(places)) for k, run in enumerate(named))
        return State(data.draw(st.integers(40, 300)), data.draw(st.integers(40, 300)), layers)

    states = [state()]
    document, node = here.documents.create("local", "Round", states[0])
    for _ in range(data.draw(st.integers(0, 2))):
        states.append(state())
        node = here.documents.append("local", document, node_id(), node, "Step", states[-1])
    here.archive.write("local", document, folder / "file.wavebrush")
    wanted = {run for each in states for run in each.runs()}
    with opened(studio.engine._inner, folder / "there") as clean:
        there = clean.room
        came = there.archive.take_in("local", folder / "file.wavebrush")
        assert np.array_equal(
            flat(there.documents.state("local", came), there.pixels, "local"), flat(states[-1], here.pixels, "local")
        )
        assert there.pictures.ids("local") == wanted
        for run in sorted(wanted):
            assert there.pictures.png("local", run) == here.pictures.png("local", run)
            for ending, path in here.runs.files("local", run).items():
                assert there.runs.files("local", run)[ending].read_bytes() == path.read_bytes()
            assert LATENTS in there.runs.files("local", run)
            assert clean.verdict(run) == IDENTICAL


def test_a_picture_out_of_an_archive_is_identical_on_the_command_line(
    painted: tuple[Studio, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio, runs = painted
    layer = _layer(studio.room, runs[0], 0, 0, 100)
    document, _ = studio.room.documents.create("local", "Lake", State(64, 64, (layer,)))
    studio.room.archive.write("local", document, tmp_path / "lake.wavebrush")
    with room(tmp_path / "there") as there:
        there.archive.take_in("local", tmp_path / "lake.wavebrush")
        png = there.pictures.png("local", runs[0])
    assert png is not None
    file = tmp_path / "lake.png"
    file.write_bytes(png)
    assert main(["verify", str(file), "--model", studio.engine.default_model]) == 0
    assert capsys.readouterr().out == f"{file}: identical\n"
