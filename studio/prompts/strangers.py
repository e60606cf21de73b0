"""What other programs wrote into their PNGs, as far as it can be used here, and in words what cannot.

AUTOMATIC1111's web UI and its relatives, ComfyUI, InvokeAI, NovelAI, Fooocus and SwarmUI are read. The texts are a
stranger's: sizes and depths are bounded, nothing in them names a file that is opened or a model that is loaded, and
what is wrong with them ends in a note or in None, never in an error.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio import strict_json
from studio.errors import shown
from studio.prompts import emphasis, wildcards
from studio.prompts.samplers import solver_for
from studio.prompts.strangers_comfy import read_graph
from studio.prompts.strangers_values import Found, number, text_of, whole
from studio.requests import (
    GUIDANCE_RANGE,
    PROMPT_LIMIT,
    SEED_RANGE,
    SIDE_RANGE,
    SIZE_MULTIPLE,
    STEPS_RANGE,
    TextToImage,
)

TEXT_LIMIT = 512 * 1024  # characters of one text that is looked at
JSON_DEPTH = 40
NOTES_LIMIT = 12

_FILES = re.compile(r"<(lora|lyco|hypernet):([^<>:]{1,120})(?::[^<>]{0,40})?>", re.IGNORECASE)
_NEGATIVE = "Negative prompt:"
_JSON_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)
# settings of the web UI that are used, that say nothing about the picture, or that are told of in other words
_SILENT = frozenset(
    {
        *(
            "steps",
            "sampler",
            "schedule_type",
            "cfg_scale",
            "seed",
            "size",
            "model",
            "model_hash",
            "version",
            "hashes",
        ),
        *("lora_hashes", "ti_hashes", "vae_hash", "eta", "ensd", "rng", "user", "created_date"),
        *("civitai_resources", "civitai_metadata"),
    }
)


@dataclass(frozen=True)
class Settled:
    """A request for a model that is here, made of a stranger's settings, and what had to be said about it."""

    request: TextToImage
    program: str
    notes: tuple[str, ...]


def read(texts: Mapping[str, str]) -> Found | None:
    """The settings in a PNG's texts (key -> text), or None if no program is recognised in them."""
    texts = {key: value[:TEXT_LIMIT] for key, value in texts.items()}
    for key, reader in (
        ("invokeai_metadata", _invoke),
        ("sd-metadata", _old_invoke),
        ("Comment", _novel),
        ("parameters", _parameters),
        ("prompt", _comfy),
        ("workflow", _workflow),
        ("Dream", _dream),
    ):
        if key in texts and (found := reader(texts[key])) is not None:
            return found
    return None


def settle(found: Found, usual: TextToImage, side: int) -> Settled:
    """A request of the usual one and what a stranger asked for, within what can be asked for here.

    `side` is the longest side in pixels that the model is made for; larger pictures are made smaller, in proportion.
    """
    notes = [f"The model was {shown(found.model, 60)}; {usual.model} paints instead."] if found.model else []
    values: dict[str, Any] = {}
    for name, label, text in (
        ("prompt", "The prompt", found.prompt),
        ("negative_prompt", "What to leave out", found.negative_prompt),
    ):
        words, files = _without_files(_clean(text))
        if len(words) > PROMPT_LIMIT:
            notes.append(f"{label} had {len(words):,} characters; the first {PROMPT_LIMIT:,} are there.")
        values[name] = words[:PROMPT_LIMIT]
        notes += [f"{kind} {shown(file, 60)} is not loaded: prompts load no files here." for kind, file in files]
        notes += emphasis.remarks(values[name])
    if found.sampler:
        values["solver"], difference = solver_for(found.sampler, usual.solver)
        notes += [difference] if difference else []
    if found.schedule:
        notes.append(
            f"Steps were spaced by {shown(found.schedule, 40)}; here they are spaced as the model was trained."
        )
    if found.steps is not None:
        values["num_inference_steps"] = _within(round(found.steps), STEPS_RANGE, "steps", notes)
    if found.guidance is not None:
        values["guidance_scale"] = _within(found.guidance, GUIDANCE_RANGE, "guidance", notes)
    if found.seed is not None:
        values["seed"] = found.seed % (SEED_RANGE[1] + 1)
        if values["seed"] != found.seed:
            notes.append(f"Seeds run to {SEED_RANGE[1]} here: {found.seed} became {values['seed']}.")
    if found.width and found.height:
        values["width"], values["height"] = _size(found.width, found.height, side, notes)
    notes += found.notes
    if found.seed is not None:
        notes.append("Other programs draw their noise otherwise, so it will be another picture.")
    request = dataclasses.replace(usual, **values)
    return Settled(request, found.program, tuple(dict.fromkeys(notes))[:NOTES_LIMIT])


