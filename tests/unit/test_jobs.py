"""Jobs on a tiny real model: a worker that outlives its readers, stops within a step, and survives failures."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paced_engine import PATIENCE, PacedEngine

from studio.branches import Branch
from studio.diffusion.harmonise import harmonising
from studio.engine import Engine
from studio.errors import Busy, StudioError
from studio.filling import JUMP
from studio.job import FINISHED, Job, Slot
from studio.jobs import KEPT_JOBS, Jobs
from studio.project.runs import RunStore
from studio.project.store import PictureStore, request_in
from studio.requests import TextToImage, batch
from studio.viewer.source import Source

STEPS = 5


@pytest.fixture
def engine(tiny_engine: Engine) -> PacedEngine:
    return PacedEngine(tiny_engine)


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    return PictureStore(tmp_path)


@pytest.fixture
def jobs(engine: PacedEngine, store: PictureStore) -> Iterator[Jobs]:
    jobs = Jobs(engine, store, queue_limit=6)
    yield jobs
    engine.paced = False
    engine.allow(1000)
    jobs.close(PATIENCE)


@pytest.fixture
def lake(tiny_model: Path) -> TextToImage:
    return TextToImage("a lake", width=64, height=64, num_inference_steps=STEPS, seed=7, model=str(tiny_model))


def _until(jobs: Jobs, job_id: str, owner: str = "me", state: str | None = None) -> dict[str, Any]:
    """Waits as the page does, from version to version, until the job has ended (or is in `state`)."""
    deadline, version = time.monotonic() + PATIENCE, -1
    while time.monotonic() < deadline:
        snapshot = jobs.wait_for_change(job_id, owner, version, 1.0)
        assert snapshot is not None
        assert snapshot["version"] >= version
        version = snapshot["version"]
        if snapshot["state"] == state or (state is None and snapshot["state"] in FINISHED):
            return snapshot
    raise AssertionError(f"still {snapshot['state']}")


def _step(jobs: Jobs, job_id: str, step: int) -> dict[str, Any]:
    snapshot = jobs.snapshot(job_id, "me")
    assert snapshot is not None
    while snapshot["step"] < step:
        snapshot = jobs.wait_for_change(job_id, "me", snapshot["version"], PATIENCE)
        assert snapshot is not None
    return snapshot


def test_a_job_is_painted_and_kept(jobs: Jobs, engine: PacedEngine, store: PictureStore, lake: TextToImage) -> None:
    engine.paced = False
    first = jobs.submit(batch(lake, 3), "me")
    assert [slot["state"] for slot in first["pictures"]] == ["waiting"] * 3
    done = _until(jobs, first["id"])
    assert done["state"] == "done"
    assert done["error"] is None
    assert [slot["state"] for slot in done["pictures"]] == ["done"] * 3
    assert [slot["seed"] for slot in done["pictures"]] == [7, 8, 9]
    for slot, request in zip(done["pictures"], batch(lake, 3), strict=True):
        assert slot["request"] == request.to_dict()
        assert len(slot["ribbon"]) == STEPS
        assert all(round(sum(column), 6) == 100.0 for column in slot["ribbon"])
        png = store.png("me", slot["id"])
        assert png is not None
        assert request_in(png) == (request, None)
        assert png == engine.run(request).to_png(), "the same bytes as without a queue"


def test_every_run_is_kept_under_the_id_of_its_picture(
    engine: PacedEngine, store: PictureStore, lake: TextToImage, tmp_path: Path
) -> None:
    engine.paced = False
    source = Source(engine, RunStore(tmp_path))
    jobs = Jobs(engine, store, viewer=source)
    try:
        done = _until(jobs, jobs.submit(batch(lake, 2), "me")["id"])
    finally:
        jobs.close(PATIENCE)
    for slot in done["pictures"]:
        run = source.runs.get("me", slot["id"])
        assert run is not None
        assert (run.request.seed, len(run.steps), slot["run"]) == (slot["seed"], STEPS, None)
        assert store.png("me", slot["id"]) == engine.run(run.request).to_png(), "recording changes no byte"


def test_a_run_that_cannot_be_kept_costs_no_picture(
    engine: PacedEngine, store: PictureStore, lake: TextToImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StudioError("The disk is full.")

    engine.paced = False
    source = Source(engine, RunStore(tmp_path))
    monkeypatch.setattr(source.runs, "add", full)
    jobs = Jobs(engine, store, viewer=source)
    try:
        done = _until(jobs, jobs.submit([lake], "me")["id"])
    finally:
        jobs.close(PATIENCE)
    assert done["state"] == "done"
    assert store.png("me", done["pictures"][0]["id"]) is not None
    assert source.runs.newest("me") == []


def test_a_reload_finds_the_running_job_with_its_progress(jobs: Jobs, engine: PacedEngine, lake: TextToImage) -> None:
    job_id = jobs.submit([lake], "me")["id"]
    engine.allow(2)
    _step(jobs, job_id, 2)
    (found,) = jobs.current("me")
    assert (found["id"], found["state"], found["step"], found["steps"]) == (job_id, "running", 2, STEPS)
    assert len(found["ribbon"]) == 2
    assert found["eta_picture"] > 0
    assert found["eta_job"] >= found["eta_picture"]
    engine.allow(STEPS)
    assert _until(jobs, job_id)["state"] == "done"
    (latest,) = jobs.current("me")
    assert latest["id"] == job_id, "the latest job stays readable"


def test_what_is_left_counts_steps_that_are_shared_left_out_or_made_again(lake: TextToImage) -> None:
    words = dataclasses.replace(lake, num_inference_steps=20)
    assert Slot(words).steps_to_make == 20
    fill = {"fill": {"start": 2, "harmonise": 0}}
    assert Slot(words, filled=fill).steps_to_make == 18
    for start, rounds in ((0, 1), (2, 3), (19, 8)):
        told = {"fill": {"start": start, "harmonise": rounds}}
        plan = harmonising(20, JUMP, rounds, start)
        assert Slot(words, filled=told).steps_to_make == plan.evaluated
        for at in range(1, 20 - start):
            branch = Branch("parent", at, words, "")
            assert Slot(words, branch, filled=told).steps_to_make == plan.after(start + at).evaluated
    assert Slot(words, Branch("parent", 5, words, "")).steps_to_make == 15


def test_the_time_that_is_left_is_that_of_the_steps_that_are_left(jobs: Jobs, lake: TextToImage) -> None:
    """A step a second: all but the first are made twice, of which three are left, and a picture after it."""
    told = {"fill": {"start": 0, "harmonise": 1}}
    slots = [Slot(dataclasses.replace(lake, num_inference_steps=8), filled=told) for _ in range(2)]
    job = Job("id", "me", slots, state="running", step=4, step_times=[float(k) for k in range(12)])
    assert jobs._left(job, slots[0]) == (3.0, 18.0)
    job.index, job.step_times = 1, [float(k) for k in range(15 + 3)]
    assert jobs._left(job, slots[1]) == (12.0, 12.0)
    slots[0].state, job.step_times = "stopped", [float(k) for k in range(2 + 3)]  # stopped after two of its steps
    assert jobs._left(job, slots[1]) == (4.0, 4.0)


def test_every_change_raises_the_version(jobs: Jobs, engine: PacedEngine, lake: TextToImage) -> None:
    job_id = jobs.submit([lake], "me")["id"]
    versions = []
    for step in range(1, STEPS):
        engine.allow()
        versions.append(_step(jobs, job_id, step)["version"])
    assert versions == sorted(set(versions))


def test_waiting_returns_the_present_state_after_the_timeout(
    jobs: Jobs, engine: PacedEngine, lake: TextToImage
) -> None:
    job_id = jobs.submit([lake], "me")["id"]
    engine.wait_until_held()
    version = _until(jobs, job_id, state="running")["version"]
    began = time.monotonic()
    snapshot = jobs.wait_for_change(job_id, "me", version, 0.1)
    assert snapshot is not None
    assert snapshot["version"] == version
    assert time.monotonic() - began < PATIENCE


def test_stop_within_one_step_keeps_a_picture(
    jobs: Jobs, engine: PacedEngine, store: PictureStore, lake: TextToImage
) -> None:
    job_id = jobs.submit([lake], "me")["id"]
    engine.allow(2)
    for _ in range(3):
        engine.wait_until_held()  # the third step is computed and not yet told
    jobs.stop(job_id, "me")
    engine.allow()
    stopped = _until(jobs, job_id)
    assert stopped["state"] == "stopped"
    (slot,) = stopped["pictures"]
    assert (slot["state"], slot["stopped_at"]) == ("stopped", 3)
    png = store.png("me", slot["id"])
    assert png is not None
    assert request_in(png) == (lake, 3)
    assert [kept.stopped_at for kept in store.newest("me")] == [3]


def test_stop_ends_one_picture_and_the_next_is_painted_whole(
    jobs: Jobs, engine: PacedEngine, store: PictureStore, lake: TextToImage
) -> None:
    job_id = jobs.submit(batch(lake, 2), "me")["id"]
    engine.wait_until_held()
    jobs.stop(job_id, "me")
    engine.paced = False
    engine.allow(1)
    ended = _until(jobs, job_id)
    assert [slot["state"] for slot in ended["pictures"]] == ["stopped", "done"]
    assert ended["state"] == "stopped"
    second = store.png("me", ended["pictures"][1]["id"])
    assert second == engine.run(lake.with_seed(8)).to_png()


def test_stop_everything_ends_the_job_and_paints_nothing_more(
    jobs: Jobs, engine: PacedEngine, lake: TextToImage
) -> None:
    job_id = jobs.submit(batch(lake, 4), "me")["id"]
    engine.wait_until_held()
    jobs.stop(job_id, "me", everything=True)
    engine.allow(1)
    ended = _until(jobs, job_id)
    assert ended["state"] == "stopped"
    assert [slot["state"] for slot in ended["pictures"]] == ["stopped"] * 4
    assert [slot["id"] is not None for slot in ended["pictures"]] == [True, False, False, False]
    assert engine.painted == [7]


def test_a_waiting_job_is_stopped_before_it_begins(jobs: Jobs, engine: PacedEngine, lake: TextToImage) -> None:
    first = jobs.submit([lake], "me")["id"]
    engine.wait_until_held()
    second = jobs.submit([lake.with_seed(50)], "me")["id"]
    stopped = jobs.stop(second, "me")
    assert stopped is not None
    assert stopped["state"] == "stopped"
    assert [slot["state"] for slot in stopped["pictures"]] == ["stopped"]
    engine.allow(STEPS)
    assert _until(jobs, first)["state"] == "done"
    assert engine.painted == [7]


def test_stopping_what_has_ended_changes_nothing(jobs: Jobs, engine: PacedEngine, lake: TextToImage) -> None:
    engine.paced = False
    done = _until(jobs, jobs.submit([lake], "me")["id"])
    assert jobs.stop(done["id"], "me", everything=True) == done


def test_jobs_are_painted_in_order_and_know_how_many_are_before_them(
    jobs: Jobs, engine: PacedEngine, lake: TextToImage
) -> None:
    first = jobs.submit(batch(lake, 2), "me")
    second = jobs.submit([lake.with_seed(50)], "you")
    third = jobs.submit([lake.with_seed(60)], "me")
    assert [first["ahead"], second["ahead"], third["ahead"]] == [0, 2, 3]
    assert [job["id"] for job in jobs.current("me")] == [first["id"], third["id"]]
    engine.paced = False
    engine.allow(1)
    _until(jobs, third["id"])
    assert engine.painted == [7, 8, 50, 60]


def test_a_full_queue_is_busy_and_takes_more_when_it_has_room(
    jobs: Jobs, engine: PacedEngine, lake: TextToImage
) -> None:
    first = jobs.submit(batch(lake, 6), "me")["id"]
    with pytest.raises(Busy, match="6 pictures are waiting"):
        jobs.submit([lake], "you")
    assert jobs.current("you") == []
    engine.wait_until_held()
    jobs.stop(first, "me", everything=True)
    engine.paced = False
    engine.allow(1)
    _until(jobs, first)
    assert _until(jobs, jobs.submit([lake], "you")["id"], "you")["state"] == "done"


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (StudioError("The model lost its way."), "The model lost its way."),
        (ValueError("secret detail"), "Something went wrong inside the studio"),
        (MemoryError(), "Something went wrong inside the studio"),
    ],
    ids=["a person can act on it", "a bug", "out of memory"],
)
def test_one_failing_job_does_not_stop_the_next(
    jobs: Jobs, engine: PacedEngine, lake: TextToImage, problem: Exception, words: str
) -> None:
    engine.paced = False
    engine.fails_on[8] = problem
    failing = jobs.submit(batch(lake, 3), "me")["id"]
    following = jobs.submit([lake.with_seed(50)], "me")["id"]
    failed = _until(jobs, failing)
    assert failed["state"] == "failed"
    assert failed["error"].startswith(words)
    assert "secret" not in failed["error"]
    assert [slot["state"] for slot in failed["pictures"]] == ["done", "failed", "failed"]
    assert _until(jobs, following)["state"] == "done"


def test_a_model_that_cannot_be_loaded_fails_its_job_in_words(
    jobs: Jobs, engine: PacedEngine, lake: TextToImage
) -> None:
    engine.paced = False
    failed = _until(jobs, jobs.submit([dataclasses.replace(lake, model="nobody")], "me")["id"])
    assert failed["state"] == "failed"
    assert "nobody" in failed["error"]
    assert _until(jobs, jobs.submit([lake], "me")["id"])["state"] == "done"


def test_a_disk_that_takes_nothing_fails_the_job_in_words(
    engine: PacedEngine, lake: TextToImage, tmp_path: Path
) -> None:
    (tmp_path / "pictures").write_text("in the way")
    engine.paced = False
    jobs = Jobs(engine, PictureStore(tmp_path))
    try:
        failed = _until(jobs, jobs.submit([lake], "me")["id"])
        assert failed["state"] == "failed"
        assert "could not be kept" in failed["error"]
        (tmp_path / "pictures").unlink()
        assert _until(jobs, jobs.submit([lake], "me")["id"])["state"] == "done"
    finally:
        jobs.close(PATIENCE)


def test_other_owners_see_nothing_and_stop_nothing(jobs: Jobs, engine: PacedEngine, lake: TextToImage) -> None:
    job_id = jobs.submit([lake], "me")["id"]
    engine.wait_until_held()
    assert jobs.snapshot(job_id, "you") is None
    assert jobs.wait_for_change(job_id, "you", -1, 0.01) is None
    assert jobs.preview(job_id, "you") is None
    assert jobs.stop(job_id, "you", everything=True) is None
    assert jobs.current("you") == []
    engine.allow(STEPS)
    assert _until(jobs, job_id)["state"] == "done"


def test_unknown_jobs_are_nothing(jobs: Jobs) -> None:
    assert jobs.snapshot("no-such-job", "me") is None
    assert jobs.stop("no-such-job", "me") is None
    assert jobs.current("me") == []


def test_previews_are_png_and_end_with_the_run(
    jobs: Jobs, engine: PacedEngine, lake: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.engine.PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr("studio.engine.PREVIEW_SHARE", 1e9)
    job_id = jobs.submit([lake], "me")["id"]
    assert jobs.preview(job_id, "me") is None
    engine.allow(2)
    assert _step(jobs, job_id, 2)["preview"] == 2
    png = jobs.preview(job_id, "me")
    assert png is not None
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    engine.allow(STEPS)
    _until(jobs, job_id)
    assert jobs.preview(job_id, "me") is None


def test_snapshots_are_plain_json(jobs: Jobs, engine: PacedEngine, lake: TextToImage) -> None:
    import json

    job_id = jobs.submit([lake], "me")["id"]
    engine.allow(2)
    running = _step(jobs, job_id, 2)
    assert json.loads(json.dumps(running, allow_nan=False)) == running


def test_only_so_many_finished_jobs_are_remembered(jobs: Jobs, engine: PacedEngine, lake: TextToImage) -> None:
    first = jobs.submit([lake], "me")["id"]
    engine.wait_until_held()
    finished = [jobs.submit([lake], "me")["id"] for _ in range(1)]
    jobs.stop(finished[0], "me")
    for _ in range(KEPT_JOBS + 1):
        jobs.stop(jobs.submit([lake], "me")["id"], "me")
    assert jobs.snapshot(finished[0], "me") is None, "the oldest finished job is forgotten"
    assert jobs.snapshot(first, "me") is not None, "an unfinished one never"


def test_closing_stops_the_run_keeps_its_picture_and_takes_no_more(
    engine: PacedEngine, store: PictureStore, lake: TextToImage
) -> None:
    jobs = Jobs(engine, store)
    job_id = jobs.submit(batch(lake, 2), "me")["id"]
    engine.wait_until_held()
    closer = threading.Thread(target=jobs.close, args=(PATIENCE,))
    closer.start()
    while True:  # until close() holds the word
        try:
            jobs.submit([lake], "me")
        except Busy as refused:
            assert "closing" in str(refused)
            break
    engine.allow(1000)
    closer.join(PATIENCE)
    assert not closer.is_alive()
    assert [kept.stopped_at for kept in store.newest("me")] == [1]
    ended = jobs.snapshot(job_id, "me")
    assert ended is not None
    assert ended["state"] == "stopped"


def test_closing_ends_those_who_wait(engine: PacedEngine, store: PictureStore, lake: TextToImage) -> None:
    jobs = Jobs(engine, store)
    job_id = jobs.submit([lake], "me")["id"]
    engine.wait_until_held()
    version = _until(jobs, job_id, state="running")["version"]
    found: list[dict[str, Any] | None] = []
    waiter = threading.Thread(target=lambda: found.append(jobs.wait_for_change(job_id, "me", version, PATIENCE)))
    waiter.start()
    engine.allow(1000)
    jobs.close(PATIENCE)
    waiter.join(PATIENCE)
    assert len(found) == 1


def test_nothing_runs_before_the_first_job(engine: PacedEngine, store: PictureStore) -> None:
    before = threading.active_count()
    jobs = Jobs(engine, store)
    assert threading.active_count() == before
    jobs.close()
