"""Grids: two parameters with a list of values each, and the requests of all their pairs.

Values are typed: "2, 5, 8", "1-4", "0 to 0.04 (+0.01)", "4-40 [5]", or one prompt per line. A grid knows no picture
and no model; what a calibrated correction is, it is told.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from studio.diffusion.strengths import Strengths
from studio.errors import InvalidRequest, shown_value
from studio.requests import SOLVERS, TextToImage

CELL_LIMIT = 64  # pictures of one grid
TEXT_LIMIT = 20_000  # characters of all values of one side
LEVELS_MOST = 5  # wavelet levels, which make one band more

Calibrated = Callable[[TextToImage], Strengths | None]
"""What was measured for the model, the solver and the steps of a request; None if nothing was, or nothing is to do."""


@dataclass(frozen=True)
class Field:
    """A parameter that a grid can run over."""

    id: str
    title: str
    hint: str  # how its values are typed
    example: str


FIELDS: tuple[Field, ...] = (
    Field("seed", "Seed", "Numbers or a range", "1-4"),
    Field("num_inference_steps", "Steps", "Numbers or a range", "8, 12, 20, 30"),
    Field("guidance_scale", "Guidance", "Numbers, or a range with a step", "2 to 8 (+2)"),
    Field("solver", "Solver", "Names, or all", "DPM++ 2M, Euler, DDIM"),
    Field("size", "Size", "Sizes in pixels", "128 × 128, 192 × 128"),
    Field("prompt", "Prompt", "One prompt per line", "a lake at dawn\na lake at night"),
    Field(
        "words", "Words in the prompt", "Words that stand there, then what takes their place", "lake, forest, castle"
    ),
    Field("negative_prompt", "Words to leave out", "One per line; an empty line for none", "people\nhouses"),
    Field("correction", "Correction", "off, calibrated, own", "off, calibrated"),
    Field("correction_times", "Correction, times", "How many times as strong", "0, 0.5, 1, 2"),
    *(
        Field(
            f"strength_{band}", f"Correction, band {band + 1}", "Strengths; 0 is off, either sign", "-0.02 to 0.02 [5]"
        )
        for band in range(LEVELS_MOST + 1)
    ),
)

_BY_ID = {field.id: field for field in FIELDS}
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(
    rf"({_NUMBER})\s*(?:-|\.\.|to)\s*({_NUMBER})\s*(?:\(\s*\+?\s*({_NUMBER})\s*\)|\[\s*(\d{{1,3}})\s*\])?",
    re.IGNORECASE,
)
_SIZE = re.compile(r"(\d{1,6})(?:\s*(?:×|x|\*)\s*(\d{1,6}))?(?:\s*px)?", re.IGNORECASE)
_WHOLE = frozenset({"seed", "num_inference_steps"})
_RANK = {"words": 1, "correction": 2, "correction_times": 3}  # what builds on other fields is done after them


@dataclass(frozen=True)
class Axis:
    """One side of a grid: a field, and its values as they stand on the sheet and as they act."""

    field: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        return _BY_ID[self.field].title

    def to_dict(self) -> dict[str, Any]:
        return {"field": self.field, "title": self.title, "labels": list(self.labels)}


@dataclass(frozen=True)
class Grid:
    """What is the same in all cells (`base`), and what runs to the right and downwards.

    Raises InvalidRequest (field "across" or "down") if there are too many cells or the sides are of one kind.
    """

    base: TextToImage
    across: Axis
    down: Axis | None = None

    def __post_init__(self) -> None:
        if self.down is not None and self.down.field == self.across.field:
            raise InvalidRequest(f"{self.across.title} runs to the right already. Choose something else.", "down")
        if self.columns * self.rows > CELL_LIMIT:
            raise InvalidRequest(
                f"{self.columns} × {self.rows} are {self.columns * self.rows} pictures, and a grid has at most "
                f"{CELL_LIMIT}. Leave some values out.",
                "across" if self.down is None else "down",
            )

    @property
    def columns(self) -> int:
        return len(self.across.values)

    @property
    def rows(self) -> int:
        return len(self.down.values) if self.down is not None else 1

    def requests(self, calibrated: Calibrated) -> list[TextToImage]:
        """The request of every cell, row by row. Raises InvalidRequest, naming the side that cannot be done."""
        cells = []
        for row in range(self.rows):
            for column in range(self.columns):
                sides = [("across", self.across, column)]
                if self.down is not None:
                    sides.append(("down", self.down, row))
                request = self.base
                for name, axis, place in sorted(sides, key=lambda side: _rank(side[1].field)):
                    try:
                        request = _changed(request, axis, axis.values[place], calibrated)
                    except InvalidRequest as problem:
                        raise InvalidRequest(str(problem), name) from problem
                cells.append(request)
        return cells

    def to_dict(self) -> dict[str, Any]:
        """What a sheet says of itself, as JSON has it."""
        return {
            "base": self.base.to_dict(),
            "across": self.across.to_dict(),
            "down": self.down.to_dict() if self.down is not None else None,
        }


def axis_of(field: str, text: str, side: str) -> Axis:
    """The values that a person typed for a field. `side` is "across" or "down", for what is refused.

    Raises InvalidRequest.
    """
    if field not in _BY_ID:
        raise InvalidRequest(f"A grid cannot run over {shown_value(field)}.", side)
    if len(text) > TEXT_LIMIT:
        raise InvalidRequest(f"At most {TEXT_LIMIT:,} characters of values can be read, not {len(text):,}.", side)
    try:
        pairs = _read(_BY_ID[field], text)
    except InvalidRequest as problem:
        raise InvalidRequest(str(problem), side) from problem
    pairs = list({label: (label, value) for label, value in pairs}.values())  # each once, in the order typed
    if not pairs:
        raise InvalidRequest(
            f"Say which values of {_BY_ID[field].title.lower()}, such as {_BY_ID[field].example!r}.", side
        )
    if len(pairs) > CELL_LIMIT:
        raise InvalidRequest(f"{len(pairs)} values are too many: a grid has at most {CELL_LIMIT} pictures.", side)
    return Axis(field, tuple(value for _, value in pairs), tuple(label for label, _ in pairs))


def _read(field: Field, text: str) -> list[tuple[str, Any]]:
    """(label, value) of everything that was typed."""
    if field.id == "prompt":
        return [(line, line) for line in _lines(text) if line]
    if field.id == "negative_prompt":
        return [(line or "none", line) for line in _lines(text.rstrip("\n"))] if text.strip() else []
    if field.id == "words":
        words = [word for word in (_lines(text) if "\n" in text.strip() else _parts(text)) if word]
        if words and len(words) < 2:
            raise InvalidRequest("Write the words that stand in the prompt first, then those that take their place.")
        return [(word, (words[0], word)) for word in words]
    if field.id == "solver":
        return [(name, name) for name in (SOLVERS if text.strip().lower() == "all" else map(_solver, _parts(text)))]
    if field.id == "size":
        return [_size(part) for part in _parts(text)]
    if field.id == "correction":
        return [(word, word) for word in map(_correction, _parts(text))]
    whole = field.id in _WHOLE
    numbers = [number for part in _parts(text) for number in _numbers(part, whole)]
    return [
        (f"{number.normalize():f}".replace("-", "−"), int(number) if whole else float(number)) for number in numbers
    ]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n")]


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]


def _numbers(part: str, whole: bool) -> list[Decimal]:
    """The numbers of "5", "1-4", "0 to 1 (+0.25)" or "4-40 [5]"."""
    part = part.replace("−", "-").replace("–", "-")
    found = _RANGE.fullmatch(part)
    if found is None:
        return [_decimal(part, whole)]
    first, last = _decimal(found[1], whole), _decimal(found[2], whole)
    if found[4] is not None:
        count = int(found[4])
        if not 2 <= count <= CELL_LIMIT:
            raise InvalidRequest(f"A range has 2 to {CELL_LIMIT} values, not {count}.")
        values = [first + (last - first) * k / (count - 1) for k in range(count)]
        return [value.to_integral_value() if whole else round(value, 6) for value in values]
    if found[3] is None and not whole and (first % 1 or last % 1):
        raise InvalidRequest(f"Say the step of {shown_value(part)}, such as (+0.5), or how many values, such as [5].")
    step = abs(_decimal(found[3], whole)) if found[3] is not None else Decimal(1)
    if not step:
        raise InvalidRequest("The step of a range cannot be 0.")
    count = int(abs(last - first) // step) + 1
    if count > CELL_LIMIT:
        raise InvalidRequest(f"{shown_value(part)} are {count:,} values. A grid has at most {CELL_LIMIT} pictures.")
    return [first + (step if last >= first else -step) * k for k in range(count)]


def _decimal(text: str, whole: bool) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidRequest(
            f"{shown_value(text)} is no number. Write numbers with commas between them, or a range such as 1-4."
        ) from None
    if not number.is_finite() or len(text) > 20:
        raise InvalidRequest(f"{shown_value(text)} cannot be used as a number.")
    if whole and number % 1:
        raise InvalidRequest(f"{shown_value(text)} is not a whole number.")
    return number


def _solver(name: str) -> str:
    for solver in SOLVERS:
        if solver.lower() == name.lower():
            return solver
    raise InvalidRequest(f"{shown_value(name)} is not a solver. Choose from {', '.join(SOLVERS)}.")


def _size(part: str) -> tuple[str, tuple[int, int]]:
    found = _SIZE.fullmatch(part)
    if found is None:
        raise InvalidRequest(f"{shown_value(part)} is no size. Write sizes such as 192 × 128.")
    width, height = int(found[1]), int(found[2] or found[1])
    return f"{width} × {height}", (width, height)


def _correction(word: str) -> str:
    word = word.lower()
    if word not in ("off", "calibrated", "own"):
        raise InvalidRequest(f"{shown_value(word)} is no correction. Write off, calibrated or own.")
    return word


def _rank(field: str) -> int:
    return 4 if field.startswith("strength_") else _RANK.get(field, 0)


def _changed(request: TextToImage, axis: Axis, value: Any, calibrated: Calibrated) -> TextToImage:
    """The request with one value of an axis. Raises InvalidRequest."""
    if axis.field == "size":
        return dataclasses.replace(request, width=value[0], height=value[1])
    if axis.field == "words":
        sought, put = value
        if sought not in request.prompt:
            raise InvalidRequest(f"{shown_value(sought)} does not stand in the prompt {shown_value(request.prompt)}.")
        return dataclasses.replace(request, prompt=request.prompt.replace(sought, put))
    if axis.field == "correction":
        if value == "calibrated":
            return dataclasses.replace(request, correction=calibrated(request))
        return request if value == "own" else dataclasses.replace(request, correction=None)
    if axis.field == "correction_times":
        return dataclasses.replace(request, correction=_times(request.correction or calibrated(request), value))
    if axis.field.startswith("strength_"):
        band = int(axis.field.removeprefix("strength_"))
        strengths = request.correction or Strengths()
        if band > strengths.levels:
            raise InvalidRequest(f"This correction has {strengths.levels + 1} bands, so there is no band {band + 1}.")
        values = (*strengths.values[:band], value, *strengths.values[band + 1 :])
        return dataclasses.replace(request, correction=_unless_off(dataclasses.replace(strengths, values=values)))
    return dataclasses.replace(request, **{axis.field: value})


def _times(strengths: Strengths | None, factor: float) -> Strengths | None:
    if strengths is None:
        raise InvalidRequest("There is no correction to make stronger: none is set, and none was calibrated for this.")
    return _unless_off(dataclasses.replace(strengths, values=tuple(value * factor for value in strengths.values)))


def _unless_off(strengths: Strengths) -> Strengths | None:
    return None if strengths.is_off else strengths


def sentence(request: TextToImage, without: Sequence[str]) -> str:
    """What is the same in all cells, in words; `without` are the fields that run along the sides."""
    facts = [
        ("prompt", request.prompt.strip() or "no words"),
        ("negative_prompt", f"without {request.negative_prompt.strip()}" if request.negative_prompt.strip() else ""),
        ("seed", f"seed {request.seed}"),
        ("num_inference_steps", f"{request.num_inference_steps} steps"),
        ("solver", request.solver),
        ("guidance_scale", f"guidance {request.guidance_scale:g}"),
        ("size", f"{request.width} × {request.height} px"),
        ("correction", _corrected(request.correction)),
        ("model", f"model {request.model}"),
    ]
    return " · ".join(words for field, words in facts if words and field not in without)


def _corrected(strengths: Strengths | None) -> str:
    if strengths is None:
        return ""
    return f"correction {', '.join(f'{value:+.3f}' for value in strengths.values)} ({strengths.wavelet})"
