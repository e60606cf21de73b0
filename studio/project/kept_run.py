"""What is told of a recorded run: plain values, and the strict JSON that they are kept as."""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio import strict_json
from studio.errors import StudioError
from studio.project.kept_fill import KeptFill
from studio.project.names import PICTURE_ID
from studio.requests import TextToImage

FACTS_LIMIT = 8 * 1024**2  # bytes of JSON about one run
LEVELS_LIMIT = 10  # of wavelets: latents of 1024 a side have no more
STEP_LIMIT = 4000  # evaluations of the solver: ten times what the longest run makes
FORMAT = 1

RUN_ID = PICTURE_ID  # a run has the id of its picture


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
    fill: KeptFill | None = None  # the region that it paints of a larger picture

    @property
    def family(self) -> str:
        """The id of the run that this one and all its relatives come from."""
        return self.root or self.id


def to_json(run: KeptRun) -> bytes:
    """The facts as they are kept, all of which JSON has."""
    values = {"format": FORMAT} | dataclasses.asdict(run) | {"request": run.request.to_dict()}
    values |= {"fill": run.fill.to_dict() if run.fill is not None else None}
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode()


def is_plain_file(path: Path, limit: int | None = None) -> bool:
    """Whether this is a plain file, of at most `limit` bytes. A link may lead anywhere, and a pipe never ends."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and (limit is None or found.st_size <= limit)


def read_facts(path: Path) -> KeptRun | None:
    """The run that a file of facts, called by its id, tells of; None for what no studio wrote."""
    try:
        if not is_plain_file(path, FACTS_LIMIT):
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
    measured, strip, fill = value["measured"], value["strip"], value.get("fill")
    request = TextToImage.from_dict(value["request"])
    return KeptRun(
        **{
            **value,
            "request": request,
            "fill": KeptFill.from_dict(fill, request) if fill is not None else None,
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
    rows = {name: tuple(tuple(map(_number, row)) for row in value[name]) for name in ("energy", "change")}
    return BandNumbers(**rows)


def _number(value: object) -> float:
    if type(value) not in (int, float):  # float() would read "nan"
        raise ValueError(f"{value!r} is no number.")
    return float(cast("float", value))


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
        all(i is None or (isinstance(i, str) and RUN_ID.fullmatch(i)) for i in (run.parent, run.root)),
    ]
    if strip is not None:
        sound.append(_are_whole(strip.columns, strip.rows, strip.tile_width, strip.tile_height))
        sound.append(all(sound) and strip.columns * strip.rows >= count and strip.columns >= 1)
        sound.append(all(sound) and 1 <= strip.tile_width <= 4096 and 1 <= strip.tile_height <= 4096)
    if measured is not None:
        sound.append(isinstance(measured.wavelet, str) and measured.look in ("fast", "full"))
        sound.append(_are_whole(measured.levels) and measured.levels <= LEVELS_LIMIT)
        for found in (measured.picture, measured.latent):
            for rows in (found.energy, found.change) if found is not None else ():
                sound.append(len(rows) == count and {len(row) for row in rows} == {measured.levels + 1})
    if not all(sound):
        raise ValueError(f"The facts of run {run.id} do not fit together.")


def _are_whole(*values: object) -> bool:
    return all(type(value) is int and 0 <= value < 2**53 for value in values)


def _are_numbers(*values: object) -> bool:
    return all(type(value) in (int, float) for value in values)
