"""What to paint: plain frozen values that say everything a picture depends on.

A request is checked when it is made, travels as JSON, and is stored in the picture it leads to. It knows no model and
no tensor; whether a model can do what it asks (its solvers, its memory) is the engine's to say.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from studio import strict_json
from studio.diffusion.strengths import Strengths
from studio.errors import InvalidRequest, shown_value
from studio.imaging.geometry import Bounds

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
FILL_DEPTH = JSON_DEPTH + 1  # a fill holds the request of its painting

PREFILLS = ("auto", "none", "blur", "inpaint", "edge", "noise")
METHODS = ("auto", "known", "own")
GROW_RANGE = (-256, 256)  # px of the picture
FEATHER_RANGE = (0, 256)  # px of the picture
MARGIN_RANGE = (0, 4096)  # px of the picture
HARMONISE_RANGE = (0, 8)  # rounds
NOT_HARMONISED = (
    "The inpainting that a model brings itself cannot be harmonised. Set the rounds to 0, or use the method that "
    "holds what is known."
)
CONTEXT_SIDE = 16_384  # px; no picture is larger


@dataclass(frozen=True)
class TextToImage:
    """One picture from words.

    Sizes are pixels, multiples of 16. `guidance_scale` is the classifier-free guidance weight: 1 and below follow the
    model alone, higher values follow the words more. `correction` moves every sample along its way, band by band
    (see `studio.diffusion.correction`); None is off. The same request gives the same bytes on the same software.

    With `weighted`, brackets in the prompt and in the words to leave out weigh words (see `studio.prompts.emphasis`);
    without, they are plain text. `template` is what the person wrote where wildcards in it led to this prompt; nothing
    is painted from it.

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
    weighted: bool = False
    template: str = ""

    def __post_init__(self) -> None:
        _check_words(self.prompt, "prompt", "The prompt")
        _check_words(self.template, "template", "The prompt with its wildcards")
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
        if not isinstance(self.weighted, bool):
            raise InvalidRequest(f"Weights are on or off, not {shown_value(self.weighted)}.", "weighted")

    def to_dict(self) -> dict[str, Any]:
        """Every field under its own name, as JSON has it. `correction`, `weighted` and `template` are left out where
        there is nothing to say: plain requests read as they always did.
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("correction", "weighted", "template"):
            if not values[name]:
                del values[name]
        if self.correction is not None:
            values["correction"] = self.correction.to_dict()
        return values

    def to_json(self) -> str:
        """JSON with sorted keys, so that equal requests have equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextToImage:
        """The request with these fields; what is missing keeps its default, unknown names are refused."""
        _check_names(cls, values, "A request")
        if (correction := values.get("correction")) is not None:
            values = {**values, "correction": Strengths.from_dict(correction)}
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> TextToImage:
        """Reads what `to_json` wrote. Strict: no duplicate keys, no NaN, no unknown fields, no deep nesting."""
        shape = "a JSON object with a prompt and a seed"
        return cls.from_dict(strict_json.read_object(text, JSON_LIMIT, JSON_DEPTH, "request", shape))

    def with_seed(self, seed: int) -> TextToImage:
        return dataclasses.replace(self, seed=seed)


@dataclass(frozen=True)
class Intent:
    """What a person means by a fill, and what suits it unless they say otherwise."""

    start: float  # share of the steps that is left out at the beginning: 0 invents, near 1 keeps what is there
    prefill: str  # what the hole holds before the model sees it
    harmonise: int  # rounds
    guidance: float  # share of what the model's own guidance has beyond 1: what is around says a lot already
    needs_words: bool

    def guidance_for(self, own: float) -> float:
        """The guidance that suits a model whose own is `own`."""
        return round(1 + self.guidance * (own - 1), 2) if own > 1 else own

    def start_of(self, steps: int) -> int:
        """The steps of so many that are left out at the beginning."""
        return min(round(self.start * steps), steps - 1)