def _within(value: Any, ends: tuple[Any, Any], what: str, notes: list[str]) -> Any:
    low, high = ends
    if low <= value <= high:
        return value
    notes.append(f"{value:g} {what} cannot be asked for; {low:g} to {high:g} can.")
    return min(max(value, low), high)


def _size(width: int, height: int, side: int, notes: list[str]) -> tuple[int, int]:
    scale = min(1.0, min(side, SIDE_RANGE[1]) / max(width, height))
    fitted = [
        min(max(round(length * scale / SIZE_MULTIPLE) * SIZE_MULTIPLE, SIDE_RANGE[0]), SIDE_RANGE[1])
        for length in (width, height)
    ]
    if fitted != [width, height]:
        why = "larger than this model paints" if scale < 1 else f"not in steps of {SIZE_MULTIPLE} px"
        notes.append(f"{width} × {height} is {why}: {fitted[0]} × {fitted[1]}.")
    return fitted[0], fitted[1]


def _without_files(text: str) -> tuple[str, list[tuple[str, str]]]:
    """A prompt without `<lora:name:0.8>`, and the kinds and names that were in it."""
    kinds = {"lora": "LoRA", "lyco": "LyCORIS", "hypernet": "Hypernetwork"}
    files = [(kinds[match[1].lower()], match[2]) for match in _FILES.finditer(text)]
    bare = _FILES.sub("", text) if files else text
    return re.sub(r"(?:, ?){2,40}", ", ", bare).strip(" ,\n") if files else bare.strip(), files[:6]


def _clean(text: str) -> str:
    """Without the characters that no request takes."""
    kept = (c for c in text.replace("\r\n", "\n") if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160))
    return "".join(c for c in kept if not 0xD800 <= ord(c) < 0xE000)


# -- the web UI of AUTOMATIC1111 and its relatives --------------------------------------------------------------------


