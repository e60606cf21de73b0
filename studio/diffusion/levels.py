"""The noise levels of a run: how much signal and how much noise a sample has at every entry of a scheduler's list.

Everything is read once, when the scheduler has set its timesteps, so that no step waits for a device. The formulas are
those of the classes' own sources (diffusers 0.42).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

Level = tuple[float, float]
"""(signal, noise): a sample is x = signal * clean + noise * n, in the scheduler's own representation."""

# samples are clean + sigma * n
_EXPLODING = frozenset(
    {
        "DPMSolverSDEScheduler",
        "EDMEulerScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
    }
)
_FLOW = frozenset(
    {
        "FlowMatchEulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "FlowMatchLCMScheduler",
        "LTXEulerAncestralRFScheduler",
    }
)
# levels are those of cumulated alphas at integer timesteps
_CUMULATED = frozenset(
    {
        "CogVideoXDDIMScheduler",
        "CogVideoXDPMScheduler",
        "DDIMParallelScheduler",
        "DDIMScheduler",
        "DDPMParallelScheduler",
        "DDPMScheduler",
        "LCMScheduler",
        "PNDMScheduler",
        "TCDScheduler",
    }
)
# the last of their timesteps is where the last step leads
_ONE_MORE = frozenset({"DDPMWuerstchenScheduler", "SCMScheduler"})


@dataclass(frozen=True)
class Ladder:
    """The levels of one run, by their place in the scheduler's list of timesteps."""

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...] | None  # as the scheduler has them, with the one that the last step leads to
    levels: tuple[Level | None, ...]  # one more than timesteps: the last is where the last step leads
    deviation: float = 1.0  # of the noise n: see `deviation_of`

    def sigma(self, place: int) -> float | None:
        """The noise level in the scheduler's own parametrisation; sqrt((1 - a) / a) where it has only alphas."""
        if self.sigmas is not None:
            return self.sigmas[place] if place < len(self.sigmas) else None
        level = self.level(place)
        if level is None:
            return None
        signal, noise = level
        return noise / signal if signal > 0 else math.inf

    def level(self, place: int) -> Level | None:
        return self.levels[place] if place < len(self.levels) else None

    def nearest(self, timestep: float) -> float:
        """The timestep of the list that is nearest: some pipelines round theirs to half precision."""
        return min(self.timesteps, key=lambda listed: abs(listed - timestep))

    def place(self, scheduler: Any, timestep: Any, nearby: int) -> int:
        """Where in the list the step about to be made stands. `nearby` is where it should be if none was skipped."""
        for name in ("_step_index", "_begin_index"):
            index = getattr(scheduler, name, None)
            if isinstance(index, int):
                return index
        value = scalar(timestep)
        places = [place for place, listed in enumerate(self.timesteps) if listed == value]
        return min(places, key=lambda place: (place < nearby, place), default=nearby)


def read_ladder(scheduler: Any) -> Ladder:
    """The levels of a scheduler that has just set its timesteps."""
    timesteps = _numbers(scheduler.timesteps)
    sigmas = getattr(scheduler, "sigmas", None)
    values = _numbers(sigmas) if sigmas is not None and len(sigmas) >= len(timesteps) else None
    levels = _levels(scheduler, timesteps, values)
    name = type(scheduler).__name__
    deviation = deviation_of(name, scheduler.config)
    return Ladder(timesteps[:-1] if name in _ONE_MORE else timesteps, values, levels, deviation)


def deviation_of(scheduler: str, config: Mapping[str, Any]) -> float:
    """The standard deviation of the noise n in x = signal * clean + noise * n, by the class name of the scheduler."""
    return float(config["sigma_data"]) if scheduler == "SCMScheduler" else 1.0  # the unit of all of Sana Sprint


def scalar(value: Any) -> float:
    """A timestep as a number. Some pipelines give one per picture of the batch; they are all the same."""
    return float(value.flatten()[0]) if isinstance(value, torch.Tensor) else float(value)


def _levels(
    scheduler: Any, timesteps: tuple[float, ...], sigmas: tuple[float, ...] | None
) -> tuple[Level | None, ...]:
    name = type(scheduler).__name__
    if name in _CUMULATED:
        return _cumulated(scheduler, timesteps)
    if name == "SCMScheduler":  # x = cos(t) clean + sin(t) n
        return tuple((math.cos(t), math.sin(t)) for t in timesteps)
    if name == "DDPMWuerstchenScheduler":
        alphas = _numbers(scheduler._alpha_cumprod(torch.tensor(timesteps), torch.device("cpu")))
        return tuple((alpha**0.5, (1 - alpha) ** 0.5) for alpha in alphas)
    if name == "IPNDMScheduler":
        return tuple(zip(_numbers(scheduler.alphas), _numbers(scheduler.betas), strict=True))
    if sigmas is None:
        return (None,) * (len(timesteps) + 1)
    if name in _EXPLODING:
        return tuple((1.0, sigma) for sigma in _evaluated(scheduler, sigmas))
    if name in _FLOW:
        # a schedule that is inverted walks from 0 to 1, where it is clean
        inverted = sigmas[-1] == 1
        return tuple((sigma, 1 - sigma) if inverted else (1 - sigma, sigma) for sigma in sigmas)
    if hasattr(scheduler, "_sigma_to_alpha_sigma_t") and name != "HeliosScheduler":
        signal, noise = scheduler._sigma_to_alpha_sigma_t(torch.tensor(sigmas, dtype=torch.float64))
        return tuple(zip(_numbers(signal.expand(len(sigmas))), _numbers(noise), strict=True))
    return (None,) * (len(timesteps) + 1)


def _cumulated(scheduler: Any, timesteps: tuple[float, ...]) -> tuple[Level, ...]:
    alphas = scheduler.alphas_cumprod
    values = _numbers(alphas[torch.tensor([_trained(t, len(alphas)) for t in timesteps], device=alphas.device)])
    final = float(getattr(scheduler, "final_alpha_cumprod", 1.0))
    if type(scheduler).__name__ == "LCMScheduler":
        final = 1.0  # its last step leaves the clean estimate itself
    return tuple((alpha**0.5, (1 - alpha) ** 0.5) for alpha in (*values, final))


def _trained(timestep: float, count: int) -> int:
    return min(max(round(timestep), 0), count - 1)


def _evaluated(scheduler: Any, sigmas: tuple[float, ...]) -> tuple[float, ...]:
    """The sigmas at which the model is looked at: some second-order solvers do so half-way between two of them."""
    between = getattr(scheduler, "sigmas_interpol", None)
    if between is not None:
        back = 1 if "Ancestral" in type(scheduler).__name__ else 0
        half = _numbers(between)
        return tuple(half[i - back] if i % 2 else sigma for i, sigma in enumerate(sigmas))
    if type(scheduler).__name__ == "DPMSolverSDEScheduler":
        return tuple(
            math.sqrt(sigmas[i - 1] * sigma) if i % 2 and i + 1 < len(sigmas) else sigma
            for i, sigma in enumerate(sigmas)
        )
    return sigmas


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values.tolist())
