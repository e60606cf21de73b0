"""Recorded runs on disk: what was asked for, what was measured, and the latents to go on from.

A run has the id of the picture that it ended in, and up to three files in its owner's folder: the facts as strict
JSON, a strip of small previews, and the recording as one .safetensors file; a fill has two more, the pixels of its
frame and its masks. The facts are written last and are what
makes a run exist; every file appears whole or not at all. Where the latents of an owner grow beyond the budget, the
oldest runs give theirs up; facts, strips and pictures stay.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from studio.errors import StudioError, human_bytes
from studio.project.disk import at_most, check_free, not_kept, taken
from studio.project.kept_fill import MASK, SOURCE, read_files
from studio.project.kept_run import (
    RUN_ID,
    BandNumbers,
    KeptRun,
    KeptStep,
    Measured,
    Strip,
    is_plain_file,
    read_facts,
    to_json,
)
from studio.project.names import HOME, home_of
from studio.project.run_files import FACTS, LATENTS, STRIP, SUFFIXES, ours, sweep, write_flushed
from studio.project.run_lines import RunLine, read_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from studio.diffusion.recording import Recording

__all__ = ["BandNumbers", "KeptRun", "KeptStep", "LatentsGone", "Measured", "RunLine", "RunStore", "Strip"]

RUN_BUDGET = 4 * 1024**3  # bytes of latents per owner
REST_BUDGET = 16 * 1024**3  # bytes on disk of everything else per owner
READ_LIMIT = 32 * 1024**2  # bytes of facts that are held in memory, of everybody
STRIP_LIMIT = 64 * 1024**2  # bytes of the small previews of one run

log = logging.getLogger(__name__)


class LatentsGone(StudioError):
    """The latents of a run were given up for newer ones; what was measured of it is still there."""


class RunStore:
    """The runs of everybody who uses this studio, below one folder. Safe to call from several threads."""

    def __init__(
        self, folder: Path, budget: int = RUN_BUDGET, rest_budget: int = REST_BUDGET, read_limit: int = READ_LIMIT
    ) -> None:
        """`budget` is of latents, `rest_budget` of everything else: bytes on disk per owner."""
        self._folder = folder / "runs"
        self._budget = budget
        self._rest_budget = rest_budget
        self._read_limit = read_limit
        self._locks: dict[str, threading.RLock] = {}  # of each owner: nobody waits while another's runs are read
        self._reading = threading.RLock()  # of what is held in memory
        self._known: dict[str, dict[str, RunLine]] = {}
        self._read: OrderedDict[tuple[str, str], tuple[KeptRun, int]] = OrderedDict()  # with bytes; the latest last
        self._read_bytes = 0
        self._rest: dict[str, int] = {}  # bytes on disk beside latents, by owner, once counted
        self._changed: Callable[[str, frozenset[str]], None] | None = None

    def tell(self, changed: Callable[[str, frozenset[str]], None]) -> None:
        """From now on `changed` is told of runs that came, went, or gave up their latents, with their owner."""
        self._changed = changed

    def prepare(self) -> None:
        """Makes the folder and sweeps what a killed process left half written. Raises StudioError without room."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
            for home in self._folder.iterdir():
                # somebody's own folder may be called "runs" too: what does not bear our names is never touched
                if HOME.fullmatch(home.name) and home.is_dir() and not home.is_symlink():
                    sweep(home)
        except OSError as problem:
            raise StudioError(
                f"Runs cannot be kept in {self._folder}: {problem.strerror or problem}. "
                "Choose another folder with --data."
            ) from problem

    def add(
        self,
        owner: str,
        run: KeptRun,
        recording: Recording | None,
        strip: bytes | None,
        beside: Mapping[str, bytes] | None = None,
    ) -> None:
        """Keeps a run under the id of its picture. Raises StudioError if the disk does not take it.

        `beside` are the two files of a fill, by how their names end.
        """
        if not RUN_ID.fullmatch(run.id):
            raise ValueError(f"{run.id!r} is not the id of a picture.")
        facts = to_json(run)
        home = self._home(owner)
        sizes = [len(data) for data in (facts, strip or b"", *(beside or {}).values())]
        self._reserve(owner, sum(map(taken, sizes)), _bytes_of(recording) if recording is not None else 0)
        try:
            home.mkdir(parents=True, exist_ok=True)
            if recording is not None:
                from studio.diffusion.run_file import save_recording

                save_recording(recording, home / f"{run.id}{LATENTS}")  # whole or absent, too
            for suffix, data in (*(beside or {}).items(), *(((STRIP, strip),) if strip is not None else ())):
                write_flushed(home / f"{run.id}{suffix}", functools.partial(Path.write_bytes, data=data))
            write_flushed(home / f"{run.id}{FACTS}", lambda partial: partial.write_bytes(facts))
        except (OSError, StudioError) as problem:  # what saves the latents has its own words, which say where they lie
            for suffix in SUFFIXES:
                with contextlib.suppress(OSError):
                    (home / f"{run.id}{suffix}").unlink(missing_ok=True)
            with self._lock(owner):
                self._rest.pop(owner, None)  # counted again
            cause = problem if isinstance(problem, OSError) else problem.__cause__
            if isinstance(cause, OSError):
                raise not_kept("The steps of this picture", home, cause) from problem
            raise
        with self._lock(owner):
            self._runs(owner)[run.id] = RunLine.of(run)
            self._remember(owner, run, len(facts))
        self._tell(owner, {run.id, *self._keep_to_budget(owner, run.id)})

    def get(self, owner: str, run_id: str) -> KeptRun | None:
        """This owner's run, or None."""
        with self._lock(owner):
            return self._loaded(owner, run_id) if run_id in self._runs(owner) else None

    def newest(self, owner: str, limit: int = 60) -> list[RunLine]:
        """The owner's newest runs, newest first."""
        with self._lock(owner):
            runs = self._runs(owner)
            return [runs[run_id] for run_id in sorted(runs, reverse=True)[:limit]]

    def family(self, owner: str, run: KeptRun) -> list[RunLine]:
        """Every run that `run` shares its root with, the root first, then in the order of making."""
        with self._lock(owner):
            found = [line for line in self._runs(owner).values() if line.family == run.family]
        return sorted(found, key=lambda line: line.id)

    def branches(self, owner: str, parent: str, at: int) -> list[str]:
        """The ids of the runs that left `parent` at step `at`, whether or not that is still here."""
        with self._lock(owner):
            return [line.id for line in self._runs(owner).values() if (line.parent, line.branch_at) == (parent, at)]

    def lineage(self, owner: str, run: KeptRun) -> list[KeptRun]:
        """The run and those whose steps it shares, itself first. Ends early where one is not there any more."""
        line, seen = [run], {run.id}
        while line[-1].parent is not None and line[-1].branch_at:
            found = self.get(owner, line[-1].parent or "")
            if found is None or found.id in seen:
                break
            line.append(found)
            seen.add(found.id)
        return line

    def strip(self, owner: str, run_id: str) -> bytes | None:
        """The PNG of the small previews, or None."""
        if not self._is_here(owner, run_id):
            return None
        path = self._home(owner) / f"{run_id}{STRIP}"
        try:
            return path.read_bytes() if is_plain_file(path, STRIP_LIMIT) else None
        except OSError:
            return None

    def region(self, owner: str, run_id: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """The frame of a fill: its pixels (h, w, 4), its mask (h, w), and the mask without its feather.

        Raises LatentsGone if they were given up, UnreadablePicture if they are damaged.
        """
        files = [self._home(owner) / f"{run_id}{suffix}" for suffix in (SOURCE, MASK)]
        if self._is_here(owner, run_id) and all(is_plain_file(path, STRIP_LIMIT) for path in files):
            with contextlib.suppress(OSError):  # a newer run may have taken their room just now
                found = read_files(*(path.read_bytes() for path in files))
                if found is not None:
                    return found
        raise LatentsGone("The pixels around this fill were let go to make room. Fill the place again.")

    def latents(self, owner: str, run_id: str) -> Path | None:
        """The run's own recording as a file, or None once it was given up."""
        if not self._is_here(owner, run_id):
            return None
        path = self._home(owner) / f"{run_id}{LATENTS}"
        return path if is_plain_file(path) else None

    def opened(self, owner: str, run_id: str) -> BinaryIO | None:
        """The run's own recording, open for reading: it can be read to its end even if it is given up meanwhile."""
        path = self.latents(owner, run_id)
        try:
            return path.open("rb") if path is not None else None
        except OSError:
            return None

    def openable(self, owner: str) -> frozenset[str]:
        """The ids of all runs of which `is_open` is true, found in one go."""
        with self._lock(owner):
            runs = dict(self._runs(owner))
        held = {path.name.partition(".")[0] for path in ours(self._home(owner), LATENTS)}
        known: dict[str, bool] = {}
        for run_id in runs:
            walked: list[str] = []
            here, line = run_id, runs.get(run_id)
            whole = True
            while line is not None and here not in known:
                walked.append(here)
                known[here] = False  # until the end of its line is known
                if here not in held:
                    whole = False
                    break
                if not line.branch_at:
                    break
                here = line.parent or ""
                line = runs.get(here)
                whole = line is not None and known.get(here, True)
            known.update(dict.fromkeys(walked, whole) if walked else {})
        return frozenset(run_id for run_id, whole in known.items() if whole)

    def is_open(self, owner: str, run_id: str) -> bool:
        """Whether there is such a run, and every step of it can still be opened, those that it shares included."""
        with self._lock(owner):
            line = self._runs(owner).get(run_id)
        return line is not None and self._is_open(owner, run_id, line)

    def _is_open(self, owner: str, run_id: str, line: RunLine) -> bool:
        with self._lock(owner):
            runs = self._runs(owner)
            seen = {run_id}
            while self.latents(owner, run_id) is not None:
                if not line.branch_at:
                    return True
                run_id = line.parent or ""
                if run_id not in runs or run_id in seen:
                    return False
                line = runs[run_id]
                seen.add(run_id)
            return False

    def recording(self, owner: str, run_id: str) -> Recording:
        """The run's own recording. Raises LatentsGone if it was given up, StudioError if its file is damaged."""
        from studio.diffusion.run_file import load_recording

        path = self.latents(owner, run_id)
        if path is None:
            raise LatentsGone("The pixels of these steps were let go to make room. Run the picture again from here.")
        try:
            return load_recording(path)
        except StudioError:
            if path.exists():
                raise
            # between the look and the reading, a newer run took its room
            raise LatentsGone("The pixels of these steps were just let go to make room.") from None

    def files(self, owner: str, run_id: str) -> dict[str, Path]:
        """The run's own files, by how their names end; the facts come last."""
        if not self._is_here(owner, run_id):
            return {}
        paths = {suffix: self._home(owner) / f"{run_id}{suffix}" for suffix in SUFFIXES}
        return {suffix: path for suffix, path in paths.items() if is_plain_file(path)}

    def adopt(self, owner: str, run: KeptRun, files: Mapping[str, Path]) -> None:
        """Takes over the files of a run, by how their names end, from another folder of the same disk.

        Raises StudioError if the disk does not take them.
        """
        home = self._home(owner)
        try:
            sizes = {suffix: path.stat().st_size for suffix, path in files.items()}
            self._reserve(owner, sum(taken(size) for suffix, size in sizes.items() if suffix != LATENTS))
            home.mkdir(parents=True, exist_ok=True)
            for suffix in SUFFIXES:  # the facts come last
                if suffix in files:
                    with files[suffix].open("rb+") as file:
                        os.fsync(file.fileno())
                    files[suffix].replace(home / f"{run.id}{suffix}")
        except OSError as problem:
            self.discard(owner, run.id)
            raise not_kept("A run", home, problem) from problem
        with self._lock(owner):
            self._runs(owner)[run.id] = RunLine.of(run)
            self._remember(owner, run, sizes.get(FACTS, 0))
        self._tell(owner, {run.id, *self._keep_to_budget(owner, run.id)})

    def discard(self, owner: str, run_id: str) -> None:
        """Deletes a run with all its files."""
        if RUN_ID.fullmatch(run_id):
            with self._lock(owner):
                self._runs(owner).pop(run_id, None)
                self._forget(owner, run_id)
                self._rest.pop(owner, None)  # counted again
            for suffix in reversed(SUFFIXES):
                with contextlib.suppress(OSError):
                    (self._home(owner) / f"{run_id}{suffix}").unlink(missing_ok=True)
            self._tell(owner, {run_id})

    def on_disk(self, owner: str) -> dict[str, int]:
        """The ids of all runs that have a file of facts, unread, with the bytes of their latents (0: given up)."""
        facts: set[str] = set()
        latents: dict[str, int] = {}
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._home(owner)):
                run_id, dot, ending = entry.name.partition(".")
                if RUN_ID.fullmatch(run_id) and dot + ending == FACTS:
                    facts.add(run_id)
                elif RUN_ID.fullmatch(run_id) and dot + ending == LATENTS:
                    with contextlib.suppress(FileNotFoundError):  # given up just now
                        if entry.is_file(follow_symlinks=False):
                            latents[run_id] = entry.stat(follow_symlinks=False).st_size
        return {run_id: latents.get(run_id, 0) for run_id in facts}

    def told(self, owner: str, run_id: str) -> KeptRun | None:
        """What the file of a run tells, without a look at the others: None if there is none, or it makes no sense."""
        return read_facts(self._home(owner) / f"{run_id}{FACTS}") if RUN_ID.fullmatch(run_id) else None

    def used(self, owner: str) -> tuple[int, int]:
        """Bytes on disk of this owner's latents, which `budget` is about, and of everything else that runs have."""
        latents = others = 0
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._home(owner)):
                run_id, dot, ending = entry.name.partition(".")
                if RUN_ID.fullmatch(run_id):
                    size = entry.stat(follow_symlinks=False).st_size
                    latents, others = (latents + size, others) if dot + ending == LATENTS else (latents, others + size)
        return latents, others

    def size(self, owner: str, run_id: str) -> int:
        """Bytes on disk of the run's own files."""
        total = 0
        for suffix in SUFFIXES:
            with contextlib.suppress(OSError):
                total += (self._home(owner) / f"{run_id}{suffix}").stat().st_size
        return total

    # -- inside ---------------------------------------------------------------------------------------------------

    def _tell(self, owner: str, runs: set[str]) -> None:
        if self._changed is None:
            return
        try:
            self._changed(owner, frozenset(runs))
        except StudioError as problem:  # the files are the truth, and looked at again at the next start
            log.warning("%s", problem)

    @property
    def budget(self) -> int:
        """Bytes of latents that one owner may keep."""
        return at_most(self._budget, self._folder)

    def _home(self, owner: str) -> Path:
        return self._folder / home_of(owner)

    def _reserve(self, owner: str, more: int, latents: int = 0) -> None:
        """Counts files that are about to be written, not so the `latents`. Raises StudioError without room."""
        with self._lock(owner):
            if owner not in self._rest:
                total = 0
                with contextlib.suppress(OSError):
                    for entry in os.scandir(self._home(owner)):
                        run_id, dot, ending = entry.name.partition(".")
                        if RUN_ID.fullmatch(run_id) and dot + ending in SUFFIXES and dot + ending != LATENTS:
                            total += taken(entry.stat(follow_symlinks=False).st_size)
                self._rest[owner] = total
            used = self._rest[owner]
            budget = at_most(self._rest_budget, self._folder)
            if used + more > budget:
                raise StudioError(
                    f"What is kept of the steps of your pictures uses {human_bytes(used)}, and "
                    f"{human_bytes(budget)} are the limit. Delete pictures that you no longer need, and "
                    "empty the bin."
                )
            check_free(self._home(owner), more + latents)
            self._rest[owner] = used + more

    def _is_here(self, owner: str, run_id: str) -> bool:
        with self._lock(owner):
            return run_id in self._runs(owner)

    def _loaded(self, owner: str, run_id: str) -> KeptRun | None:
        """A run with all that is told of it: from memory, or from its file."""
        with self._reading:
            found = self._read.get((owner, run_id))
            if found is not None:
                self._read.move_to_end((owner, run_id))
                return found[0]
        path = self._home(owner) / f"{run_id}{FACTS}"
        run = read_facts(path)
        if run is not None:
            with contextlib.suppress(OSError):
                self._remember(owner, run, path.stat().st_size)
        return run

    def _remember(self, owner: str, run: KeptRun, size: int) -> None:
        """Holds a run in memory, and forgets those that were not asked for the longest."""
        with self._reading:
            self._forget(owner, run.id)
            self._read[owner, run.id] = (run, size)
            self._read_bytes += size
            while self._read_bytes > self._read_limit and len(self._read) > 1:
                self._forget(*next(iter(self._read)))

    def _forget(self, owner: str, run_id: str) -> None:
        with self._reading:
            _, size = self._read.pop((owner, run_id), (None, 0))
            self._read_bytes -= size

    def _lock(self, owner: str) -> threading.RLock:
        return self._locks.setdefault(owner, threading.RLock())

    def _runs(self, owner: str) -> dict[str, RunLine]:
        """The owner's runs by id; read from disk the first time."""
        known = self._known.get(owner)
        if known is None:
            known = read_lines(self._home(owner))
            for run_id in _going_round(known):  # a line that bites its tail has no first step
                del known[run_id]
            self._known[owner] = known
        return known

    def _keep_to_budget(self, owner: str, newest: str) -> list[str]:
        """Deletes the oldest latents until the rest fits. The run just made keeps its own in any case.

        What a fill was made from stays: it is a part of its request, and without it the fill cannot be made again.
        Returns the runs that gave theirs up.
        """
        given_up: list[str] = []
        with self._lock(owner):
            held: list[tuple[Path, int]] = []
            for path in sorted(ours(self._home(owner), LATENTS)):
                with contextlib.suppress(OSError):
                    held.append((path, path.stat().st_size))
            total = sum(size for _, size in held)
            budget = self.budget
            for path, size in held:
                if total <= budget or path.name.startswith(newest):
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size
                    given_up.append(path.name.removesuffix(LATENTS))
        return given_up


def _bytes_of(recording: Recording) -> int:
    """About as many as its file will have: steps share tensors, each of which is written once."""
    each = (tensor for step in recording.steps for tensor in (step.x, step.denoised, step.x_next))
    return sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in each if tensor is not None}.values())


def _going_round(runs: Mapping[str, RunLine]) -> set[str]:
    """The runs whose parents lead back to one that was passed already."""
    known: dict[str, bool] = {}
    for run_id in runs:
        walked: dict[str, None] = {}
        here = run_id
        while here in runs and here not in known and here not in walked:
            walked[here] = None
            here = runs[here].parent or ""
        known.update(dict.fromkeys(walked, known.get(here, False) or here in walked))
    return {run_id for run_id, round_ in known.items() if round_}