def _parameters(text: str) -> Found | None:
    """`parameters`: prompt, "Negative prompt:" and a last line of settings; or JSON by SwarmUI or Fooocus."""
    if text.lstrip()[:1] == "{":
        values = _json(text)
        return _swarm(values) if "sui_image_params" in values else _fooocus(values)
    lines = text.strip().split("\n")
    settings = _settings(lines[-1])
    if len(settings) >= 3:
        lines.pop()
    elif _NEGATIVE not in text:
        return None  # a text of any kind
    else:
        settings = {}
    start = next((k for k, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).removeprefix(_NEGATIVE).strip()
    size = re.fullmatch(r"\s*(\d{1,6})\s*x\s*(\d{1,6})\s*", settings.get("size", ""))
    schedule = settings.get("schedule_type", "")
    unused = [
        f"{key.replace('_', ' ')} {shown(value, 24)}"
        for key, value in settings.items()
        if key not in _SILENT and not key.startswith("lora") and value not in ("", "None")
    ]
    notes = [f"Not used: {', '.join(unused[:8])}{', …' if len(unused) > 8 else ''}."] if unused else []
    if "denoising_strength" in settings and "hires_upscale" not in settings:
        notes.append("It was painted over another picture, which is not in the file.")
    return Found(
        "AUTOMATIC1111's web UI",
        _plain_wildcards("\n".join(lines[:start]).strip()),
        negative,
        steps=number(settings.get("steps")),
        guidance=number(settings.get("cfg_scale")),
        seed=whole(settings.get("seed")),
        width=int(size[1]) if size else None,
        height=int(size[2]) if size else None,
        sampler=settings.get("sampler"),
        schedule=schedule if schedule not in ("", "Automatic", "Uniform", "Simple", "Normal") else None,
        model=settings.get("model"),
        notes=tuple(notes),
    )


def _settings(line: str) -> dict[str, str]:
    """ "Steps: 20, Sampler: Euler a, Lora hashes: "a: 1, b: 2"" by name; a value in quotes may hold commas."""
    found: dict[str, str] = {}
    place = 0
    while (colon := line.find(":", place)) >= 0 and len(found) < 200:
        key = line[place:colon].strip(" ,\t")
        place = colon + 1
        while line[place : place + 1] == " ":
            place += 1
        if line[place : place + 1] == '"':
            end = _closing_quote(line, place + 1)
            value, place = line[place + 1 : end], end + 1
        else:
            end = line.find(",", place)
            end = len(line) if end < 0 else end
            value, place = line[place:end], end
        name = key.lower().replace(" ", "_")
        if re.fullmatch(r"\w[\w/.-]{0,40}", name):
            found.setdefault(name, value.strip())
        place = max(place, 0) + (line[place : place + 1] == ",")
    return found


def _closing_quote(line: str, place: int) -> int:
    while place < len(line) and line[place] != '"':
        place += 2 if line[place] == "\\" else 1
    return min(place, len(line))


def _plain_wildcards(prompt: str) -> str:
    """Their braces and underscores were decided when the picture was made: what is left of them is text."""
    return wildcards.escaped(prompt) if any(mark in prompt for mark in ("{", "__", "|")) else prompt


# -- others -----------------------------------------------------------------------------------------------------------


def _json(text: str) -> dict[str, Any]:
    """A JSON object, or an empty one. NaN and Infinity, which ComfyUI writes, become null."""
    text = _JSON_STRING_OR_CONSTANT.sub(lambda m: m[0] if m[0][0] == '"' else "null", text)
    try:
        values = strict_json.loads(text, max_bytes=4 * TEXT_LIMIT, max_depth=JSON_DEPTH)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _swarm(values: dict[str, Any]) -> Found | None:
    found = values.get("sui_image_params")
    if not isinstance(found, dict):
        return None
    return Found(
        "SwarmUI",
        _plain_wildcards(text_of(found.get("prompt"))),
        text_of(found.get("negativeprompt")),
        steps=number(found.get("steps")),
        guidance=number(found.get("cfgscale")),
        seed=whole(found.get("seed")),
        width=whole(found.get("width")),
        height=whole(found.get("height")),
        sampler=text_of(found.get("sampler")) or None,
        schedule=_spacing(found.get("scheduler")),
        model=text_of(found.get("model")) or None,
    )


def _fooocus(values: dict[str, Any]) -> Found | None:
    if not isinstance(values.get("prompt"), str):
        return None
    size = re.findall(r"\d{1,6}", text_of(values.get("resolution"))[:40])
    styles = text_of(values.get("styles"))
    return Found(
        "Fooocus",
        _plain_wildcards(values["prompt"]),
        text_of(values.get("negative_prompt")),
        steps=number(values.get("steps")),
        guidance=number(values.get("guidance_scale")),
        seed=whole(values.get("seed")),
        width=int(size[0]) if len(size) == 2 else None,
        height=int(size[1]) if len(size) == 2 else None,
        sampler=text_of(values.get("sampler")) or None,
        schedule=_spacing(values.get("scheduler")),
        model=text_of(values.get("base_model")) or None,
        notes=(f"Its styles {shown(styles, 80)} are not known here.",) if styles not in ("", "[]") else (),
    )


def _invoke(text: str) -> Found | None:
    values = _json(text)
    if not isinstance(values.get("positive_prompt"), str):
        return None
    model = values.get("model")
    name = (text_of(model.get("name") or model.get("model_name")) if isinstance(model, dict) else "") or None
    notes = []
    for entry in (values.get("loras") or [])[:6] if isinstance(values.get("loras"), list) else []:
        inner = entry.get("model") or entry.get("lora") if isinstance(entry, dict) else None
        if isinstance(inner, dict):
            title = shown(text_of(inner.get("name") or inner.get("model_name")), 60)
            notes.append(f"LoRA {title} is not loaded: prompts load no files here.")
    if re.search(r"[\w)][+-]{1,9}(?=[\s,.)]|$)", values["positive_prompt"][:PROMPT_LIMIT]):
        notes.append("InvokeAI weighs words with + and -; here they are characters. Write (word:1.1) instead.")
    for key, words in (
        ("controlnets", "ControlNet"),
        ("ipAdapters", "An IP adapter"),
        ("hrf_enabled", "Its refining"),
    ):
        if values.get(key):
            notes.append(f"{words} was used, which is not in the file.")
    return Found(
        "InvokeAI",
        _plain_wildcards(values["positive_prompt"]),
        text_of(values.get("negative_prompt")),
        steps=number(values.get("steps")),
        guidance=number(values.get("cfg_scale")),
        seed=whole(values.get("seed")),
        width=whole(values.get("width")),
        height=whole(values.get("height")),
        sampler=text_of(values.get("scheduler")) or None,
        model=name,
        notes=tuple(notes),
    )


def _old_invoke(text: str) -> Found | None:
    values = _json(text)
    image = values.get("image")
    if not isinstance(image, dict):
        return None
    prompt = image.get("prompt")
    if isinstance(prompt, list):
        prompt = ", ".join(text_of(part.get("prompt")) for part in prompt[:20] if isinstance(part, dict))
    if not isinstance(prompt, str):
        return None
    names = ("steps", "cfg_scale", "seed", "width", "height", "sampler")
    model = text_of(values.get("model_weights")) or None
    return _early_invoke("InvokeAI 2", prompt, [image.get(name) for name in names], model)


def _dream(text: str) -> Found | None:
    """`Dream`: "a lake" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms"""
    match = re.match(r'\s*"((?:[^"\\]|\\.){0,4000})"', text)
    if match is None:
        return None
    options = dict(re.findall(r"(?<!\S)-([sSWHCA])\s?([\w.]{1,20})", text[match.end() :][:2000]))
    return _early_invoke("InvokeAI 1", match[1], [options.get(letter) for letter in "sCSWHA"])


def _early_invoke(program: str, prompt: str, values: Sequence[object], model: str | None = None) -> Found:
    """`values`: steps, guidance, seed, width, height, sampler. What to leave out stood between square brackets."""
    steps, guidance, seed, width, height, sampler = values
    negative = re.findall(r"\[([^\[\]]{1,1000})\]", prompt[: 2 * PROMPT_LIMIT])
    bare = re.sub(r"\[[^\[\]]{1,1000}\]", "", prompt).strip(" ,")
    return Found(
        program,
        _plain_wildcards(bare),
        ", ".join(negative),
        steps=number(steps),
        guidance=number(guidance),
        seed=whole(seed),
        width=whole(width),
        height=whole(height),
        sampler=text_of(sampler) or None,
        model=model,
    )


def _novel(text: str) -> Found | None:
    values = _json(text)
    if not isinstance(values.get("prompt"), str) or not ("uc" in values or "v4_prompt" in values):
        return None
    notes = []
    base = values.get("v4_prompt")
    caption = base.get("caption") if isinstance(base, dict) else None
    if isinstance(caption, dict) and caption.get("char_captions"):
        notes.append("Its prompts for single characters are not used.")
    return Found(
        "NovelAI",
        _novel_weights(values["prompt"]),
        _novel_weights(text_of(values.get("uc"))),
        steps=number(values.get("steps")),
        guidance=number(values.get("scale")),
        seed=whole(values.get("seed")),
        width=whole(values.get("width")),
        height=whole(values.get("height")),
        sampler=text_of(values.get("sampler")) or None,
        schedule=_spacing(values.get("noise_schedule")),
        notes=tuple(notes),
    )


def _novel_weights(prompt: str) -> str:
    """NovelAI's braces weigh 1.05 and its square brackets 1 / 1.05; round brackets are characters."""
    balanced = all(prompt.count(left) == prompt.count(right) for left, right in ("{}", "[]"))
    pairs = {"{": "(", "}": ":1.05)", "[": "(", "]": ":0.952)"} if balanced else {}
    pairs.update({"(": r"\(", ")": r"\)", "\\": r"\\", "|": r"\|"})
    return "".join(pairs.get(character, character) for character in prompt)


def _spacing(value: object) -> str | None:
    name = text_of(value)
    return None if name.lower() in ("", "normal", "simple", "native", "automatic", "beta_default") else name


def _comfy(text: str) -> Found | None:
    return read_graph(_json(text))


def _workflow(text: str) -> Found | None:
    """ComfyUI's drawing of its graph, where the graph itself was left out of the file."""
    values = _json(text)
    if not isinstance(values.get("nodes"), list):
        return None
    return Found(
        "ComfyUI",
        "",
        "",
        notes=("The file holds only the drawing of its workflow, not the values that were used. Save with both.",),
    )
