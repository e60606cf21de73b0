"""A recording as strict JSON and back, its tensors by name; and what must hold for one that a stranger wrote.

Everything is spelled out: no value becomes an object of a class that the file names. Memory of solvers may hold
numbers, text, None, tensors, and lists and tuples of these. The path of a Brownian solver is an object of code and is
left out; a run that needs it can still be looked at, but not resumed from the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from studio.diffusion.layout import Layout, Unknown, layout_from_dict, layout_to_dict
from studio.diffusion.levels import deviation_of
from studio.diffusion.recording import Moment, Recording, RunFacts
from studio.diffusion.steps import Step
from studio.errors import StudioError, shown

FORMAT = "wavebrush-run"
VERSION = 1  # of the description; files of another version are refused

STEP_LIMIT = 20_000
_TEXT_LIMIT = 2_000  # characters
_INTEGER_LIMIT = 2**63
_CPU_STATE = torch.Generator().get_state().numel()
_DEVICE_STATE_LIMIT = 4_096  # bytes; CUDA has 16, Apple's has 44

_CLASS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_ATTRIBUTE = re.compile(r"_?[a-z][a-z0-9_]{0,63}")
# what solvers are made of, which no memory may stand in front of; whoever restores knows the rest from the class
_NOT_MEMORY = frozenset({"config", "order", "sigmas", "step", "timesteps"})
_NOT_MEMORY_STARTS = ("_internal", "_wavebrush", "add_noise", "from_", "get_", "save_", "scale_", "set_")
_NUMPY = frozenset({"float16", "float32", "float64", "int32", "int64"})

_STEP_LEVELS = ("sigma", "signal", "noise", "signal_next", "noise_next")
_STEP_KEYS = frozenset({"index", "total", "order", "timestep", "x", "denoised", "x_next", "layout", *_STEP_LEVELS})
_MOMENT_KEYS = frozenset({"x", "memory", "torch_state", "generator_states", "device_state", "arguments", "obstacle"})
_FACTS_KEYS = frozenset(RunFacts.__dataclass_fields__)

_PATH_LOST = (
    "its solver draws noise along a path that lives in memory only, so that it could be resumed where it was made, "
    "but not from a file."
)


class Unreadable(ValueError):
    """The description does not describe a recording, or one that contradicts itself. Says how, in half a sentence."""


class Namer(Protocol):
    def __call__(self, tensor: Tensor, wanted: str, /) -> str:
        """The name of `tensor` in the file; `wanted` if it has none yet."""
        ...


def to_json(recording: Recording, name: Namer) -> dict[str, object]:
    """The recording as values that JSON has. Raises Unreadable for what no file can hold."""
    steps = recording.steps
    for place, step in enumerate(steps):  # first, so that a sample is called after the step that it enters
        name(step.x, f"x.{place:05}")
    return {
        "facts": _facts_to_json(recording.facts),
        "steps": [
            _step_to_json(step, f"{place:05}", recording.facts.layout, name) for place, step in enumerate(steps)
        ],
        "moments": [_moment_to_json(moment, f"{place:05}", name) for place, moment in enumerate(recording.moments)],
    }


def from_json(value: object, tensor: Callable[[str], Tensor]) -> Recording:
    """The inverse of `to_json`; `tensor` finds tensors by name. Raises Unreadable for anything else."""
    fields = _object(value, "the description", frozenset({"facts", "steps", "moments"}))
    facts = _facts_from_json(fields["facts"])
    steps, moments = _list(fields["steps"], "steps"), _list(fields["moments"], "moments")
    return Recording(
        tuple(_step_from_json(step, f"steps[{i}]", facts, tensor) for i, step in enumerate(steps)),
        tuple(_moment_from_json(moment, f"moments[{i}]", tensor) for i, moment in enumerate(moments)),
        facts,
    )


def check(recording: Recording) -> None:
    """Raises Unreadable unless steps, moments and facts fit together, as those of a real run do."""
    steps, moments, facts = recording.steps, recording.moments, recording.facts
    if not steps:
        raise Unreadable("nothing is recorded in it")
    if len(steps) > STEP_LIMIT:
        raise Unreadable(f"it has {len(steps):,} steps, more than {STEP_LIMIT:,}")
    if len(moments) != len(steps):
        raise Unreadable(f"it has {len(steps)} steps, but {len(moments)} moments")
    if len(facts.levels) - len(facts.timesteps) not in (0, 1):  # the last may be where the last step leads
        raise Unreadable(f"it has {len(facts.timesteps)} timesteps, but {len(facts.levels)} noise levels")
    for place, (step, moment) in enumerate(zip(steps, moments, strict=True)):
        where = f"step {step.index}"
        if not 0 <= step.index < step.total or step.order < 1:
            raise Unreadable(f"{where} of {step.total} (order {step.order}) cannot be")
        # runs that cannot be resumed may make their steps several times, or out of order
        if facts.obstacle is None and step.index != steps[0].index + place:
            raise Unreadable(f"{where} stands in place {place}, after step {steps[max(place - 1, 0)].index}")
        if facts.obstacle is None and (step.total, step.order) != (facts.total, facts.order):
            raise Unreadable(f"{where} is one of {step.total} (order {step.order}), not of {facts.total}")
        _check_tensors(step, moment, where)
        before = steps[max(place - 1, 0)]
        if place == 0 or (step.layout, step.x.shape) != (before.layout, before.x.shape):
            _check_layout(step.layout, step.x, where)
        place_in_list = moment.memory.get("_step_index")  # an index that is used unseen
        if isinstance(place_in_list, int) and not 0 <= place_in_list <= len(facts.timesteps):
            raise Unreadable(f"{where}: its solver stands at {place_in_list} of {len(facts.timesteps)} timesteps")
        _check_states(moment, where)


def _check_tensors(step: Step, moment: Moment, where: str) -> None:
    for kind, tensor in (("x", step.x), ("denoised", step.denoised), ("x_next", step.x_next), ("entering", moment.x)):
        if tensor is None:
            continue
        if not tensor.is_floating_point() or tensor.ndim < 1:
            raise Unreadable(f"{where}: {kind} is no tensor of latents")
        if tensor.shape != step.x.shape:
            raise Unreadable(f"{where}: {kind} is shaped {tuple(tensor.shape)}, x {tuple(step.x.shape)}")
    if moment.x.dtype != step.x.dtype:
        raise Unreadable(f"{where}: x is {step.x.dtype}, but enters as {moment.x.dtype}")


def _check_layout(layout: Layout, x: Tensor, where: str) -> None:
    if isinstance(layout, Unknown):
        return
    try:
        layout.to_space(x)
    except (StudioError, IndexError, RuntimeError) as problem:
        raise Unreadable(f"{where}: x, shaped {tuple(x.shape)}, does not lie as {layout}") from problem


def _check_states(moment: Moment, where: str) -> None:
    states = {"torch_state": moment.torch_state, "device_state": moment.device_state}
    states |= {f"generator_states[{i}]": state for i, state in enumerate(moment.generator_states)}
    for kind, state in states.items():
        if state is None:
            continue
        if state.dtype != torch.uint8 or state.ndim != 1:
            raise Unreadable(f"{where}: {kind} is no state of a random generator")
        if state.numel() == _CPU_STATE:
            try:
                torch.Generator().set_state(state)
            except RuntimeError:
                raise Unreadable(f"{where}: {kind} is no state that a random generator can have") from None
        elif kind == "torch_state" or not 0 < state.numel() <= _DEVICE_STATE_LIMIT:
            raise Unreadable(f"{where}: {kind} has {state.numel()} bytes, which no random generator's state has")


# -- writing ----------------------------------------------------------------------------------------------------------


def _facts_to_json(facts: RunFacts) -> dict[str, object]:
    return {
        **{name: getattr(facts, name) for name in _FACTS_KEYS},
        "scheduler_config": dict(facts.scheduler_config),
        "timesteps": [_real(value) for value in facts.timesteps],
        "levels": [None if level is None else [_real(value) for value in level] for level in facts.levels],
        "layout": layout_to_dict(facts.layout),
    }


def _step_to_json(step: Step, number: str, usual: Layout, name: Namer) -> dict[str, object]:
    return {
        "index": step.index,
        "total": step.total,
        "order": step.order,
        "timestep": _real(step.timestep),
        **{key: None if (value := getattr(step, key)) is None else _real(value) for key in _STEP_LEVELS},
        "x": name(step.x, f"x.{number}"),
        "denoised": None if step.denoised is None else name(step.denoised, f"denoised.{number}"),
        "x_next": name(step.x_next, f"x_next.{number}"),
        "layout": None if step.layout == usual else layout_to_dict(step.layout),
    }


def _moment_to_json(moment: Moment, number: str, name: Namer) -> dict[str, object]:
    lost: list[str] = []

    def kept(values: Mapping[str, Any], kind: str) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in values.items():
            _check_attribute(key, kind)
            try:
                found[key] = _value_to_json(value, f"{kind}.{number}.{key}", name)
            except _OnlyInMemory:
                lost.append(key)
        return found

    memory, arguments = kept(moment.memory, "memory"), kept(moment.arguments, "arguments")
    return {
        "x": name(moment.x, f"entering.{number}"),
        "memory": memory,
        "arguments": arguments,
        "torch_state": name(moment.torch_state, f"torch_state.{number}"),
        "generator_states": [
            name(state, f"generator_state.{number}.{i}") for i, state in enumerate(moment.generator_states)
        ],
        "device_state": None if moment.device_state is None else name(moment.device_state, f"device_state.{number}"),
        "obstacle": _PATH_LOST if lost and moment.obstacle is None else moment.obstacle,
    }


class _OnlyInMemory(Exception):
    """An object of code: it can be carried from step to step, but not written down."""


def _value_to_json(value: object, wanted: str, name: Namer) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Tensor):
        return {"tensor": name(value, wanted)}
    if isinstance(value, np.generic):  # numpy's float64 is a float too, but does not calculate like one
        if value.dtype.name not in _NUMPY:
            raise _OnlyInMemory
        return {"numpy": value.dtype.name, "value": _real(value.item())}
    if isinstance(value, int | float):
        return _real(value)
    if isinstance(value, list | tuple):
        items = [_value_to_json(item, f"{wanted}.{i}", name) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise _OnlyInMemory


def _real(value: float) -> object:
    """A number of its own kind, int or float; the three that JSON does not have as objects."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
    return value


