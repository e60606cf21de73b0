"""Recorded runs on disk: what was asked for, what was measured, and the latents to go on from.

A run has the id of the picture that it ended in, and up to three files in its owner's folder: the facts as strict
JSON, a strip of small previews, and the recording as one .safetensors file. The facts are written last and are what
makes a run exist; every file appears whole or not at all. Where the latents of an owner grow beyond the budget, the
oldest runs give theirs up; facts, strips and pictures stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from studio import strict_json
from studio.errors import StudioError
from studio.requests import TextToImage

if TYPE_CHECKING:
    from studio.diffusion.recording import Recording

RUN_BUDGET = 4 * 1024**3  # bytes of latents per owner
FACTS_LIMIT = 8 * 1024**2  # bytes of JSON about one run
STRIP_LIMIT = 64 * 1024**2  # bytes of the small previews of one run
STEP_LIMIT = 20_000  # as in a recording's file
FORMAT = 1

_ID = re.compile(r"[0-9]{13}-[0-9a-f]{16}")  # the id of a picture
_HOME = re.compile(r"[0-9a-f]{24}")  # an owner's folder
_FACTS, _STRIP, _LATENTS = ".json", ".strip.png", ".safetensors"


class LatentsGone(StudioError):
    """The latents of a run were given up for newer ones; what was measured of it is still there."""


@dataclass(frozen=True)
class KeptStep:
    """Where one step of a run stood. `noise_level` falls from 1 to 0 over a run."""

    timestep: float
    sigma: float | None
    noise_level: float


@dataclass(frozen=True)
class BandNumbers:
    """Sums of squares per band (inner, coarse to fine) and step (outer)."""

    energy: tuple[tuple[float, ...], ...]  # of the clean estimate
    change: tuple[tuple[float, ...], ...]  # of what the step changed of it


@dataclass(frozen=True)
class Measured:
    """What was measured of a run when it was made, so that its curves outlive its latents."""

    wavelet: str
    levels: int
    look: str  # fast: pixels by the linear preview; full: by the decoder
    picture: BandNumbers | None  # None for models that have neither
    latent: BandNumbers


@dataclass(frozen=True)
class Strip:
    """How the small previews lie in the strip: step i in column i % columns and row i // columns."""

    columns: int
    rows: int
    tile_width: int
    tile_height: int


@dataclass(frozen=True)
class KeptRun:
    """A run in the store. Its steps are those of its parent up to `branch_at`, then its own."""

    id: str
    request: TextToImage
    made_at: int  # milliseconds since 1970
    count: int  # steps that the whole run was to make
    order: int  # evaluations of the solver per step
    steps: tuple[KeptStep, ...]
    label: str = "Original"
    seconds: float | None = None
    stopped_at: int | None = None
    parent: str | None = None
    root: str | None = None
    branch_at: int | None = None
    measured: Measured | None = None
    strip: Strip | None = None
    channels: int = 0  # of the latents
    latent_height: int = 0
    latent_width: int = 0

    @property
    def family(self) -> str:
        """The id of the run that this one and all its relatives come from."""
        return self.root or self.id


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

    def add(self, owner: str, run: KeptRun, recording: Recording | None, strip: bytes | None) -> None:
        """Keeps a run under the id of its picture. Raises StudioError if the disk does not take it."""
        if not _ID.fullmatch(run.id):
            raise ValueError(f"{run.id!r} is not the id of a picture.")
        facts = json.dumps(_to_json(run), ensure_ascii=False, allow_nan=False).encode()
        home = self._home(owner)
        try:
            home.mkdir(parents=True, exist_ok=True)
            if recording is not None:
                from studio.diffusion.run_file import save_recording

                save_recording(recording, home / f"{run.id}{_LATENTS}")  # whole or absent, too
            if strip is not None:
                _whole(home / f"{run.id}{_STRIP}", lambda partial: partial.write_bytes(strip))
            _whole(home / f"{run.id}{_FACTS}", lambda partial: partial.write_bytes(facts))
        except OSError as problem:
            for suffix in (_LATENTS, _STRIP, _FACTS):
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
            return path.read_bytes() if _is_ours(path, STRIP_LIMIT) else None
        except OSError:
            return None

    def latents(self, owner: str, run_id: str) -> Path | None:
        """The run's own recording as a file, or None once it was given up."""
        if self.get(owner, run_id) is None:
            return None
        path = self._home(owner) / f"{run_id}{_LATENTS}"
        return path if _is_ours(path) else None

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
        held = {path.name.partition(".")[0] for path in _ours(self._home(owner), _LATENTS)}
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

    def size(self, owner: str, run_id: str) -> int:
        """Bytes on disk of the run's own files."""
        total = 0
        for suffix in (_FACTS, _STRIP, _LATENTS):
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
                for path in self._home(owner).glob(f"*{_FACTS}"):
                    run = _read(path) if _ID.fullmatch(path.stem) else None
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
            for path in sorted(_ours(self._home(owner), _LATENTS)):
                with contextlib.suppress(OSError):
                    held.append((path, path.stat().st_size))
            total = sum(size for _, size in held)
            for path, size in held:
                if total <= self._budget or path.name.startswith(newest):
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size


