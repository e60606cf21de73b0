"""The clean estimate x0 of every scheduler class: where it is kept, or the formula that gives it.

Each solver of diffusers makes x0 from the model's output on its way, but each keeps it elsewhere: in the second
element of its result, in its list of earlier outputs, or nowhere. The formulas are those of the classes' own sources
(diffusers 0.42).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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
_IN_HISTORY = frozenset(
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
_FROM_ALPHAS = frozenset({"PNDMScheduler", "TCDScheduler"})


def clean_estimate(
    scheduler: Any, x: Tensor, model_output: Tensor, timestep: Any, result: tuple[Any, ...]
) -> Tensor | None:
    """The clean estimate behind the step that `scheduler` has just made, shaped like `x`, or None if it has none.

    `x` and `model_output` are what entered the step, `result` is the tuple that it returned.
    """
    name = type(scheduler).__name__
    if name in _IN_RESULT:
        return result[1] if len(result) > 1 and torch.is_tensor(result[1]) else None
    if name in _IN_HISTORY:
        return _from_history(scheduler, x)
    if name in _FROM_ALPHAS:
        return _from_alphas(scheduler, x, model_output, timestep)
    sigma = sigma_of_last_step(scheduler)
    if sigma is None:
        return None
    if name == "FlowMatchEulerDiscreteScheduler":
        # the last sigma is 0, or 1 for schedulers with inverted sigmas, whose clean end lies there
        return x + (float(scheduler.sigmas[-1]) - sigma) * model_output
    if name == "FlowMatchHeunDiscreteScheduler":
        # the second evaluation of a step looks at its predictor, which stands at the next sigma
        return x - sigma * model_output
    if name in {"FlowMatchLCMScheduler", "IPNDMScheduler"}:
        return x - sigma * model_output
    return None


def sigma_of_last_step(scheduler: Any) -> float | None:
    """The noise level that entered the step just made: sigma where the class has sigmas, else sqrt((1-a)/a)."""
    sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "_step_index", None)
    if sigmas is None or index is None:
        return None
    return float(sigmas[max(index - 1, 0)])


def sigma_of_timestep(scheduler: Any, timestep: Any) -> float | None:
    """sqrt((1-a)/a) of a timestep, for schedulers that are described by cumulated alphas alone."""
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return None
    alpha = float(alphas[min(max(round(float(timestep)), 0), len(alphas) - 1)])
    return float(((1 - alpha) / alpha) ** 0.5) if alpha > 0 else float("inf")


def _from_history(scheduler: Any, x: Tensor) -> Tensor | None:
    newest: Tensor | None = next((m for m in reversed(scheduler.model_outputs) if m is not None), None)
    config = scheduler.config
    holds_x0 = (
        str(config.get("algorithm_type", "")).endswith("dpmsolver++")
        or config.get("predict_x0") is True
        or config.get("algorithm_type") == "data_prediction"
        or type(scheduler).__name__ == "CosineDPMSolverMultistepScheduler"
    )
    if newest is None or holds_x0:
        return newest
    sigma = sigma_of_last_step(scheduler)
    if sigma is None:
        return None
    alpha_t, sigma_t = scheduler._sigma_to_alpha_sigma_t(torch.tensor(sigma))
    return (x - float(sigma_t) * newest) / float(alpha_t)


def _from_alphas(scheduler: Any, x: Tensor, model_output: Tensor, timestep: Any) -> Tensor | None:
    alpha = float(scheduler.alphas_cumprod[int(timestep)])
    signal, noise = float(alpha**0.5), float((1 - alpha) ** 0.5)
    prediction = scheduler.config.prediction_type
    if prediction == "sample":
        return model_output
    if prediction == "v_prediction":
        return signal * x - noise * model_output
    if prediction == "epsilon":
        return (x - noise * model_output) / signal
    return None
