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
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from studio.errors import StudioError
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

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from studio.diffusion.recording import Recording

__all__ = ["BandNumbers", "KeptRun", "KeptStep", "LatentsGone", "Measured", "RunStore", "Strip"]

RUN_BUDGET = 4 * 1024**3  # bytes of latents per owner
STRIP_LIMIT = 64 * 1024**2  # bytes of the small previews of one run

_HOME = re.compile(r"[0-9a-f]{24}")  # an owner's folder
FACTS, _STRIP, LATENTS = ".json", ".strip.png", ".safetensors"
SUFFIXES = (LATENTS, _STRIP, SOURCE, MASK, FACTS)  # of the files of a run, in the order of writing


class LatentsGone(StudioError):
    """The latents of a run were given up for newer ones; what was measured of it is still there."""


class RunStore:
    """The runs of everybody who uses this studio, below one folder. Safe to call from several threads."""

    def __init__(self, folder: Path, budget: int = RUN_BUDGET) -> None:
        self._folder = folder / "runs"
        self._budget = budget
        self._lock = threading.RLock()
        self._known: dict[str, dict[str, KeptRun]] = {}

    def prepare(self) -> None:
        """Makes the folder and sweeps what a killed process left half written. Raises StudioError without room."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
            for home in self._folder.iterdir():
                # somebody's own folder may be called "runs" too: what does not bear our names is never touched
                if _HOME.fullmatch(home.name) and home.is_dir() and not home.is_symlink():
                    _sweep(home)
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
        try:
            home.mkdir(parents=True, exist_ok=True)
            if recording is not None:
                from studio.diffusion.run_file import save_recording

                save_recording(recording, home / f"{run.id}{LATENTS}")  # whole or absent, too
            for suffix, data in (*(beside or {}).items(), *(((_STRIP, strip),) if strip is not None else ())):
                _whole(home / f"{run.id}{suffix}", functools.partial(Path.write_bytes, data=data))
            _whole(home / f"{run.id}{FACTS}", lambda partial: partial.write_bytes(facts))
        except OSError as problem:
            for suffix in SUFFIXES:
                with contextlib.suppress(OSError):
                    (home / f"{run.id}{suffix}").unlink(missing_ok=True)
            raise StudioError(
                f"The steps of this picture could not be kept in {home}: {problem.strerror or problem}. Make room "
                "there, or start with --data and another folder."
            ) from problem
        with self._lock:
            self._runs(owner)[run.id] = run
        self._keep_to_budget(owner, run.id)

    def get(self, owner: str, run_id: str) -> KeptRun | None:
        """This owner's run, or None."""
        with self._lock:
            return self._runs(owner).get(run_id)

    def newest(self, owner: str, limit: int = 60) -> list[KeptRun]:
        """The owner's newest runs, newest first."""
        with self._lock:
            runs = self._runs(owner)
            return [runs[run_id] for run_id in sorted(runs, reverse=True)[:limit]]

    def family(self, owner: str, run: KeptRun) -> list[KeptRun]:
        """Every run that `run` shares its root with, the root first, then in the order of making."""
        with self._lock:
            return sorted((r for r in self._runs(owner).values() if r.family == run.family), key=lambda r: r.id)

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
        if self.get(owner, run_id) is None:
            return None
        path = self._home(owner) / f"{run_id}{_STRIP}"
        try:
            return path.read_bytes() if is_plain_file(path, STRIP_LIMIT) else None
        except OSError:
            return None

    def region(self, owner: str, run_id: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """The frame of a fill: its pixels (h, w, 4), its mask (h, w), and the mask without its feather.

        Raises LatentsGone if they were given up, UnreadablePicture if they are damaged.
        """
        files = [self._home(owner) / f"{run_id}{suffix}" for suffix in (SOURCE, MASK)]
        if self.get(owner, run_id) is not None and all(is_plain_file(path, STRIP_LIMIT) for path in files):
            with contextlib.suppress(OSError):  # a newer run may have taken their room just now
                found = read_files(*(path.read_bytes() for path in files))
                if found is not None:
                    return found
        raise LatentsGone("The pixels around this fill were let go to make room. Fill the place again.")

    def latents(self, owner: str, run_id: str) -> Path | None:
        """The run's own recording as a file, or None once it was given up."""
        if self.get(owner, run_id) is None:
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
        """The ids of all runs of which `has_latents` is true, found in one go."""
        with self._lock:
            runs = dict(self._runs(owner))
        held = {path.name.partition(".")[0] for path in _ours(self._home(owner), LATENTS)}
        known: dict[str, bool] = {}
        for run in runs.values():
            walked: list[str] = []
            here: KeptRun | None = run
            whole = True
            while here is not None and here.id not in known:
                walked.append(here.id)
                known[here.id] = False  # until the end of its line is known
                if here.id not in held:
                    whole = False
                    break
                if not here.branch_at:
                    break
                here = runs.get(here.parent or "")
                whole = here is not None and known.get(here.id, True)
            known.update(dict.fromkeys(walked, whole) if walked else {})
        return frozenset(run_id for run_id, whole in known.items() if whole)

    def has_latents(self, owner: str, run: KeptRun) -> bool:
        """Whether every step of the run can still be opened, those that it shares included."""
        line = self.lineage(owner, run)
        return not line[-1].branch_at and all(self.latents(owner, r.id) is not None for r in line)

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
        if self.get(owner, run_id) is None:
            return {}
        paths = {suffix: self._home(owner) / f"{run_id}{suffix}" for suffix in SUFFIXES}
        return {suffix: path for suffix, path in paths.items() if is_plain_file(path)}

    def adopt(self, owner: str, run: KeptRun, files: Mapping[str, Path]) -> None:
        """Takes over the files of a run, by how their names end, from another folder of the same disk.

        Raises StudioError if the disk does not take them.
        """
        home = self._home(owner)
        try:
            home.mkdir(parents=True, exist_ok=True)
            for suffix in SUFFIXES:  # the facts come last
                if suffix in files:
                    with files[suffix].open("rb+") as file:
                        os.fsync(file.fileno())
                    files[suffix].replace(home / f"{run.id}{suffix}")
        except OSError as problem:
            self.discard(owner, run.id)
            raise StudioError(f"A run could not be kept in {home}: {problem.strerror or problem}.") from problem
        with self._lock:
            self._runs(owner)[run.id] = run
        self._keep_to_budget(owner, run.id)

    def discard(self, owner: str, run_id: str) -> None:
        """Deletes a run with all its files."""
        if RUN_ID.fullmatch(run_id):
            with self._lock:
                self._runs(owner).pop(run_id, None)
            for suffix in reversed(SUFFIXES):
                with contextlib.suppress(OSError):
                    (self._home(owner) / f"{run_id}{suffix}").unlink(missing_ok=True)

    def used(self, owner: str) -> int:
        """Bytes on disk of all runs of this owner."""
        total = 0
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._home(owner)):
                if RUN_ID.fullmatch(entry.name.partition(".")[0]):
                    total += entry.stat(follow_symlinks=False).st_size
        return total

    def size(self, owner: str, run_id: str) -> int:
        """Bytes on disk of the run's own files."""
        total = 0
        for suffix in SUFFIXES:
            with contextlib.suppress(OSError):
                total += (self._home(owner) / f"{run_id}{suffix}").stat().st_size
        return total

    # -- inside ---------------------------------------------------------------------------------------------------

    def _home(self, owner: str) -> Path:
        return self._folder / hashlib.sha256(owner.encode()).hexdigest()[:24]

    def _runs(self, owner: str) -> dict[str, KeptRun]:
        """The owner's runs by id; read from disk the first time. Files that are not ours are left alone."""
        known = self._known.get(owner)
        if known is None:
            known = {}
            with contextlib.suppress(OSError):
                for path in self._home(owner).glob(f"*{FACTS}"):
                    run = read_facts(path) if RUN_ID.fullmatch(path.stem) else None
                    if run is not None:
                        known[run.id] = run
            for run_id in _going_round(known):  # a line that bites its tail has no first step
                del known[run_id]
            self._known[owner] = known
        return known

    def _keep_to_budget(self, owner: str, newest: str) -> None:
        """Deletes the oldest latents until the rest fits. The run just made keeps its own in any case."""
        with self._lock:
            held: list[tuple[Path, int]] = []
            for path in sorted(_ours(self._home(owner), LATENTS)):
                with contextlib.suppress(OSError):
                    held.append((path, path.stat().st_size))
            total = sum(size for _, size in held)
            for path, size in held:
                if total <= self._budget or path.name.startswith(newest):
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size
                for suffix in (SOURCE, MASK):  # of no use without them
                    with contextlib.suppress(OSError):
                        path.with_name(f"{path.name.removesuffix(LATENTS)}{suffix}").unlink(missing_ok=True)


def _sweep(home: Path) -> None:
    """Deletes what a killed process left of runs in an owner's folder: half a file, or files without their facts."""
    for path in home.iterdir():
        run_id = path.name.removeprefix(".").partition(".")[0]
        if not RUN_ID.fullmatch(run_id):
            continue
        partial = path.name.startswith(".") and path.suffix == ".part"
        orphan = (
            path.name in {f"{run_id}{suffix}" for suffix in SUFFIXES[:-1]} and not (home / f"{run_id}{FACTS}").exists()
        )
        if partial or orphan:
            path.unlink(missing_ok=True)


def _ours(home: Path, suffix: str) -> Iterator[Path]:
    """The files of an owner's runs that end in `suffix`."""
    with contextlib.suppress(OSError):
        for path in home.glob(f"*{suffix}"):
            if RUN_ID.fullmatch(path.name.removesuffix(suffix)) and is_plain_file(path):
                yield path


def _going_round(runs: Mapping[str, KeptRun]) -> set[str]:
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


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file beside `path`, brings it to the disk and gives it its name."""
    partial = path.parent / f".{path.name}.part"
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
