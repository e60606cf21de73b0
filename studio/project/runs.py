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
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import strict_json
from studio.errors import StudioError
from studio.requests import TextToImage

if TYPE_CHECKING:
    from studio.diffusion.recording import Recording

RUN_BUDGET = 4 * 1024**3  # bytes of latents per owner
FACTS_LIMIT = 8 * 1024**2  # bytes of JSON about one run
FORMAT = 1

_ID = re.compile(r"[0-9]{13}-[0-9a-f]{16}")  # the id of a picture
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
            for partial in self._folder.glob("*/.*.part"):
                partial.unlink(missing_ok=True)
            for orphan in (*self._folder.glob(f"*/*{_LATENTS}"), *self._folder.glob(f"*/*{_STRIP}")):
                if not (orphan.parent / f"{orphan.name.partition('.')[0]}{_FACTS}").exists():
                    orphan.unlink(missing_ok=True)
        except OSError as problem:
            raise StudioError(
                f"Runs cannot be kept in {self._folder}: {problem.strerror or problem}. "
                "Choose another folder with --data."
            ) from problem

    def add(self, owner: str, run: KeptRun, recording: Recording | None, strip: bytes | None) -> None:
        """Keeps a run under the id of its picture. Raises StudioError if the disk does not take it."""
        if not _ID.fullmatch(run.id):
            raise ValueError(f"{run.id!r} is not the id of a picture.")
        home = self._home(owner)
        try:
            home.mkdir(parents=True, exist_ok=True)
            if recording is not None:
                from studio.diffusion.run_file import save_recording

                save_recording(recording, home / f"{run.id}{_LATENTS}")  # whole or absent, too
            if strip is not None:
                _whole(home / f"{run.id}{_STRIP}", lambda partial: partial.write_bytes(strip))
            facts = json.dumps(_to_json(run), ensure_ascii=False).encode()
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
        line = [run]
        while line[-1].parent is not None and line[-1].branch_at:
            found = self.get(owner, line[-1].parent or "")
            if found is None or found in line:
                break
            line.append(found)
        return line

    def strip(self, owner: str, run_id: str) -> bytes | None:
        """The PNG of the small previews, or None."""
        if self.get(owner, run_id) is None:
            return None
        try:
            return (self._home(owner) / f"{run_id}{_STRIP}").read_bytes()
        except OSError:
            return None

    def latents(self, owner: str, run_id: str) -> Path | None:
        """The run's own recording as a file, or None once it was given up."""
        if self.get(owner, run_id) is None:
            return None
        path = self._home(owner) / f"{run_id}{_LATENTS}"
        return path if path.is_file() else None

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
        return load_recording(path)

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
            self._known[owner] = known
        return known

    def _keep_to_budget(self, owner: str, newest: str) -> None:
        """Deletes the oldest latents until the rest fits. The run just made keeps its own in any case."""
        with self._lock:
            held: list[tuple[Path, int]] = []
            for path in sorted(self._home(owner).glob(f"*{_LATENTS}")):
                with contextlib.suppress(OSError):
                    held.append((path, path.stat().st_size))
            total = sum(size for _, size in held)
            for path, size in held:
                if total <= self._budget or path.name.startswith(newest):
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size


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
        value = strict_json.loads(path.read_bytes(), max_bytes=FACTS_LIMIT, max_depth=9)
        if not isinstance(value, dict) or value.pop("format", None) != FORMAT or value.get("id") != path.stem:
            return None
        return _run_of(value)
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