# -- reading ----------------------------------------------------------------------------------------------------------


def _facts_from_json(value: object) -> RunFacts:
    fields = _object(value, "facts", _FACTS_KEYS)
    config = fields["scheduler_config"]
    if not isinstance(config, dict):
        raise Unreadable("facts.scheduler_config is no object")
    for key in ("pipeline", "scheduler"):
        if not _CLASS_NAME.fullmatch(_text(fields[key], f"facts.{key}")):
            raise Unreadable(f"facts.{key} is `{shown(fields[key], 40)}`, which is no name of a class")
    levels: list[tuple[float, float] | None] = []
    for i, level in enumerate(_list(fields["levels"], "facts.levels")):
        if level is not None and len(_list(level, f"facts.levels[{i}]")) != 2:
            raise Unreadable(f"facts.levels[{i}] is no pair of numbers")
        where = f"facts.levels[{i}]"
        levels.append(None if level is None else (_float(level[0], where), _float(level[1], where)))
    timesteps = _list(fields["timesteps"], "facts.timesteps")
    return RunFacts(
        pipeline=fields["pipeline"],
        scheduler=fields["scheduler"],
        scheduler_config=config,
        total=_count(fields["total"], "facts.total"),
        order=_count(fields["order"], "facts.order"),
        begin_index=_count(fields["begin_index"], "facts.begin_index"),
        timesteps=tuple(_float(value, f"facts.timesteps[{i}]") for i, value in enumerate(timesteps)),
        levels=tuple(levels),
        fingerprint=_text(fields["fingerprint"], "facts.fingerprint"),
        layout=_layout(fields["layout"], "facts.layout"),
        obstacle=_text_or_none(fields["obstacle"], "facts.obstacle"),
    )


