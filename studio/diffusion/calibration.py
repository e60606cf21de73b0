"""What measuring a model's SNR-t gap has found: tables of numbers, the strengths that close it, and JSON of both.

`gap.py` measures and fills these in; here is no tensor, so that a calibration can be read where torch is not loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio import strict_json
from studio.diffusion.strengths import Strengths
from studio.errors import InvalidRequest

FORMAT = 1
JSON_LIMIT = 1_000_000  # bytes
JSON_DEPTH = 9
CLOSES, NOTHING, UNCONFIRMED = "closes the gap", "nothing significant", "not confirmed"
VERDICTS = (CLOSES, NOTHING, UNCONFIRMED)

_Row = tuple[float, ...]
_FACTS_LIMIT = 64


@dataclass(frozen=True)
class Gap:
    """The gap per step and band: the implied noise of the model's own runs less that of forward-noised latents.

    Energies are root mean squares over the coefficients of a band, so that 1 is white noise of unit variance; bands
    are ordered coarse to fine, the approximation first. Positive: the model finds more noise in the samples of a run
    than in latents noised to the same level. The first step of a run starts from pure noise on both sides and is left
    out.
    """

    steps: tuple[int, ...]  # (T,) numbers of the steps of the request, counted from 0
    noise_levels: _Row  # (T,) from 1 to 0, see Step.noise_level
    mean: tuple[_Row, ...]  # (T, bands)
    error: tuple[_Row, ...]  # (T, bands) standard error of the mean, over the samples
    forward: tuple[_Row, ...]  # (T, bands) energy on the forward side
    samples: int

    def __post_init__(self) -> None:
        bands = len(self.mean[0]) if self.mean else 0
        tables = (self.mean, self.error, self.forward)
        if not self.steps or bands < 2 or len(self.noise_levels) != len(self.steps):
            raise InvalidRequest("A gap needs at least one step and two bands, and as many noise levels as steps.")
        if any(len(table) != len(self.steps) or any(len(row) != bands for row in table) for table in tables):
            raise InvalidRequest("The tables of a gap differ in size.")

    @property
    def bands(self) -> int:
        return len(self.mean[0])

    @property
    def size(self) -> float:
        """One number for the whole: root mean square over steps and bands of the gap as a share of the forward energy.

        What chance alone would have added, the standard errors, is taken off; 0 where nothing more than that is left.
        """
        squares = [
            (mean**2 - error**2) / energy**2
            for means, errors, energies in zip(self.mean, self.error, self.forward, strict=True)
            for mean, error, energy in zip(means, errors, energies, strict=True)
            if energy > 0
        ]
        return math.sqrt(max(sum(squares) / len(squares), 0.0)) if squares else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "steps": list(self.steps),
            "noise_levels": list(self.noise_levels),
            "mean": [list(row) for row in self.mean],
            "error": [list(row) for row in self.error],
            "forward": [list(row) for row in self.forward],
            "samples": self.samples,
        }

    @classmethod
    def from_dict(cls, values: object) -> Gap:
        """Reads what `to_dict` wrote. Raises InvalidRequest for anything else."""
        known = _fields(values, "A gap", {"steps", "noise_levels", "mean", "error", "forward", "samples"})
        steps = known["steps"]
        if not isinstance(steps, list) or not all(type(step) is int and step >= 0 for step in steps):
            raise InvalidRequest("The steps of a gap should be a list of whole numbers.")
        if type(known["samples"]) is not int or known["samples"] < 2:
            raise InvalidRequest("A gap comes from two samples or more.")
        return cls(
            steps=tuple(steps),
            noise_levels=_row(known["noise_levels"], "noise_levels"),
            mean=_table(known["mean"], "mean"),
            error=_table(known["error"], "error"),
            forward=_table(known["forward"], "forward"),
            samples=known["samples"],
        )


@dataclass(frozen=True)
class Calibration:
    """What was found for one model, solver and number of steps.

    `strengths` are what to paint with, and None unless a second measurement, on samples that the search had not seen,
    confirmed that they close the gap. `tried` are the strengths that were measured then.
    """

    verdict: str  # one of VERDICTS
    strengths: Strengths | None
    tried: Strengths | None
    before: Gap
    after: Gap | None  # with `tried`; None if nothing was tried
    p_value: float  # of the gap before, on the samples of the search: the chance of as large a gap if there were none
    closed: tuple[float, float, float] | None  # share of the weighted squared gap that is gone: low end, middle, high
    wavelet: str
    levels: int
    facts: Mapping[str, str | int | float] = field(default_factory=dict)  # model, weights, solver, steps, ...

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InvalidRequest(f"A calibration's verdict is one of: {', '.join(VERDICTS)}.")
        if (self.strengths is not None) != (self.verdict == CLOSES):
            raise InvalidRequest(f"A calibration has strengths if, and only if, its verdict is '{CLOSES}'.")

    @property
    def solver(self) -> str:
        return str(self.facts.get("solver", ""))

    @property
    def num_inference_steps(self) -> int:
        return int(self.facts.get("num_inference_steps", 0))

    def sentence(self) -> str:
        """The outcome in words, for a terminal."""
        before = f"The gap is {self.before.size:.2%} of the noise (sign-flip test: p = {self.p_value:.2g})"
        if self.verdict == NOTHING or self.after is None:
            return f"{before}: nothing significant is there, so nothing is corrected."
        low, middle, high = self.closed or (0.0, 0.0, 0.0)
        share = f"{middle:.0%} of its square (95 % interval {low:.0%} to {high:.0%})"
        if self.verdict == CLOSES:
            return f"{before}. On new samples these strengths close {share} and leave {self.after.size:.2%}."
        return f"{before}, but what was found closes {share} on new samples: not confirmed, so nothing is corrected."

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "strengths": None if self.strengths is None else self.strengths.to_dict(),
            "tried": None if self.tried is None else self.tried.to_dict(),
            "before": self.before.to_dict(),
            "after": None if self.after is None else self.after.to_dict(),
            "p_value": self.p_value,
            "closed": None if self.closed is None else list(self.closed),
            "wavelet": self.wavelet,
            "levels": self.levels,
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, values: object) -> Calibration:
        """Reads what `to_dict` wrote. Raises InvalidRequest for anything else."""
        names = {"format", "verdict", "strengths", "tried", "before", "after", "p_value", "closed", "wavelet"}
        known = _fields(values, "A calibration", names | {"levels", "facts"})
        if known["format"] != FORMAT:
            raise InvalidRequest(f"This calibration has another format than {FORMAT}. Calibrate the model again.")
        facts = known["facts"]
        if not isinstance(facts, dict) or len(facts) > _FACTS_LIMIT:
            raise InvalidRequest("The facts of a calibration should be an object of few words and numbers.")
        if not all(isinstance(fact, (str, int, float)) for fact in facts.values()):
            raise InvalidRequest("The facts of a calibration should be words and numbers.")
        if not isinstance(known["wavelet"], str) or type(known["levels"]) is not int:
            raise InvalidRequest("A calibration should name its wavelet and its levels.")
        closed = None if known["closed"] is None else _row(known["closed"], "closed")
        if closed is not None and len(closed) != 3:
            raise InvalidRequest("What a calibration closes should be three numbers.")
        return cls(
            verdict=str(known["verdict"]),
            strengths=None if known["strengths"] is None else Strengths.from_dict(known["strengths"]),
            tried=None if known["tried"] is None else Strengths.from_dict(known["tried"]),
            before=Gap.from_dict(known["before"]),
            after=None if known["after"] is None else Gap.from_dict(known["after"]),
            p_value=_row([known["p_value"]], "p_value")[0],
            closed=None if closed is None else (closed[0], closed[1], closed[2]),
            wavelet=known["wavelet"],
            levels=known["levels"],
            facts=facts,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        """Reads JSON strictly. Raises InvalidRequest, saying what is wrong."""
        return cls.from_dict(strict_json.read_object(text, JSON_LIMIT, JSON_DEPTH, "calibration"))


def _fields(values: object, what: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(values, dict) or set(values) != names:
        raise InvalidRequest(f"{what} should be an object with {', '.join(sorted(names))}.")
    return values


def _table(values: object, name: str) -> tuple[_Row, ...]:
    if not isinstance(values, list):
        raise InvalidRequest(f"{name} should be a list of lists of numbers.")
    return tuple(_row(row, name) for row in values)


def _row(values: object, name: str) -> _Row:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InvalidRequest(f"{name} should be numbers.")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise InvalidRequest(f"{name} should be finite numbers.")
    return tuple(float(value) for value in values)
