"""Jobs: pictures that wait, are being painted, or are done. One worker, which outlives every browser tab.

A job is a list of requests from one owner. Its state is read as a snapshot, a plain dict that the page understands;
every change raises its version, so that a reader can wait for the next one.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

from studio import verifying
from studio.branches import Branch
from studio.engine import Engine, Progress
from studio.errors import Busy, NotFound, StudioError
from studio.filling import Filled, Filling
from studio.imaging.plain_png import write_plain
from studio.imaging.png import read_picture, write_png
from studio.job import FINISHED, Job, Slot, told_of, too_many
from studio.picture import Picture
from studio.project.pixels_store import PixelStore
from studio.project.settings_in import BranchIn
from studio.project.store import PictureStore, request_in
from studio.requests import COUNT_RANGE, TextToImage, batch
from studio.viewer.branching import paint
from studio.viewer.facts import ribbon_of
from studio.viewer.fills import filling_of_branch
from studio.viewer.keeping import keep
from studio.viewer.source import Source

log = logging.getLogger(__name__)

KEPT_JOBS = 200  # finished jobs that stay readable
BRANCHES_LIMIT = 200  # files of one step's branches that are looked at to find one of them
FILLS_LIMIT = 1024**3  # bytes of pixels that the fills of all who wait may hold
FILLS_SHARE = 4  # where several people sign in, each may hold this part of it


class Jobs:
    """The queue and its worker. All methods may be called from any thread.

    With a `viewer`, every run is recorded and kept there under the id of its picture, and runs can be branched. The
    layers of fills go to `pixels`.
    `queue_limit` are the pictures that may wait, `owner_limit` those of one person (default: as many).
    """

    def __init__(
        self,
        engine: Engine,
        store: PictureStore,
        queue_limit: int = 64,
        viewer: Source | None = None,
        owner_limit: int | None = None,
        pixels: PixelStore | None = None,
    ) -> None:
        self._engine = engine
        self._pixels = pixels
        self._store = store
        self._viewer = viewer
        self._queue_limit = queue_limit
        self._owner_limit = owner_limit or queue_limit
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._worker: threading.Thread | None = None

    def submit(
        self, requests: Sequence[TextToImage], owner: str, kept: Callable[[int, str], None] | None = None
    ) -> dict[str, Any]:
        """Adds a job and returns its first snapshot. Raises Busy if too many pictures wait already.

        `kept` is told of every picture as soon as it is safe: its place in the job, and its id.
        """
        return self._add(Job(secrets.token_urlsafe(16), owner, [Slot(request) for request in requests], kept=kept))

    def submit_branch(self, branch: Branch, owner: str) -> dict[str, Any]:
        """Adds a job that goes on from a step of a kept run. Raises Busy as `submit` does, NotThere without a run."""
        if self._viewer is None:
            raise StudioError("Runs are not kept here, so there is nothing to go on from.")
        slot = Slot(branch.request, branch, ribbon=ribbon_of(self._viewer, owner, branch.parent)[: branch.at])
        return self._add(Job(secrets.token_urlsafe(16), owner, [slot]))

    def submit_check(self, picture_id: str, owner: str) -> dict[str, Any]:
        """Adds a job that paints a picture of this owner again and compares. Nothing is kept of it.

        Raises Busy as `submit` does, NotFound, and StudioError for a picture that cannot be painted again.
        """
        request, _ = verifying.checked(self._checked_png(owner, picture_id))
        return self._add(Job(secrets.token_urlsafe(16), owner, [Slot(request, checks=picture_id)]))

    def _checked_png(self, owner: str, picture_id: str) -> bytes:
        png = self._store.png(owner, picture_id)
        if png is None:
            raise NotFound("There is no such picture here (any more).")
        return png

    def run_of(self, owner: str, png: bytes, branch: BranchIn) -> dict[str, Any] | None:
        """Where a PNG that says that it is a branch can be looked at here: its own run, or else the one that it left,
        at the step with which it begins. None where neither is this owner's.
        """
        if self._viewer is None:
            return None
        runs = self._viewer.runs
        for run_id in runs.branches(owner, branch.parent, branch.at)[:BRANCHES_LIMIT]:
            if self._is(owner, run_id, png):
                return {"id": run_id, "step": branch.at, "own": True}
        left = runs.get(owner, branch.parent)
        if left is None or branch.at >= len(left.steps):
            return None
        return {"id": left.id, "step": branch.at, "own": False}

    def _is(self, owner: str, picture_id: str, png: bytes) -> bool:
        file = self._store.opened(owner, picture_id)
        if file is None:
            return False
        with file:
            return os.fstat(file.fileno()).st_size == len(png) and file.read() == png

    def submit_fill(self, filling: Filling, count: int, owner: str) -> dict[str, Any]:
        """Adds a job of `count` variations of a fill, which differ in their seeds. Raises Busy as `submit` does."""
        slots = []
        for fill in batch(filling.fill, count):
            one = filling.with_seed(fill.seed)
            slots.append(Slot(one.painting, filling=one, filled=told_of(one)))
        return self._add(Job(secrets.token_urlsafe(16), owner, slots))

    def _add(self, job: Job) -> dict[str, Any]:
        with self._changed:
            self._check_fills(job)
            if self._closed:
                raise Busy("The studio is closing.")
            if self._pictures_ahead(None) + len(job.slots) > self._queue_limit:
                raise Busy(
                    f"{self._pictures_ahead(None)} pictures are waiting already, and {self._queue_limit} are the "
                    "limit. Wait for some of them, or stop them."
                )
            mine = sum(other.open_slots for other in self._jobs.values() if other.owner == job.owner)
            if mine + len(job.slots) > self._owner_limit:
                raise Busy(
                    f"{mine} of your pictures are waiting already, and {self._owner_limit} are the limit for one "
                    "person. Wait for some of them, or stop them."
                )
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._forget_old()
            self._touch(job)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="studio-worker", daemon=True)
                self._worker.start()
            return self._snapshot(job)

    def snapshot(self, job_id: str, owner: str) -> dict[str, Any] | None:
        """The job as it stands, or None if this owner has no such job."""
        with self._changed:
            job = self._find(job_id, owner)
            return self._snapshot(job) if job else None

    def wait_for_change(self, job_id: str, owner: str, version: int, timeout: float) -> dict[str, Any] | None:
        """A snapshot newer than `version`, or the present one after `timeout` seconds; None without such a job."""
        with self._changed:
            job = self._find(job_id, owner)
            if job is None:
                return None
            self._changed.wait_for(lambda: job.version > version, timeout)
            return self._snapshot(job)

    def preview(self, job_id: str, owner: str) -> bytes | None:
        """The newest clean estimate as PNG, or None if there is none yet."""
        with self._changed:
            job = self._find(job_id, owner)
            pixels = job.preview if job else None
        return write_png(pixels) if pixels is not None else None

    def stop(self, job_id: str, owner: str, everything: bool = False) -> dict[str, Any] | None:
        """Stops the picture being painted, which is kept as it stands; with `everything`, the whole job."""
        with self._changed:
            job = self._find(job_id, owner)
            if job is None:
                return None
            if job.state not in FINISHED:
                job.stop_this = True
                job.stop_all = job.stop_all or everything
                if job.state == "queued":  # nothing of it has begun, so "this picture" means the job
                    self._waiting.remove(job)
                    self._finish(job, "stopped")
                self._touch(job)
            return self._snapshot(job)

    def current(self, owner: str, limit: int = 8) -> list[dict[str, Any]]:
        """Snapshots of the owner's unfinished jobs, oldest first; if there are none, of the latest job.

        Those that only check a picture are known to whoever asked for it.
        """
        with self._changed:
            mine = [job for job in self._jobs.values() if job.owner == owner and job.slots[0].checks is None]
            open_jobs = [job for job in mine if job.state not in FINISHED]
            return [self._snapshot(job) for job in (open_jobs[:limit] or mine[-1:])]

    def close(self, timeout: float = 10.0) -> None:
        """Stops the run in progress, which is kept as it stands, ends the worker, and tells those who wait.

        May be called again: the server does so first, to end its streams, and the application when it is taken down.
        """
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.stop_this = job.stop_all = True
            self._changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.join(timeout)
        with self._changed:
            for job in self._jobs.values():
                if job.state not in FINISHED:
                    self._finish(job, "stopped")
                    self._touch(job)

    # -- the worker -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._waiting.popleft()
                job.began = time.monotonic()
                job.state = "running" if self._engine.loaded_model == job.slots[0].request.model else "loading"
                self._touch(job)
            try:
                self._engine.load(job.slots[0].request.model)
                self._paint(job)
            except StudioError as problem:
                self._fail(job, str(problem))
            except Exception:
                log.exception("Job %s failed", job.id)
                self._fail(
                    job,
                    "Something went wrong inside the studio; its log has the details. "
                    "The next picture can be painted.",
                )

    def _paint(self, job: Job) -> None:
        for index, slot in enumerate(job.slots):
            with self._changed:
                if job.stop_all:
                    break
                job.state, job.index, job.step = "running", index, slot.first_step
                job.preview, job.preview_version = None, None
                slot.state = "running"
                self._touch(job)
            if slot.checks is not None:
                self._check(job, slot, slot.checks)
                continue
            picture = self._painted(job, slot)
            filled = slot.filling.finished(picture) if slot.filling is not None else None
            picture = filled.picture if filled is not None else picture
            made_at = time.time_ns() // 1_000_000
            picture_id = self._store.add(job.owner, picture.to_png(), made_at, picture.seconds)
            self._tell(job, index, picture_id)
            self._remember(job, slot, picture, picture_id, made_at)
            self._keep(job, slot, picture, picture_id, self._laid(job, slot, filled))
        with self._changed:
            for slot in job.slots:
                slot.state = "stopped" if slot.state == "waiting" else slot.state
            stopped = any(slot.state == "stopped" for slot in job.slots)
            self._finish(job, "stopped" if stopped else "done")
            self._touch(job)

    def _check(self, job: Job, slot: Slot, picture_id: str) -> None:
        """Paints a picture again, and says what came out. A fill finds what it was filled from beside its run."""
        png = self._checked_png(job.owner, picture_id)
        verdict = verifying.paint_again(
            png,
            slot.request,
            self._engine,
            verifying.filling_beside(png, self._viewer, job.owner, picture_id),
            on_progress=lambda progress: self._progress(job, slot, progress),
            cancelled=lambda: job.stop_this,
        )
        with self._changed:
            slot.state = "done" if verdict is not None else "stopped"
            slot.verdict = verdict.told() if verdict is not None else None
            self._touch(job)

    def _tell(self, job: Job, index: int, picture_id: str) -> None:
        """Whoever wanted to know is told. The picture is safe already, whatever they make of it."""
        if job.kept is None:
            return
        try:
            job.kept(index, picture_id)
        except StudioError as problem:
            log.warning("%s", problem)

    def _painted(self, job: Job, slot: Slot) -> Picture:
        def on_progress(progress: Progress) -> None:
            self._progress(job, slot, progress)

        def cancelled() -> bool:
            return job.stop_this

        if slot.branch is not None and self._viewer is not None:
            slot.filling = filling_of_branch(self._viewer, job.owner, slot.branch)
            slot.filled = told_of(slot.filling) if slot.filling is not None else None
            return paint(self._viewer, job.owner, slot.branch, on_progress, cancelled, slot.filling)
        approach = slot.filling.approach if slot.filling is not None else None
        return self._engine.run(
            slot.request, on_progress, cancelled, record=self._viewer is not None, approach=approach
        )

    def layer_of(self, owner: str, picture_id: str) -> dict[str, Any]:
        """What a kept fill, or a branch of one, lays over what it filled, as its job told it when it was painted.

        Raises NotFound; StudioError where the picture is no fill, or what it was filled from is not there any more.
        """
        png = self._checked_png(owner, picture_id)
        filling = verifying.filling_beside(png, self._viewer, owner, picture_id)
        if filling is None:
            raise StudioError("This is a picture of its own and no fill. Open it in Fill as a document.")
        filled = filling.finished(Picture(read_picture(png), filling.painting, seconds=0.0))
        stopped_at = request_in(png)[1]
        return {"id": picture_id, "stopped_at": stopped_at, **told_of(filling), **self._laid_over(owner, filled)}

    def _laid(self, job: Job, slot: Slot, filled: Filled | None) -> dict[str, Any] | None:
        """What is told of a fill once it is there."""
        if filled is None or slot.filled is None:
            return slot.filled
        return {**slot.filled, **self._laid_over(job.owner, filled)}

    def _laid_over(self, owner: str, filled: Filled) -> dict[str, Any]:
        """Layer and count of a fill. The layer is kept: the page takes it up by its id."""
        layer = None
        if self._pixels is not None:
            pixels_id, width, height = self._pixels.add(owner, write_plain(filled.layer.pixels))
            place = {"x": filled.layer.x, "y": filled.layer.y, "width": width, "height": height}
            layer = {"pixels": pixels_id, **place}
        return {"layer": layer, "count": filled.count.to_dict()}

    def _remember(self, job: Job, slot: Slot, picture: Picture, picture_id: str, made_at: int) -> None:
        """Keeps the run behind a picture. The picture itself is safe already, and stays if this fails."""
        if self._viewer is None:
            return
        try:
            keep(self._viewer, job.owner, picture_id, picture, made_at, slot.branch, slot.filling)
        except StudioError as problem:
            log.warning("%s", problem)
        except Exception:
            log.exception("The run of picture %s could not be kept", picture_id)

    def _progress(self, job: Job, slot: Slot, progress: Progress) -> None:
        with self._changed:
            job.step = progress.number
            job.step_times.append(time.monotonic())
            shared = slot.branch.at if slot.branch is not None else 0
            del slot.ribbon[shared + progress.place :]  # of steps that are made again
            slot.ribbon.append(progress.moved)
            if progress.preview is not None:
                job.preview = progress.preview
                job.preview_version = (job.preview_version or 0) + 1
            self._touch(job)

    def _keep(self, job: Job, slot: Slot, picture: Picture, picture_id: str, filled: dict[str, Any] | None) -> None:
        with self._changed:
            slot.filling, slot.filled = None, filled
            slot.id, slot.seconds, slot.stopped_at = picture_id, picture.seconds, picture.stopped_at
            slot.state = "done" if picture.stopped_at is None else "stopped"
            job.stop_this = job.stop_all
            self._touch(job)

    def _fail(self, job: Job, words: str) -> None:
        with self._changed:
            job.error = words
            for slot in job.slots:
                if slot.state in ("running", "waiting"):
                    slot.state = "failed"
            self._finish(job, "failed")
            self._touch(job)

    # -- under the lock ---------------------------------------------------------------------------------------------

    def _find(self, job_id: str, owner: str) -> Job | None:
        job = self._jobs.get(job_id)
        return job if job is not None and job.owner == owner else None

    def _finish(self, job: Job, state: str) -> None:
        job.state, job.ended = state, time.monotonic()
        job.preview = None
        for slot in job.slots:
            slot.filling = None  # finished jobs stay readable for long: without the pixels that went into them
            if slot.branch is not None:
                slot.branch = dataclasses.replace(slot.branch, edit=None, mask=None, within=None)
            if state == "stopped" and slot.state == "waiting":
                slot.state = "stopped"

    def _touch(self, job: Job) -> None:
        job.version += 1
        self._changed.notify_all()

    def _check_fills(self, job: Job) -> None:
        more = job.nbytes
        held = [(other.owner, other.nbytes) for other in self._jobs.values()]
        if more and sum(size for _, size in held) + more > FILLS_LIMIT:
            raise Busy("Many large fills are waiting already. Wait for some of them, or stop them.")
        mine = sum(size for owner, size in held if owner == job.owner)
        shared = self._owner_limit < self._queue_limit  # by several people
        if shared and more and mine and mine + more > FILLS_LIMIT // FILLS_SHARE:  # one alone may be larger
            raise Busy("Many large fills of yours are waiting already. Wait for some of them, or stop them.")

    def _forget_old(self) -> None:
        finished = [(job.id, job.owner) for job in self._jobs.values() if job.state in FINISHED]
        for job_id in too_many(finished, KEPT_JOBS):
            del self._jobs[job_id]

    def _pictures_ahead(self, of: Job | None) -> int:
        """Pictures that are still to be painted before `of`; before a new job if it is None."""
        ahead = 0
        for job in self._jobs.values():
            if job is of:
                break
            ahead += job.open_slots
        return ahead

    def _snapshot(self, job: Job) -> dict[str, Any]:
        finished = job.state in FINISHED
        slot = job.slots[min(job.index, len(job.slots) - 1)]
        steps = slot.request.num_inference_steps
        eta_picture, eta_job = (None, None) if finished else self._left(job, slot)
        now = job.ended if job.ended is not None else time.monotonic()
        few = len(job.slots) <= COUNT_RANGE[1]  # of a whole grid, the ribbons would be most of every snapshot
        return {
            "id": job.id,
            "version": job.version,
            "state": job.state,
            "error": job.error,
            "ahead": 0 if finished else self._pictures_ahead(job),
            "index": job.index,
            "step": job.step,
            "steps": steps,
            "eta_picture": eta_picture,
            "eta_job": eta_job,
            "seconds": now - job.began if job.began is not None else 0.0,
            "ribbon": [list(column) for column in slot.ribbon],
            "preview": job.preview_version,
            "pictures": [s.as_dict(few) for s in job.slots],
        }

    def _left(self, job: Job, slot: Slot) -> tuple[float | None, float | None]:
        return job.seconds_left(slot, self._engine.seconds_for(slot.request))