def _step_from_json(value: object, where: str, facts: RunFacts, tensor: Callable[[str], Tensor]) -> Step:
    fields = _object(value, where, _STEP_KEYS)
    levels = {key: None if fields[key] is None else _float(fields[key], f"{where}.{key}") for key in _STEP_LEVELS}
    denoised = fields["denoised"]
    index = _count(fields["index"], f"{where}.index")
    return Step(
        index=index,
        total=_count(fields["total"], f"{where}.total"),
        order=_count(fields["order"], f"{where}.order"),
        timestep=_float(fields["timestep"], f"{where}.timestep"),
        x=tensor(_text(fields["x"], f"{where}.x")),
        denoised=None if denoised is None else tensor(_text(denoised, f"{where}.denoised")),
        x_next=tensor(_text(fields["x_next"], f"{where}.x_next")),
        layout=facts.layout if fields["layout"] is None else _layout(fields["layout"], f"{where}.layout"),
        deviation=_deviation(facts),
        final=facts.begin_index + index + 1 >= len(facts.timesteps),
        **levels,
    )


def _deviation(facts: RunFacts) -> float:
    try:
        return deviation_of(facts.scheduler, facts.scheduler_config)
    except (KeyError, TypeError, ValueError):
        raise Unreadable("facts.scheduler_config has no sigma_data that is a number") from None


