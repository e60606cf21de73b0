"""What to paint: plain frozen values that say everything a picture depends on.

A request is checked when it is made, travels as JSON, and is stored in the picture it leads to. It knows no model and
no tensor; whether a model can do what it asks (its solvers, its memory) is the engine's to say.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio import strict_json
from studio.diffusion.strengths import Strengths
from studio.errors import InvalidRequest, shown_value

SOLVERS: tuple[str, ...] = (
    "DPM++ 2M",
    "DPM++ 2M SDE",
    "Euler",
    "Euler a",
    "Heun",
    "DDIM",
    "DDPM",
    "UniPC",
    "DEIS",
    "LCM",
)

SIZE_MULTIPLE = 16  # px; every autoencoder that the studio loads divides sides by 8 or 16
SIDE_RANGE = (64, 2048)  # px
STEPS_RANGE = (1, 200)
GUIDANCE_RANGE = (0.0, 30.0)
SEED_RANGE = (0, 2**32 - 1)
PROMPT_LIMIT = 4000  # characters
COUNT_RANGE = (1, 8)  # pictures in one job
JSON_LIMIT = 64 * 1024  # bytes
JSON_DEPTH = 7  # how deep a request nests: its correction has bands, a band a schedule, and that a list of points


@dataclass(frozen=True)
class TextToImage:
    """One picture from words.

    Sizes are pixels, multiples of 16. `guidance_scale` is the classifier-free guidance weight: 1 and below follow the
    model alone, higher values follow the words more. `correction` moves every sample along its way, band by band
    (see `studio.diffusion.correction`); None is off. The same request gives the same bytes on the same software.

    Raises InvalidRequest, naming the field, if a value is outside its range.
    """

    prompt: str = ""
    negative_prompt: str = ""
    width: int = 128
    height: int = 128
    num_inference_steps: int = 20
    guidance_scale: float = 5.0
    solver: str = SOLVERS[0]
    seed: int = 0
    model: str = "painter"
    correction: Strengths | None = None

    def __post_init__(self) -> None:
        _check_words(self.prompt, "prompt", "The prompt")
        _check_words(self.negative_prompt, "negative_prompt", "The words to leave out")
        _check_side(self.width, "width")
        _check_side(self.height, "height")
        _check_integer(self.num_inference_steps, "num_inference_steps", "Steps", STEPS_RANGE)
        _check_integer(self.seed, "seed", "Seeds", SEED_RANGE)
        object.__setattr__(self, "guidance_scale", _checked_guidance(self.guidance_scale))
        if self.solver not in SOLVERS:
            raise InvalidRequest(
                f"{shown_value(self.solver)} is not a solver. Choose one of {', '.join(SOLVERS)}.", "solver"
            )
        _check_words(self.model, "model", "The model's name")
        if not self.model.strip():
            raise InvalidRequest("The request names no model. Use 'painter' for the bundled one.", "model")
        if self.correction is not None and not isinstance(self.correction, Strengths):
            raise InvalidRequest(
                f"A correction is made of strengths, not {shown_value(self.correction)}.", "correction"
            )

    def to_dict(self) -> dict[str, Any]:
        """Every field under its own name, as JSON has it. `correction` is left out where there is none."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.correction is None:
            del values["correction"]
        else:
            values["correction"] = self.correction.to_dict()
        return values

    def to_json(self) -> str:
        """JSON with sorted keys, so that equal requests have equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextToImage:
        """The request with these fields; what is missing keeps its default, unknown names are refused."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known, key=str):
            raise InvalidRequest(
                f"A request has no field {shown_value(unknown[0])}. It has {', '.join(sorted(known))}."
            )
        if (correction := values.get("correction")) is not None:
            values = {**values, "correction": Strengths.from_dict(correction)}
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> TextToImage:
        """Reads what `to_json` wrote. Strict: no duplicate keys, no NaN, no unknown fields, no deep nesting."""
        try:
            values = strict_json.loads(text, max_bytes=JSON_LIMIT, max_depth=JSON_DEPTH)
        except ValueError as problem:
            raise InvalidRequest(f"This is no request: {problem}") from problem
        if not isinstance(values, dict):
            raise InvalidRequest("This is no request: it should be a JSON object with a prompt and a seed.")
        return cls.from_dict(values)

    def with_seed(self, seed: int) -> TextToImage:
        return dataclasses.replace(self, seed=seed)


def batch(request: TextToImage, count: int) -> list[TextToImage]:
    """`count` requests that differ in their seeds alone: seed, seed + 1, ... (after the last seed comes 0)."""
    _check_integer(count, "count", "Pictures", COUNT_RANGE)
    return [request.with_seed((request.seed + k) % (SEED_RANGE[1] + 1)) for k in range(count)]


def nearest_sizes(side: int) -> tuple[int, int]:
    """The two allowed sides next to `side` pixels, the smaller first; equal if only one is."""
    low, high = SIDE_RANGE
    below = min(max(side // SIZE_MULTIPLE * SIZE_MULTIPLE, low), high)
    above = min(max(-(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE, low), high)
    return below, above


def _check_words(value: object, field: str, name: str) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} should be text, not {type(value).__name__}.", field)
    if len(value) > PROMPT_LIMIT:
        raise InvalidRequest(f"{name} is {len(value):,} characters long. At most {PROMPT_LIMIT:,} can be read.", field)
    for position, character in enumerate(value, start=1):
        if (ord(character) < 32 and character not in "\n\t\r") or 127 <= ord(character) < 160:
            raise InvalidRequest(
                f"{name} holds a control character (U+{ord(character):04X}) at position {position}. Remove it.", field
            )
        if 0xD800 <= ord(character) < 0xE000:
            raise InvalidRequest(f"{name} holds half a character at position {position}. Remove it.", field)


def _check_integer(value: object, field: str, name: str, allowed: tuple[int, int]) -> None:
    low, high = allowed
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} should be a whole number, not {shown_value(value)}.", field)
    if not low <= value <= high:
        raise InvalidRequest(f"{name} run from {low} to {high}, not {shown_value(value)}.", field)


def _check_side(value: object, field: str) -> None:
    low, high = SIDE_RANGE
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"The {field} should be a whole number of pixels, not {shown_value(value)}.", field)
    if not low <= value <= high:
        raise InvalidRequest(f"The {field} runs from {low} to {high} pixels, not {shown_value(value)}.", field)
    if value % SIZE_MULTIPLE:
        below, above = nearest_sizes(value)
        raise InvalidRequest(f"{value} is not a multiple of {SIZE_MULTIPLE}. Use {below} or {above}?", field)


def _checked_guidance(value: object) -> float:
    low, high = GUIDANCE_RANGE
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidRequest(f"Guidance should be a number, not {shown_value(value)}.", "guidance_scale")
    if not low <= value <= high:  # NaN is never between
        raise InvalidRequest(f"Guidance runs from {low:g} to {high:g}, not {shown_value(value)}.", "guidance_scale")
    return float(value)
