"""What one person may have of the queue and of what it remembers, while others use it too."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from studio import jobs as jobs_module
from studio.errors import Busy
from studio.job import Job, Slot, too_many
from studio.jobs import FILLS_LIMIT, FILLS_SHARE, Jobs
from studio.project.store import PictureStore
from studio.requests import TextToImage


def _queue(folder: Path, owner_limit: int | None) -> Jobs:
    """A queue that nobody works on."""
    jobs = Jobs(cast(Any, SimpleNamespace(seconds_for=lambda _: None)), PictureStore(folder), 64, None, owner_limit)
    jobs._worker = threading.Thread()
    return jobs


def _fill(jobs: Jobs, owner: str, size: int) -> None:
    filling = cast(Any, SimpleNamespace(nbytes=size)) if size else None
    jobs._add(Job(f"{owner} {len(jobs._jobs)}", owner, [Slot(TextToImage("a lake"), filling=filling)]))


def test_one_persons_fills_leave_memory_for_those_of_others(tmp_path: Path) -> None:
    jobs, share = _queue(tmp_path, 16), FILLS_LIMIT // FILLS_SHARE
    _fill(jobs, "ann", share)
    with pytest.raises(Busy, match="of yours"):
        _fill(jobs, "ann", 1)
    _fill(jobs, "ann", 0)  # a picture that is no fill holds nothing
    for owner in ("bob", "cid", "dan"):
        _fill(jobs, owner, share)
    with pytest.raises(Busy, match="Many large fills are"):
        _fill(jobs, "eve", 1)
    _fill(jobs, "eve", 0)


def test_one_large_fill_may_be_more_than_a_share(tmp_path: Path) -> None:
    jobs = _queue(tmp_path, 16)
    _fill(jobs, "ann", FILLS_LIMIT // FILLS_SHARE + 1)
    _fill(jobs, "ann", 0)  # and a picture beside it holds nothing


def test_who_is_alone_has_all_of_it(tmp_path: Path) -> None:
    jobs = _queue(tmp_path, None)
    for _ in range(FILLS_SHARE):
        _fill(jobs, "local", FILLS_LIMIT // FILLS_SHARE)


def test_whoever_keeps_most_makes_room() -> None:
    kept = [("1", "ann"), ("2", "eve"), ("3", "eve"), ("4", "eve"), ("5", "ann")]
    assert too_many(kept, 5) == []
    assert too_many(kept, 4) == ["2"]
    assert too_many(kept, 2) == ["2", "1", "3"]
    assert too_many([], 0) == []


def test_nobody_pushes_out_the_jobs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "KEPT_JOBS", 4)
    jobs = _queue(tmp_path, 16)
    for number, owner in enumerate(["ann", *["eve"] * 9]):
        job = Job(str(number), owner, [Slot(TextToImage("a lake"))])
        jobs._add(job)
        jobs.stop(job.id, owner)
    assert jobs.snapshot("0", "ann") is not None
    assert list(jobs._jobs) == ["0", "6", "7", "8", "9"]  # the last one had not ended when it came
