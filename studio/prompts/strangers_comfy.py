"""ComfyUI's graph of nodes, as far as a request can be read out of it.

The graph is `{id: {"class_type": ..., "inputs": {...}}}`, where an input is a value or a link `[id, output]`. It is
walked from the sampler along its links; every walk is bounded, whatever the links say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from studio.errors import shown
from studio.prompts import wildcards
from studio.prompts.strangers_values import Found, number, text_of, whole

NODES_LIMIT = 2000
WALK_LIMIT = 200  # nodes of one walk

_PROMPT_KEYS = (
    "text",
    "text_g",
    "t5xxl",
    "clip_l",
    "text_l",
    "prompt",
    "string",
    "value",
    "string_a",
    "wildcard_text",
)
_PASSED = ("conditioning", "conditioning_1", "conditioning_to", "positive", "negative")
_TEXT_FROM = ("text", "string", "value", "prompt", "string_a", "text1", "text_1", "any", "anything", "input", "source")


def read_graph(graph: Mapping[str, Any]) -> Found | None:
    """The settings of the graph's last sampler, or None if there is no graph with one."""
    nodes = {
        key: node
        for key, node in list(graph.items())[:NODES_LIMIT]
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict) and isinstance(node.get("class_type"), str)
    }
    sampler = _sampler(nodes)
    if sampler is None:
        return None
    return _Graph(nodes).found(sampler)


def _sampler(nodes: Mapping[str, Any]) -> str | None:
    """The sampler that has prompts; of several the first of those that begin with an empty picture."""
    offers = [key for key, node in nodes.items() if "ampler" in node["class_type"] and _is_sampler(node["inputs"])]
    whole_runs = [key for key in offers if nodes[key]["inputs"].get("denoise", 1) == 1]
    return next(iter(whole_runs or offers), None)


def _is_sampler(inputs: Mapping[str, Any]) -> bool:
    return "positive" in inputs or "guider" in inputs


class _Graph:
    def __init__(self, nodes: Mapping[str, Any]) -> None:
        self._nodes = nodes

    def found(self, key: str) -> Found:
        inputs = self._nodes[key]["inputs"]
        notes: list[str] = []
        guider = self._linked(inputs.get("guider"))
        conditions = guider if guider is not None and "positive" not in inputs else inputs
        positive = self._words(conditions.get("positive", conditions.get("conditioning")), notes)
        negative = self._words(conditions.get("negative"), notes)
        spaced = self._linked(inputs.get("sigmas")) or inputs
        solver = self._linked(inputs.get("sampler")) or inputs
        noise = self._linked(inputs.get("noise")) or inputs
        width, height = self._size(inputs.get("latent_image"), notes)
        model, files = self._model(inputs.get("model", conditions.get("model")))
        notes += [f"LoRA {shown(name, 60)} is not loaded: prompts load no files here." for name in files[:6]]
        guidance = self._value(conditions, "cfg", "cfg_conds", "guidance")
        if guidance is None:
            guidance = self._distilled_guidance(conditions.get("conditioning", conditions.get("positive")))
        samplers = sum("ampler" in n["class_type"] and _is_sampler(n["inputs"]) for n in self._nodes.values())
        if samplers > 1:
            notes.append(f"It was painted by {samplers} samplers in a row; the first is read.")
        schedule = text_of(spaced.get("scheduler"))
        return Found(
            "ComfyUI",
            positive,
            negative,
            steps=number(self._value(spaced, "steps")),
            guidance=number(guidance),
            seed=whole(self._value(noise, "seed", "noise_seed")),
            width=width,
            height=height,
            sampler=text_of(self._value(solver, "sampler_name")) or None,
            schedule=None if schedule in ("", "normal", "simple") else schedule,
            model=model,
            notes=tuple(notes),
        )

    def _linked(self, value: object) -> dict[str, Any] | None:
        """The inputs of the node that a link leads to."""
        key = _target(value)
        node = self._nodes.get(key) if key is not None else None
        return node["inputs"] if node is not None else None

    def _value(self, inputs: Mapping[str, Any], *names: str) -> Any:
        """A value by one of its names, also through nodes that hold nothing but a value."""
        for name in names:
            value = inputs.get(name)
            for _ in range(8):
                held = self._linked(value)
                if held is None:
                    break
                value = next((held[k] for k in ("value", "seed", "int", "float", "number", name) if k in held), None)
            if value is not None and _target(value) is None:
                return value
        return None

    def _walk(self, link: object, along: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The nodes that are reached over links of these names, nearest first, each once."""
        waiting = [_target(link)]
        seen: set[str] = set()
        while waiting and len(seen) < WALK_LIMIT:
            key = waiting.pop(0)
            if key is None or key in seen or key not in self._nodes:
                continue
            seen.add(key)
            node = self._nodes[key]
            yield node
            waiting += [_target(node["inputs"].get(name)) for name in along]

    def _words(self, link: object, notes: list[str]) -> str:
        """The prompt behind a condition."""
        if isinstance(link, str):
            return _plain(link)
        for node in self._walk(link, _PASSED):
            if "ControlNet" in node["class_type"]:
                notes.append("ControlNet was used, which is not in the file.")
            if "ConditioningZeroOut" in node["class_type"]:
                return ""
            for name in _PROMPT_KEYS:
                value = node["inputs"].get(name)
                if isinstance(value, str) and (value.strip() or name == "text"):
                    return _plain(value)
                if _target(value) is not None and (held := self._text(value)) is not None:
                    return _plain(held)
        return ""

    def _text(self, link: object) -> str | None:
        for node in self._walk(link, _TEXT_FROM):
            for name in _TEXT_FROM:
                if isinstance(value := node["inputs"].get(name), str) and value.strip():
                    return value
        return None

    def _size(self, link: object, notes: list[str]) -> tuple[int | None, int | None]:
        for node in self._walk(link, ("samples", "latent", "latent_image", "pixels", "image")):
            if "VAEEncode" in node["class_type"] or "LoadImage" in node["class_type"]:
                notes.append("It was painted over another picture, which is not in the file.")
                return None, None
            width, height = (whole(self._value(node["inputs"], name)) for name in ("width", "height"))
            if width and height:
                return width, height
        return None, None

    def _model(self, link: object) -> tuple[str | None, list[str]]:
        """The checkpoint's name, and those of the LoRAs between it and the sampler."""
        files = []
        for node in self._walk(link, ("model",)):
            inputs = node["inputs"]
            if isinstance(name := inputs.get("lora_name"), str):
                files.append(name)
            for key in ("ckpt_name", "unet_name", "model_name"):
                if isinstance(name := inputs.get(key), str):
                    return name, files
        return None, files

    def _distilled_guidance(self, link: object) -> Any:
        for node in self._walk(link, _PASSED):
            if node["class_type"] == "FluxGuidance":
                return self._value(node["inputs"], "guidance")
        return None


def _plain(text: str) -> str:
    """Braces are decided by ComfyUI's page before a run, underscores by nothing: what is left is text."""
    return wildcards.escaped(text) if any(mark in text for mark in ("{", "__", "|")) else text


def _target(value: object) -> str | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)):
        return str(value[0])
    return None