def _sweep(home: Path) -> None:
    """Deletes what a killed process left of runs in an owner's folder: half a file, or files without their facts."""
    for path in home.iterdir():
        run_id = path.name.removeprefix(".").partition(".")[0]
        if not _ID.fullmatch(run_id):
            continue
        partial = path.name.startswith(".") and path.suffix == ".part"
        orphan = (
            path.name in (f"{run_id}{_LATENTS}", f"{run_id}{_STRIP}") and not (home / f"{run_id}{_FACTS}").exists()
        )
        if partial or orphan:
            path.unlink(missing_ok=True)


def _is_ours(path: Path, limit: int | None = None) -> bool:
    """Whether this is a plain file, of at most `limit` bytes. A link may lead anywhere, and a pipe never ends."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and (limit is None or found.st_size <= limit)


def _ours(home: Path, suffix: str) -> Iterator[Path]:
    """The files of an owner's runs that end in `suffix`."""
    with contextlib.suppress(OSError):
        for path in home.glob(f"*{suffix}"):
            if _ID.fullmatch(path.name.removesuffix(suffix)) and _is_ours(path):
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


def _to_json(run: KeptRun) -> dict[str, Any]:
    # the facts are plain values, all of which JSON has
    return {"format": FORMAT} | dataclasses.asdict(run) | {"request": run.request.to_dict()}


def _read(path: Path) -> KeptRun | None:
    """The run that a file of facts tells of; None for what this studio did not write."""
    try:
        if not _is_ours(path, FACTS_LIMIT):
            return None
        value = strict_json.loads(path.read_bytes(), max_bytes=FACTS_LIMIT, max_depth=9)
        if not isinstance(value, dict) or value.pop("format", None) != FORMAT or value.get("id") != path.stem:
            return None
        run = _run_of(value)
        _check(run)
        return run
    except (OSError, ValueError, TypeError, KeyError, StudioError):
        return None


def _run_of(value: Mapping[str, Any]) -> KeptRun:
    measured, strip = value["measured"], value["strip"]
    return KeptRun(
        **{
            **value,
            "request": TextToImage.from_dict(value["request"]),
            "steps": tuple(KeptStep(**step) for step in value["steps"]),
            "strip": Strip(**strip) if strip is not None else None,
            "measured": None
            if measured is None
            else Measured(
                **{**measured, "picture": _bands(measured["picture"]), "latent": _bands(measured["latent"])}
            ),
        }
    )


def _bands(value: Mapping[str, Any] | None) -> Any:
    if value is None:
        return None
    rows = {name: tuple(tuple(float(v) for v in row) for row in value[name]) for name in ("energy", "change")}
    return BandNumbers(**rows)


def _check(run: KeptRun) -> None:
    """Raises ValueError unless every number is one and they fit together: the file may be a stranger's."""
    count, at, strip, measured = len(run.steps), run.branch_at, run.strip, run.measured
    sides = (run.channels, run.latent_height, run.latent_width)
    sound = [
        1 <= count <= STEP_LIMIT,
        _are_whole(run.made_at, run.count, run.order, *sides) and run.order >= 1,
        run.stopped_at is None or _are_whole(run.stopped_at),
        run.seconds is None or _are_numbers(run.seconds),
        isinstance(run.label, str) and len(run.label) <= 200 and run.label.isprintable(),
        all(_are_numbers(s.timestep, s.noise_level, 0 if s.sigma is None else s.sigma) for s in run.steps),
        (run.parent is None) == (at is None) == (run.root is None),
        at is None or (_are_whole(at) and at <= count),
        all(i is None or (isinstance(i, str) and _ID.fullmatch(i)) for i in (run.parent, run.root)),
    ]
    if strip is not None:
        sound.append(_are_whole(strip.columns, strip.rows, strip.tile_width, strip.tile_height))
        sound.append(all(sound) and strip.columns * strip.rows >= count and strip.columns >= 1)
        sound.append(all(sound) and 1 <= strip.tile_width <= 4096 and 1 <= strip.tile_height <= 4096)
    if measured is not None:
        sound.append(isinstance(measured.wavelet, str) and measured.look in ("fast", "full"))
        for found in (measured.picture, measured.latent):
            for rows in (found.energy, found.change) if found is not None else ():
                sound.append(len(rows) == count and {len(row) for row in rows} == {measured.levels + 1})
    if not all(sound):
        raise ValueError(f"The facts of run {run.id} do not fit together.")


def _are_whole(*values: object) -> bool:
    return all(type(value) is int and 0 <= value < 2**53 for value in values)


def _are_numbers(*values: object) -> bool:
    return all(type(value) in (int, float) for value in values)
