"""How strong a correction is, per wavelet band and step: plain frozen values with JSON both ways.

Bands are ordered coarse to fine: 0 is the approximation, 1..levels are the details. This module knows no tensor, so
that requests and the page can use it without loading torch; `correction.Correction` does what it says.

Source: arXiv:2604.16044, Eqs. 17-21, for what the pixel, low, high and double corrections are.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from studio import strict_json
from studio.errors import InvalidRequest, shown_value

AFTER = "after step"  # the paper's: moves the sample that the solver returned
BEFORE = "before step"  # moves the clean estimate that the solver is given
VARIANTS = (AFTER, BEFORE)

FORMULA = 1
"""Version of the formula that strengths are meant for. It rises whenever equal numbers would give another picture."""

KINDS = ("constant", "sigma", "1 - sigma", "first", "last", "points")
LEVELS = (1, 5)
STRENGTH_LIMIT = 10.0  # of a strength and of a weight, either sign; useful ones are below 0.1
STEPS_LIMIT = 1000  # of the first or last K steps
POINTS_LIMIT = 64
JSON_LIMIT = 32 * 1024  # bytes
JSON_DEPTH = 6

_FIELD = "correction"  # the field of a request that all this belongs to


@dataclass(frozen=True)
class Schedule:
    """The weight of a band over a run.

    | kind | weight |
    |---|---|
    | `constant` | 1 |
    | `sigma` | the noise level entering the step: 1 in pure noise, 0 in a clean picture |
    | `1 - sigma` | the reverse |
    | `first`, `last` | 1 in the first or last `steps` steps of the request, otherwise 0 |
    | `points` | straight lines between `points` of (progress, weight), level beyond the outermost ones |

    The noise level is `Step.noise_level`, on which all solvers of a model agree. Along a flow it is the paper's
    sigma / sigma_max; elsewhere that falls faster, for which `points` can be drawn. Progress is 0 at the first step of
    the request and 1 at the last. Raises InvalidRequest if a value cannot be used.
    """

    kind: str = "constant"
    steps: int = 0
    points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            _refuse(f"{shown_value(self.kind)} is not a schedule. Choose one of {', '.join(KINDS)}.")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int):
            _refuse(f"A schedule's steps should be a whole number, not {shown_value(self.steps)}.")
        if self.kind in ("first", "last"):
            if not 1 <= self.steps <= STEPS_LIMIT:
                _refuse(f"'{self.kind}' counts 1 to {STEPS_LIMIT} steps, not {shown_value(self.steps)}.")
        elif self.steps:
            _refuse(f"Only 'first' and 'last' count steps; '{self.kind}' takes none, not {shown_value(self.steps)}.")
        object.__setattr__(self, "points", self._checked_points())

    @classmethod
    def first(cls, steps: int) -> Schedule:
        return cls("first", steps=steps)

    @classmethod
    def last(cls, steps: int) -> Schedule:
        return cls("last", steps=steps)

    @classmethod
    def drawn(cls, points: Sequence[tuple[float, float]]) -> Schedule:
        return cls("points", points=tuple(points))

    def weight(self, noise_level: float, number: int, count: int) -> float:
        """The weight at step `number` (from 1) of `count`, which is entered at `noise_level` in [0, 1]."""
        if self.kind == "sigma":
            return noise_level
        if self.kind == "1 - sigma":
            return 1.0 - noise_level
        if self.kind == "first":
            return float(number <= self.steps)
        if self.kind == "last":
            return float(number > count - self.steps)
        if self.kind == "points":
            return self._on_the_line((number - 1) / (count - 1) if count > 1 else 0.0)
        return 1.0

    def to_dict(self) -> dict[str, object]:
        """Only what the kind needs."""
        values: dict[str, object] = {"kind": self.kind}
        if self.steps:
            values["steps"] = self.steps
        if self.points:
            values["points"] = [list(point) for point in self.points]
        return values

    @classmethod
    def from_dict(cls, values: object) -> Schedule:
        """Reads what `to_dict` wrote; a bare name such as "sigma" is a schedule too."""
        if isinstance(values, str):
            return cls(values)
        fields = _object(values, "A schedule", required=("kind",), optional=("steps", "points"))
        points = fields.get("points", ())
        if not isinstance(points, (list, tuple)):
            _refuse(f"A schedule's points should be a list, not {shown_value(points)}.")
        return cls(fields["kind"], steps=fields.get("steps", 0), points=tuple(points))  # type: ignore[arg-type]

    def _checked_points(self) -> tuple[tuple[float, float], ...]:
        if self.kind != "points":
            if self.points:
                _refuse(f"Only 'points' takes points, '{self.kind}' takes none.")
            return ()
        if not isinstance(self.points, (list, tuple)) or not 1 <= len(self.points) <= POINTS_LIMIT:
            _refuse(f"A drawn schedule has 1 to {POINTS_LIMIT} points of (progress, weight).")
        checked: list[tuple[float, float]] = []
        for point in self.points:
            if not isinstance(point, (list, tuple)) or len(point) != 2:
                _refuse(f"A point of a schedule is (progress, weight), not {shown_value(point)}.")
            progress = _number(point[0], "The progress of a point", 0.0, 1.0)
            weight = _number(point[1], "The weight of a point", -STRENGTH_LIMIT, STRENGTH_LIMIT)
            if checked and progress <= checked[-1][0]:
                _refuse(f"The points of a schedule go forward: {progress:g} comes after {checked[-1][0]:g}.")
            checked.append((progress, weight))
        return tuple(checked)

    def _on_the_line(self, progress: float) -> float:
        left = self.points[0]
        if progress <= left[0]:
            return left[1]
        for right in self.points[1:]:
            if progress <= right[0]:
                share = (progress - left[0]) / (right[0] - left[0])
                return left[1] + share * (right[1] - left[1])
            left = right
        return left[1]


CONSTANT = Schedule("constant")
SIGMA = Schedule("sigma")
ONE_MINUS_SIGMA = Schedule("1 - sigma")


@dataclass(frozen=True)
class Strengths:
    """One strength and one schedule per band: how far a correction moves along (sample - clean estimate).

    `values` and `schedules` have `levels + 1` entries, the approximation first, then the details coarse to fine.
    Positive strengths keep more of the noise, negative ones less; 0 leaves the band alone. Strengths do not carry over
    between variants, hence both the variant and the version of the formula are part of the value.

    Raises InvalidRequest if a value cannot be used: NaN, an unknown wavelet, one that is not orthogonal, ...
    """

    values: tuple[float, ...] = (0.0, 0.0)
    schedules: tuple[Schedule, ...] = (SIGMA, ONE_MINUS_SIGMA)
    wavelet: str = "haar"
    levels: int = 1
    variant: str = AFTER
    formula: int = FORMULA

    def __post_init__(self) -> None:
        if type(self.formula) is not int or self.formula != FORMULA:
            _refuse(
                f"These strengths are for version {shown_value(self.formula)} of the correction; this studio has "
                f"version {FORMULA}, where they would mean something else. Measure them again with `calibrate`."
            )
        if not isinstance(self.variant, str) or self.variant not in VARIANTS:
            _refuse(f"{shown_value(self.variant)} is no variant of the correction. Choose {' or '.join(VARIANTS)}.")
        check_levels(self.levels)
        check_wavelet(self.wavelet)
        bands = self.levels + 1
        for name, entries in (("strengths", self.values), ("schedules", self.schedules)):
            if not isinstance(entries, (list, tuple)):
                _refuse(f"The {name} should be a list with one entry per band, not {shown_value(entries)}.")
            if len(entries) != bands:
                _refuse(
                    f"{self.levels} wavelet level{'s' * (self.levels > 1)} make {bands} bands, but there are "
                    f"{len(entries)} {name}. Give the approximation's first, then the details' from coarse to fine."
                )
        checked = tuple(_number(value, "A strength", -STRENGTH_LIMIT, STRENGTH_LIMIT) for value in self.values)
        object.__setattr__(self, "values", checked)
        object.__setattr__(self, "schedules", tuple(_schedule(schedule) for schedule in self.schedules))

    # -- the paper's four ---------------------------------------------------------------------------------------------

    @classmethod
    def pixel(cls, strength: float, schedule: Schedule | str = CONSTANT, variant: str = AFTER) -> Strengths:
        """The same for every band (Eq. 17). Needs no transform."""
        return cls((strength, strength), (_schedule(schedule),) * 2, variant=variant)

    @classmethod
    def low(
        cls,
        strength: float,
        schedule: Schedule | str = SIGMA,
        wavelet: str = "haar",
        levels: int = 1,
        variant: str = AFTER,
    ) -> Strengths:
        """The approximation alone (Eqs. 18 and 20)."""
        return cls.double(strength, 0.0, wavelet, levels, low_schedule=schedule, variant=variant)

    @classmethod
    def high(
        cls,
        strength: float,
        schedule: Schedule | str = ONE_MINUS_SIGMA,
        wavelet: str = "haar",
        levels: int = 1,
        variant: str = AFTER,
    ) -> Strengths:
        """All details alike (Eq. 21)."""
        return cls.double(0.0, strength, wavelet, levels, high_schedule=schedule, variant=variant)

    @classmethod
    def double(
        cls,
        low: float,
        high: float,
        wavelet: str = "haar",
        levels: int = 1,
        low_schedule: Schedule | str = SIGMA,
        high_schedule: Schedule | str = ONE_MINUS_SIGMA,
        variant: str = AFTER,
    ) -> Strengths:
        """The approximation by one strength, all details by another."""
        check_levels(levels)
        values = (low, *[high] * levels)
        schedules = (_schedule(low_schedule), *[_schedule(high_schedule)] * levels)
        return cls(values, schedules, wavelet, levels, variant)

    # -- what they say ------------------------------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether no step is ever changed."""
        return not any(self.values)

    def at(self, noise_level: float, number: int, count: int) -> tuple[float, ...]:
        """Strength times weight of every band at step `number` (from 1) of `count`, entered at `noise_level`."""
        return tuple(
            value * schedule.weight(noise_level, number, count) if value else 0.0
            for value, schedule in zip(self.values, self.schedules, strict=True)
        )

    def to_dict(self) -> dict[str, object]:
        return {
            "formula": self.formula,
            "variant": self.variant,
            "wavelet": self.wavelet,
            "levels": self.levels,
            "bands": [
                {"strength": value, "schedule": schedule.to_dict()}
                for value, schedule in zip(self.values, self.schedules, strict=True)
            ],
        }

    def to_json(self) -> str:
        """JSON with sorted keys, so that equal strengths have equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: object) -> Strengths:
        """Reads what `to_dict` wrote. Nothing may be missing or left over: half a setting would be another one."""
        names = ("formula", "variant", "wavelet", "levels", "bands")
        fields = _object(values, "A correction", required=names)
        entries = fields["bands"]
        if not isinstance(entries, (list, tuple)):
            _refuse(f"The bands of a correction should be a list, not {shown_value(entries)}.")
        if len(entries) > LEVELS[1] + 1:
            _refuse(f"A correction has at most {LEVELS[1] + 1} bands, not {len(entries)}.")
        bands = [_object(entry, "A band", required=("strength", "schedule")) for entry in entries]
        return cls(
            values=tuple(band["strength"] for band in bands),  # type: ignore[misc]
            schedules=tuple(Schedule.from_dict(band["schedule"]) for band in bands),
            wavelet=fields["wavelet"],  # type: ignore[arg-type]
            levels=fields["levels"],  # type: ignore[arg-type]
            variant=fields["variant"],  # type: ignore[arg-type]
            formula=fields["formula"],  # type: ignore[arg-type]
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Strengths:
        """Reads what `to_json` wrote. Strict: no equal keys, no NaN, no unknown fields, no deep nesting."""
        try:
            values = strict_json.loads(text, max_bytes=JSON_LIMIT, max_depth=JSON_DEPTH)
        except ValueError as problem:
            raise InvalidRequest(f"This is no correction: {problem}", _FIELD) from problem
        return cls.from_dict(values)


def check_levels(levels: object) -> None:
    """Raises InvalidRequest if this is no number of wavelet levels."""
    low, high = LEVELS
    if isinstance(levels, bool) or not isinstance(levels, int) or not low <= levels <= high:
        _refuse(f"Wavelet levels run from {low} to {high}, not {shown_value(levels)}.")


def check_wavelet(name: object) -> None:
    """Raises InvalidRequest, with names that are near, if this is no orthogonal wavelet of PyWavelets."""
    if not isinstance(name, str):
        _refuse(f"A wavelet is named by text such as 'haar', not {shown_value(name)}.")
    if name == "haar":  # the usual one; PyWavelets need not be loaded for it
        return
    orthogonal, others = _wavelets()
    if name in orthogonal:
        return
    near = difflib.get_close_matches(name.lower(), orthogonal, n=3, cutoff=0.5) or ["haar", "db4", "sym8"]
    if name in others:
        _refuse(f"The wavelet '{name}' is not orthogonal, so its bands would not add up. Use 'haar', 'db4' or 'sym8'.")
    _refuse(f"{shown_value(name)} is not a wavelet that PyWavelets knows. Did you mean {_either(near)}?")


@functools.cache
def _wavelets() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the orthogonal wavelets, and of all others."""
    import pywt

    discrete = pywt.wavelist(kind="discrete")
    # dmey says that it is, but its tabulated filter is a cut-off one: it gives back a plane with errors of 1e-3
    orthogonal = tuple(name for name in discrete if name != "dmey" and pywt.Wavelet(name).orthogonal)
    return orthogonal, tuple(sorted(set(pywt.wavelist()) - set(orthogonal)))


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(f"'{name}'" for name in names[:-1]), f"'{names[-1]}'"][len(names) < 2 :])


def _schedule(value: object) -> Schedule:
    return value if isinstance(value, Schedule) else Schedule.from_dict(value)


def _object(
    values: object, name: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Mapping[str, object]:
    known = (*required, *optional)
    if not isinstance(values, Mapping):
        _refuse(f"{name} should be an object with {', '.join(known)}, not {shown_value(values)}.")
    for missing in (key for key in required if key not in values):
        _refuse(f"{name} needs '{missing}'. It has {', '.join(required)}.")
    for unknown in (key for key in values if key not in known):
        _refuse(f"{name} has no field {shown_value(unknown)}. It has {', '.join(known)}.")
    return values


def _number(value: object, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(f"{name} should be a number, not {shown_value(value)}.")
    if not low <= value <= high:  # NaN is never between
        _refuse(f"{name} runs from {low:g} to {high:g}, not {shown_value(value)}.")
    return float(value)


def _refuse(message: str) -> NoReturn:
    raise InvalidRequest(message, _FIELD)
