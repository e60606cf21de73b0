"""The clean estimate x0 of every scheduler class: where it is kept, or the formula that gives it.

Each solver of diffusers makes x0 from the model's output on its way, but each keeps it elsewhere: in the second
element of its result, in its list of earlier outputs, or nowhere. For all of them x0 is affine in the sample and the
model's output, x0 = a * x + b * m; `Prediction` knows a and b before the step is made. The formulas are those of the
classes' own sources (diffusers 0.42).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.levels import Level, scalar

# x0 is the second element of the tuple that `step` returns
_IN_RESULT = frozenset(
    {
        "CogVideoXDDIMScheduler",
        "CogVideoXDPMScheduler",
        "DDIMParallelScheduler",
        "DDIMScheduler",
        "DDPMParallelScheduler",
        "DDPMScheduler",
        "DPMSolverSDEScheduler",
        "EDMEulerScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LCMScheduler",
        "LMSDiscreteScheduler",
        "SCMScheduler",
    }
)
# the newest entry of `model_outputs` is x0 or epsilon, depending on the configuration
IN_HISTORY = frozenset(
    {
        "CosineDPMSolverMultistepScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EDMDPMSolverMultistepScheduler",
        "SASolverScheduler",
        "UniPCMultistepScheduler",
    }
)
# nowhere: it follows from the level
_FROM_LEVELS = frozenset({"DDPMWuerstchenScheduler", "IPNDMScheduler", "PNDMScheduler", "TCDScheduler"})
# the sample along a straight line from noise to picture, whose slope the model gives
_FLOW = frozenset({"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"})
_FLOW_ANCESTRAL = "LTXEulerAncestralRFScheduler"
# the model's output is v, whatever the configuration says
_ALWAYS_V = frozenset({"IPNDMScheduler", "SCMScheduler"})
# the model's raw output, to be scaled as Karras et al. 2022 do (arXiv:2206.00364, table 1)
_PRECONDITIONED = frozenset(
    {"CosineDPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler", "EDMEulerScheduler"}
)


@dataclass(frozen=True, eq=False)
class Prediction:
    """How the clean estimate follows from the sample and the model's output: x0 = of_sample * x + of_output * m."""

    of_sample: float | Tensor
    of_output: float | Tensor

    @property
    def depends_on_output(self) -> bool:
        return isinstance(self.of_output, Tensor) or self.of_output != 0

    def clean(self, x: Tensor, model_output: Tensor) -> Tensor:
        """The clean estimate in single precision at least: at high noise, half a precision leaves little of it."""
        exact = torch.promote_types(x.dtype, torch.float32)
        return self.of_sample * x.to(exact) + self.of_output * _mean(model_output, x).to(exact)

    def output_for(self, change: Tensor, model_output: Tensor) -> Tensor:
        """The output that moves the clean estimate by `change`. Channels that tell a variance stay as they are."""
        mean = _mean(model_output, change)
        if isinstance(self.of_output, Tensor):  # tokens without noise are what they are, whatever the model says
            shift = torch.where(self.of_output == 0, 0, change / self.of_output)
        else:
            shift = change / self.of_output
        moved = (mean + shift).to(model_output.dtype)
        return moved if mean is model_output else torch.cat([moved, model_output[:, mean.shape[1] :]], dim=1)


def prediction(scheduler: Any, level: Level | None, timestep: Any, per_token: Tensor | None) -> Prediction | None:
    """What the model's output means at a level, or None for schedulers whose formula is not known.

    `per_token` are the timesteps of single tokens, in pipelines that give each its own.
    """
    name, config = type(scheduler).__name__, scheduler.config
    if name in _FLOW or name == _FLOW_ANCESTRAL:
        if per_token is not None:
            return Prediction(1.0, (per_token / config.num_train_timesteps)[..., None])
        return _flow(level, inverted=name in _FLOW and bool(config.get("invert_sigmas", False)))
    if level is None or not (name in _IN_RESULT or name in IN_HISTORY or name in _FROM_LEVELS):
        return None
    if name in _PRECONDITIONED:
        return _preconditioned(config, level[1])
    kind = "v_prediction" if name in _ALWAYS_V else config.get("prediction_type", "epsilon")
    plain = _plain(kind, level)
    if plain is None or name != "LCMScheduler":
        return plain
    skip, out = scheduler.get_scalings_for_boundary_condition_discrete(scalar(timestep))
    return Prediction(float(out) * plain.of_sample + float(skip), float(out) * plain.of_output)


def clean_estimate(
    scheduler: Any, x: Tensor, model_output: Tensor, result: tuple[Any, ...], known: Prediction | None
) -> Tensor | None:
    """The clean estimate behind the step that `scheduler` has just made, shaped like `x`, or None if it has none.

    `x` and `model_output` are what entered the step, `result` is the tuple that it returned. Where the solver keeps
    its own estimate, that very tensor is returned: it may be clipped, and its memory can be shared.
    """
    name = type(scheduler).__name__
    if name in _IN_RESULT:
        return result[1] if len(result) > 1 and torch.is_tensor(result[1]) else None
    if name in IN_HISTORY and remembers_clean(name, scheduler.config):
        return next((m for m in reversed(scheduler.model_outputs) if m is not None), None)
    return known.clean(x, model_output).to(x.dtype) if known is not None else None


def remembers_clean(scheduler: str, config: Mapping[str, Any]) -> bool:
    """Whether the `model_outputs` of a multistep solver, by its class name, are clean estimates; else the noise."""
    if scheduler == "CosineDPMSolverMultistepScheduler":
        return True
    if scheduler == "DEISMultistepScheduler":
        return False
    if scheduler == "UniPCMultistepScheduler":
        return bool(config.get("predict_x0", True))
    if scheduler == "SASolverScheduler":
        return str(config.get("algorithm_type", "data_prediction")) == "data_prediction"
    return str(config.get("algorithm_type", "dpmsolver++")).endswith("++")


def _flow(level: Level | None, inverted: bool) -> Prediction | None:
    if level is None:
        return None
    # the slope points from picture to noise, or the other way in schedules that walk from 0 to 1
    return Prediction(1.0, level[1] if inverted else -level[1])


def _plain(kind: str, level: Level) -> Prediction | None:
    signal, noise = level
    power = signal**2 + noise**2
    if kind == "sample":
        return Prediction(0.0, 1.0)
    if kind == "v_prediction":
        return Prediction(signal / power, -noise / math.sqrt(power))
    if kind == "flow_prediction":
        return Prediction(1.0, -noise)
    if kind == "epsilon" and signal > 0:
        return Prediction(1 / signal, -noise / signal)
    return None


def _preconditioned(config: Any, sigma: float) -> Prediction:
    data = float(config.sigma_data)
    power = sigma**2 + data**2
    out = sigma * data / math.sqrt(power)
    return Prediction(data**2 / power, -out if config.prediction_type == "v_prediction" else out)


def _mean(model_output: Tensor, x: Tensor) -> Tensor:
    """The model's output without the channels in which some models tell the variance."""
    if model_output.ndim > 1 and model_output.shape[1] == 2 * x.shape[1] and model_output.shape[2:] == x.shape[2:]:
        return model_output[:, : x.shape[1]]
    return model_output
