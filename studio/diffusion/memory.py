"""What a run remembers between two steps beside its sample: the solver's attributes and the random generators.

A scheduler's memory is whatever has changed in it since it set its timesteps. That needs no list of names per class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_MISSING = object()
# what the schedule itself is, or what configures it: equal in both runs, or checked to be
_NO_MEMORY = frozenset({"timesteps", "sigmas", "alphas_cumprod", "_internal_dict"})
# tensors that a scheduler adds to in place (PNDM's Runge-Kutta start): a reference would change afterwards
_ADDED_TO = frozenset({"cur_model_output"})


class Reference:
    """A scheduler's attributes right after `set_timesteps`, to tell later which have changed."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._attributes = {
            name: list(value) if isinstance(value, list) else value for name, value in attributes.items()
        }

    def changed(self, attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The attributes that are other objects by now, with lists copied. Private ones of the seam are left out."""
        for name, value in attributes.items():
            if name in _NO_MEMORY or name.startswith("_wavebrush") or isinstance(value, torch.Generator):
                continue
            before = self._attributes.get(name, _MISSING)
            if isinstance(value, list):
                if not _same_items(value, before):
                    yield name, list(value)
            elif value is not before:
                yield name, value.clone() if name in _ADDED_TO and isinstance(value, Tensor) else value


def restore(attributes: dict[str, Any], memory: Mapping[str, Any], x: Tensor) -> None:
    """Puts a recorded memory into a scheduler's attributes, with tensors of its own on the device of `x`."""
    for name, value in memory.items():
        attributes[name] = _fresh(value, x)


def share(memory: Mapping[str, Any], known: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """The memory with every tensor that is one of `known` replaced by its equal twin: (original, twin) pairs."""
    twins = {id(original): twin for original, twin in known}

    def shared(value: Any) -> Any:
        if isinstance(value, Tensor):
            twin = twins.get(id(value))
            return twin if twin is not None and equal_for_free(value, twin) else value
        return [shared(item) for item in value] if isinstance(value, list) else value

    return {name: shared(value) for name, value in memory.items()}


def equal_for_free(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same to the bit, if that can be told without waiting for a device; else False."""
    return a.device.type == "cpu" and b.device.type == "cpu" and same(a, b)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same dtype, shape and values."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


@dataclass(frozen=True, eq=False)
class RandomState:
    """The states of torch's global generators and of those that the pipeline was given."""

    torch_state: Tensor
    device_state: Tensor | None
    generator_states: tuple[Tensor, ...]

    @staticmethod
    def read(generators: Iterable[torch.Generator], device: torch.device, before: RandomState | None) -> RandomState:
        """The states now. Those that are as `before` are its tensors: a generator's state takes 5 KB."""
        states = tuple(generator.get_state() for generator in generators)
        device_state = _device_state(device)
        if before is None:
            return RandomState(torch.get_rng_state(), device_state, states)
        known = (*before.generator_states, *[None] * len(states))
        return RandomState(
            _kept(torch.get_rng_state(), before.torch_state),
            None if device_state is None else _kept(device_state, before.device_state),
            tuple(_kept(state, earlier) for state, earlier in zip(states, known, strict=False)),
        )

    def equals(self, other: RandomState) -> bool:
        """Whether nothing was drawn between the two, from any generator that both know."""
        mine, theirs = ((s.torch_state, *s.generator_states) for s in (self, other))
        if not all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=False)):
            return False
        if self.device_state is None or other.device_state is None:
            return True
        return torch.equal(self.device_state, other.device_state)


def restore_random(torch_state: Tensor, device_state: Tensor | None, device: torch.device) -> None:
    """Sets torch's global generators."""
    torch.set_rng_state(torch_state.cpu())
    if device_state is not None and device.type not in ("cpu", "meta"):
        torch.get_device_module(device).set_rng_state(device_state.cpu(), *_which(device))


def seed_random(seed: int, device: torch.device) -> None:
    """Seeds torch's global generators on the CPU and on this device; those of other devices are left alone."""
    of_device = None if device.type in ("cpu", "meta") else torch.Generator(device).manual_seed(seed).get_state()
    restore_random(torch.Generator().manual_seed(seed).get_state(), of_device, device)


def _device_state(device: torch.device) -> Tensor | None:
    """The state of the global generator of this very device; None for the CPU's own."""
    if device.type in ("cpu", "meta"):
        return None
    state: Tensor = torch.get_device_module(device).get_rng_state(*_which(device))
    return state


def _which(device: torch.device) -> tuple[torch.device, ...]:
    """How a kind of device is told which of its kind is meant: of `mps` there is one alone."""
    return () if device.type == "mps" else (device,)


def _kept(state: Tensor, before: Tensor | None) -> Tensor:
    return before if before is not None and torch.equal(state, before) else state


def _same_items(value: list[Any], before: Any) -> bool:
    return (
        isinstance(before, list)
        and len(before) == len(value)
        and all(a is b for a, b in zip(value, before, strict=True))
    )


def _fresh(value: Any, x: Tensor) -> Any:
    if isinstance(value, Tensor):
        # single numbers stay where the scheduler keeps them, beside its levels
        return value.clone() if value.ndim == 0 else value.to(x.device, copy=True)
    if isinstance(value, list):
        return [_fresh(item, x) for item in value]
    return value