INTENTS: dict[str, Intent] = {
    "fill": Intent(start=0.0, prefill="blur", harmonise=0, guidance=1.0, needs_words=True),
    "replace": Intent(start=0.0, prefill="blur", harmonise=0, guidance=1.0, needs_words=True),
    "remove": Intent(start=0.1, prefill="inpaint", harmonise=0, guidance=0.25, needs_words=False),
    "expand": Intent(start=0.1, prefill="edge", harmonise=0, guidance=0.25, needs_words=False),
    "refine": Intent(start=0.5, prefill="none", harmonise=0, guidance=0.6, needs_words=False),
    "vary": Intent(start=0.25, prefill="none", harmonise=0, guidance=0.6, needs_words=False),
}


@dataclass(frozen=True)
class Fill:
    """A region of a picture, painted anew. What is outside of the mask stays the same byte for byte.

    `painting` says what is painted and how; its width and height are those that the region and its surroundings are
    worked at. Its first `start` steps are left out: 0 invents, a late start keeps what is there (the strength of
    image-to-image is 1 - start / steps). `start` and `harmonise` are what suits the intent where they are left out.
    `grow` and `feather` are pixels of the picture. `context` is what the model
    sees, in pixels of the picture; None is the mask's bounds with `margin` on each side (None: what suits their size).
    With `prefill`, the hole is filled before the model sees it, and `harmonise` are rounds in which every step is
    made again from a noisier sample, so that inside and outside agree (RePaint). `match_colour` brings the colours of
    the new content to those around it. `method` is "known" for any text-to-image model, whose known part is held
    while the rest is painted, or "own" for the inpainting that the model brings itself.

    The same request on the same pixels gives the same bytes on the same software. Raises InvalidRequest, naming the
    field, if a value is outside its range.
    """

    painting: TextToImage
    intent: str = "fill"
    start: int = None  # type: ignore[assignment]  # None is what suits the intent, which it becomes at once
    grow: int = 0
    feather: int = 4
    context: Bounds | None = None
    margin: int | None = None
    prefill: str = "auto"
    harmonise: int = None  # type: ignore[assignment]  # likewise
    match_colour: bool = True
    method: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.painting, TextToImage):
            raise InvalidRequest("A fill needs a painting: what is painted, and how.", "painting")
        _check_choice(self.intent, "intent", "an intent", tuple(INTENTS))
        _check_choice(self.prefill, "prefill", "a pre-fill", PREFILLS)
        _check_choice(self.method, "method", "a method", METHODS)
        steps, usual = self.painting.num_inference_steps, INTENTS[self.intent]
        if self.start is None:
            object.__setattr__(self, "start", usual.start_of(steps))
        if self.harmonise is None:
            object.__setattr__(self, "harmonise", 0 if self.method == "own" else usual.harmonise)
        _check_integer(self.start, "start", f"The steps left out of {steps}", (0, steps - 1))
        _check_integer(self.grow, "grow", "Pixels to grow the mask by", GROW_RANGE)
        _check_integer(self.feather, "feather", "Pixels to feather the mask by", FEATHER_RANGE)
        _check_integer(self.harmonise, "harmonise", "Rounds of harmonising", HARMONISE_RANGE)
        if self.method == "own" and self.harmonise:
            raise InvalidRequest(NOT_HARMONISED, "harmonise")
        if not isinstance(self.match_colour, bool):
            raise InvalidRequest(
                f"Matching the colours is on or off, not {shown_value(self.match_colour)}.", "match_colour"
            )
        if self.margin is not None:
            _check_integer(self.margin, "margin", "The pixels around the mask", MARGIN_RANGE)
        if self.context is not None:
            _check_context(self.context)
            if self.margin is not None:
                raise InvalidRequest("Say the context or the margin around the mask, not both.", "margin")
        if INTENTS[self.intent].needs_words and not self.painting.prompt.strip():
            raise InvalidRequest(
                "Say what should be there. To continue what is around it instead, choose Remove.", "prompt"
            )

    @classmethod
    def of(cls, painting: TextToImage, intent: str = "fill", **changes: Any) -> Fill:
        """A fill with what suits its intent, but for `changes`. The painting is taken as it is, guidance included."""
        return cls(painting, intent, **changes)

    def repainted(self, painting: TextToImage, **changes: Any) -> Fill:
        """The same fill by another painting: of other steps, the same share is left out at the beginning."""
        steps, before = painting.num_inference_steps, self.painting.num_inference_steps
        start = min(round(self.start * steps / before), steps - 1)
        return dataclasses.replace(self, painting=painting, **{"start": start, **changes})

    @property
    def seed(self) -> int:
        return self.painting.seed

    def with_seed(self, seed: int) -> Fill:
        return dataclasses.replace(self, painting=self.painting.with_seed(seed))

    def to_dict(self) -> dict[str, Any]:
        """Every field under its own name, as JSON has it."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["painting"] = self.painting.to_dict()
        values["context"] = dataclasses.asdict(self.context) if self.context is not None else None
        return values

    def to_json(self) -> str:
        """JSON with sorted keys, so that equal requests have equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fill:
        """The fill with these fields; what is missing keeps its default, unknown names are refused."""
        _check_names(cls, values, "A fill")
        painting, context = values.get("painting"), values.get("context")
        if not isinstance(painting, Mapping):
            raise InvalidRequest("A fill needs a painting: what is painted, and how.", "painting")
        return cls(
            **{
                **values,
                "painting": TextToImage.from_dict(painting),
                "context": _read_context(context) if context is not None else None,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Fill:
        """Reads what `to_json` wrote. Strict: no duplicate keys, no NaN, no unknown fields, no deep nesting."""
        shape = "a JSON object with a painting and an intent"
        return cls.from_dict(strict_json.read_object(text, JSON_LIMIT, FILL_DEPTH, "fill", shape))


Request = TypeVar("Request", TextToImage, Fill)


def batch(request: Request, count: int) -> list[Request]:
    """`count` requests that differ in their seeds alone: seed, seed + 1, ... (after the last seed comes 0)."""
    _check_integer(count, "count", "Pictures", COUNT_RANGE)
    return [request.with_seed((request.seed + k) % (SEED_RANGE[1] + 1)) for k in range(count)]


def nearest_sizes(side: int) -> tuple[int, int]:
    """The two allowed sides next to `side` pixels, the smaller first; equal if only one is."""
    low, high = SIDE_RANGE
    below = min(max(side // SIZE_MULTIPLE * SIZE_MULTIPLE, low), high)
    above = min(max(-(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE, low), high)
    return below, above


def _check_names(kind: type[TextToImage | Fill], values: Mapping[str, Any], name: str) -> None:
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - known, key=str):
        raise InvalidRequest(f"{name} has no field {shown_value(unknown[0])}. It has {', '.join(sorted(known))}.")


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


def _check_choice(value: object, field: str, name: str, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequest(f"{shown_value(value)} is not {name}. Choose one of {', '.join(choices)}.", field)


def _read_context(value: object) -> Bounds:
    sides = ("x", "y", "width", "height")
    if not isinstance(value, Mapping) or set(value) != set(sides):
        raise InvalidRequest(
            'A context is an object like {"x": 0, "y": 0, "width": 512, "height": 512}, in pixels of the picture.',
            "context",
        )
    for side, low in zip(sides, (0, 0, 1, 1), strict=True):
        _check_integer(value[side], "context", f"The context's {side}", (low, CONTEXT_SIDE))
    return Bounds(**value)


def _check_context(context: object) -> None:
    if not isinstance(context, Bounds):
        raise InvalidRequest(f"A context is a rectangle, not {shown_value(context)}.", "context")
    _read_context(dataclasses.asdict(context))


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
