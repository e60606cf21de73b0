"""Calibrated corrections: where they are kept for a model, and which one suits a solver and a number of steps.

A person's own are in `<data folder>/corrections/<digest of the weights>.json`; a model may bring some along as
`correction.json` in its folder. Both hold calibrations of the very same weights or are passed over, so that weights
that were trained further never get strengths measured on the old ones. Nothing here applies a correction: it is for
whoever asks for the calibrated one. torch is not loaded.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from studio import strict_json
from studio.diffusion.calibration import JSON_DEPTH, JSON_LIMIT, Calibration
from studio.diffusion.strengths import Strengths
from studio.errors import InvalidRequest, StudioError
from studio.models import catalogue, loading
from studio.settings import default_data_folder
from studio.whole_file import write_whole

FILE = "correction.json"
FORMAT = 1
_STEPS_RATIO = 1.25  # a calibration is used up to so many times more or fewer steps: strengths act on every step


def known(model: str, data: Path | None = None) -> tuple[Calibration, ...]:
    """The calibrations of a model's present weights: the person's own first, then those it came with.

    `data` is the studio's data folder (default: the usual one). Files that cannot be read count as absent. Raises
    StudioError if the model is not known or not on this computer.
    """
    weights = loading.weights_digest(model)
    found: dict[tuple[str, int], Calibration] = {}
    for file in _places(model, weights, data):
        with contextlib.suppress(OSError, InvalidRequest):
            for calibration in read_calibrations(_start_of(file)):
                if calibration.facts.get("weights") == weights:
                    found.setdefault((calibration.solver, calibration.num_inference_steps), calibration)
    return tuple(found.values())


def find(model: str, solver: str, num_inference_steps: int, data: Path | None = None) -> Calibration | None:
    """The calibration that suits best: of this solver, with the nearest number of steps, or None if none is near.

    Its `strengths` are None where measuring found nothing to correct. Raises StudioError as `known` does.
    """
    near = [
        calibration
        for calibration in known(model, data)
        if calibration.solver == solver and _ratio(calibration, num_inference_steps) <= _STEPS_RATIO
    ]
    return min(near, key=lambda calibration: _ratio(calibration, num_inference_steps), default=None)


def keep(calibration: Calibration, model: str, data: Path | None = None) -> Path:
    """Keeps a calibration where `find` finds it, beside those for other solvers and steps. Returns the file.

    Raises StudioError if the file cannot be written.
    """
    weights = loading.weights_digest(model)
    file = _own(weights, data)
    others: list[Calibration] = []
    with contextlib.suppress(OSError, InvalidRequest):
        others = [c for c in read_calibrations(_start_of(file)) if _key(c) != _key(calibration)]
    values = {"format": FORMAT, "calibrations": [c.to_dict() for c in [*others, calibration]]}
    write_text(file, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    return file


def read_calibrations(text: str | bytes) -> list[Calibration]:
    """The calibrations in a file: several, as `keep` writes them, or a single one. Raises InvalidRequest."""
    try:
        values = strict_json.loads(text, max_bytes=JSON_LIMIT, max_depth=JSON_DEPTH + 2)
    except ValueError as problem:
        raise InvalidRequest(f"This is no calibration: {problem}.") from problem
    if isinstance(values, dict) and set(values) == {"format", "calibrations"}:
        if values["format"] != FORMAT or not isinstance(values["calibrations"], list):
            raise InvalidRequest(f"This file of calibrations has another format than {FORMAT}.")
        return [Calibration.from_dict(entry) for entry in values["calibrations"]]
    return [Calibration.from_dict(values)]


def read_strengths(file: Path) -> Strengths | None:
    """The strengths in a file that `calibrate --out` or `Strengths.to_json` wrote; None where calibrating found
    nothing to correct. Raises StudioError if it is neither.
    """
    try:
        values = strict_json.read_object(_start_of(file), JSON_LIMIT, JSON_DEPTH, "JSON object")
        if "verdict" in values:
            return Calibration.from_dict(values).strengths
        return Strengths.from_dict(values)
    except OSError as problem:
        raise StudioError(f"{file} cannot be read: {problem.strerror or problem}.") from problem
    except InvalidRequest as problem:
        raise StudioError(f"{file} holds no strengths: {problem}") from problem


def write_text(file: Path, text: str) -> None:
    """Writes a file whole or not at all. Raises StudioError if that fails."""
    write_whole(file, text.encode())


def _start_of(file: Path) -> bytes:
    """The bytes of a file, as far as it may be read: one more than the limit is enough to be refused for it."""
    with file.open("rb") as opened:
        return opened.read(JSON_LIMIT + 1)


def _places(model: str, weights: str, data: Path | None) -> list[Path]:
    source = catalogue.find(model).source
    own = _own(weights, data)
    return [own, source / FILE] if isinstance(source, Path) and source.is_dir() else [own]


def _own(weights: str, data: Path | None) -> Path:
    return (default_data_folder() if data is None else data) / "corrections" / f"{weights}.json"


def _key(calibration: Calibration) -> tuple[str, int]:
    return calibration.solver, calibration.num_inference_steps


def _ratio(calibration: Calibration, steps: int) -> float:
    """How many times as many, or as few, steps this is for: 1 and above."""
    there = max(calibration.num_inference_steps, 1)
    return max(there / steps, steps / there)