def _moment_from_json(value: object, where: str, tensor: Callable[[str], Tensor]) -> Moment:
    fields = _object(value, where, _MOMENT_KEYS)
    kept: dict[str, dict[str, Any]] = {}
    for kind in ("memory", "arguments"):
        if not isinstance(fields[kind], dict):
            raise Unreadable(f"{where}.{kind} is no object")
        for key in fields[kind]:
            _check_attribute(key, f"{where}.{kind}")
        kept[kind] = {
            key: _value_from_json(item, f"{where}.{kind}.{key}", tensor) for key, item in fields[kind].items()
        }
    states = _list(fields["generator_states"], f"{where}.generator_states")
    device_state = fields["device_state"]
    return Moment(
        x=tensor(_text(fields["x"], f"{where}.x")),
        memory=kept["memory"],
        torch_state=tensor(_text(fields["torch_state"], f"{where}.torch_state")),
        generator_states=tuple(tensor(_text(state, f"{where}.generator_states")) for state in states),
        device_state=None if device_state is None else tensor(_text(device_state, f"{where}.device_state")),
        arguments=kept["arguments"],
        obstacle=_text_or_none(fields["obstacle"], f"{where}.obstacle"),
    )


def _value_from_json(value: object, where: str, tensor: Callable[[str], Tensor]) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int | float):
        return _number(value, where)
    if isinstance(value, list):
        return [_value_from_json(item, f"{where}[{i}]", tensor) for i, item in enumerate(value)]
    fields = cast("dict[str, Any]", value)
    if fields.keys() == {"float"}:
        return _number(fields, where)
    if fields.keys() == {"tensor"}:
        return tensor(_text(fields["tensor"], where))
    if fields.keys() == {"tuple"}:
        return tuple(_value_from_json(item, where, tensor) for item in _list(fields["tuple"], where))
    if fields.keys() == {"numpy", "value"} and isinstance(kind := fields["numpy"], str) and kind in _NUMPY:
        number = _number(fields["value"], where)
        try:
            with np.errstate(over="raise"):
                return cast("object", np.dtype(kind).type(number))
        except (OverflowError, FloatingPointError, ValueError):
            raise Unreadable(f"{where} holds {number}, which is no {kind}") from None
    raise Unreadable(f"{where} is of a kind that no solver's memory has")


def _check_attribute(name: str, where: str) -> None:
    """Raises Unreadable unless `name` may be an attribute that a solver keeps its memory in."""
    if not _ATTRIBUTE.fullmatch(name) or "__" in name or name in _NOT_MEMORY or name.startswith(_NOT_MEMORY_STARTS):
        raise Unreadable(f"{where} has an entry `{shown(name, 40)}`, which is no memory of a solver")


def _object(value: object, where: str, keys: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{where} is no object")
    if missing := sorted(keys - value.keys()):
        raise Unreadable(f"{where} has no {missing[0]}")
    if unknown := sorted(value.keys() - keys):
        raise Unreadable(f"{where} has an entry `{shown(unknown[0], 40)}` that means nothing")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable(f"{where} is no list")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise Unreadable(f"{where} is no text, or a very long one")
    return value


def _text_or_none(value: object, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _count(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise Unreadable(f"{where} is no number of something")
    return value


def _number(value: object, where: str) -> int | float:
    if isinstance(value, dict) and value.keys() == {"float"} and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"{where} is no number")
    if isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise Unreadable(f"{where} is no number that a run can have")
    return value


def _float(value: object, where: str) -> float:
    number = float(_number(value, where))
    if math.isnan(number):
        raise Unreadable(f"{where} is not a number")
    return number


def _layout(value: object, where: str) -> Layout:
    try:
        return layout_from_dict(value)
    except StudioError as problem:
        raise Unreadable(f"{where}: {problem}") from None
