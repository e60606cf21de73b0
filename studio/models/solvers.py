"""From a solver's name, as a person chooses it, to a scheduler for the model at hand.

A scheduler's configuration says what the model was trained for: which noise schedule, and what its output means. That
is kept; everything else is set here to what is known to work. Variance-preserving models (Stable Diffusion, SDXL,
PixArt, the painter) run with all ten solvers, flow-matching models (SD3, Flux, Sana) with those that are defined on a
flow.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import torch

from studio.errors import InvalidRequest
from studio.models import schedulers
from studio.requests import SOLVERS

FLOW_SOLVERS: tuple[str, ...] = ("DPM++ 2M", "DPM++ 2M SDE", "Euler", "Heun", "UniPC")

_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_SMALLEST_ALPHA = 2.0**-24  # of the noisiest level: sigma 4096, which half precision can still hold
_VARIANCE_PRESERVING = frozenset(
    f"{name}Scheduler"
    for name in (
        "DDIM",
        "DDIMParallel",
        "DDPM",
        "DDPMParallel",
        "DEISMultistep",
        "DPMSolverMultistep",
        "DPMSolverSDE",
        "DPMSolverSinglestep",
        "EulerAncestralDiscrete",
        "EulerDiscrete",
        "HeunDiscrete",
        "KDPM2AncestralDiscrete",
        "KDPM2Discrete",
        "LCM",
        "LMSDiscrete",
        "PNDM",
        "SASolver",
        "TCD",
        "UniPCMultistep",
    )
)
_FLOW = frozenset({"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"})


@dataclass(frozen=True)
class NoiseSchedule:
    """What a variance-preserving model was trained on."""

    levels: int  # training timesteps
    beta_start: float
    beta_end: float
    beta_schedule: str
    trained_betas: tuple[float, ...] | None
    prediction_type: str  # "epsilon", "v_prediction" or "sample"
    zero_terminal_snr: bool
    lcm_steps: int  # the ladder that a latent consistency model was distilled on

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that describe this schedule to any scheduler class."""
        return {
            "num_train_timesteps": self.levels,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": self.beta_schedule,
            "trained_betas": self._bounded_betas(),
            "prediction_type": self.prediction_type,
        }

    def _bounded_betas(self) -> list[float] | None:
        """The betas, if naming the schedule would not do: rescaled to no signal at the end, or nearly there already.

        Signal is kept at 2^-24 there, since the level of pure noise is infinite and solvers compute with it.
        """
        plain = diffusers.DDIMScheduler(
            num_train_timesteps=self.levels,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
            beta_schedule=self.beta_schedule,
            trained_betas=list(self.trained_betas) if self.trained_betas else None,
            rescale_betas_zero_snr=self.zero_terminal_snr,
        )
        alphas = np.array(plain.alphas_cumprod.tolist())
        if alphas[-1] >= _SMALLEST_ALPHA:
            return list(self.trained_betas) if self.trained_betas else None
        bounded = np.maximum(alphas, _SMALLEST_ALPHA)
        return [float(beta) for beta in 1 - bounded / np.concatenate([[1.0], bounded[:-1]])]


@dataclass(frozen=True)
class FlowSchedule:
    """How a flow-matching model spaces its noise levels: the configuration of its own Euler scheduler."""

    arguments: tuple[tuple[str, Any], ...]

    def ladder(self) -> schedulers.FlowMatchEulerDiscreteScheduler:
        return schedulers.FlowMatchEulerDiscreteScheduler(**dict(self.arguments))


def solvers_for(model: Any) -> tuple[str, ...]:
    """The solvers that work with this pipeline, scheduler or scheduler configuration, in the usual order.

    Empty for models that only work with a scheduler of their own kind.
    """
    schedule = _read(_config_of(model))
    if isinstance(schedule, FlowSchedule):
        return FLOW_SOLVERS
    if isinstance(schedule, NoiseSchedule):
        return tuple(name for name in SOLVERS if not (name == "Euler a" and schedule.prediction_type == "sample"))
    return ()


def make_scheduler(solver: str, model: Any, generator: torch.Generator | None = None) -> Any:
    """A fresh scheduler that runs `solver` on a model whose own scheduler, or its configuration, is given.

    `generator` is where stochastic solvers take their noise from if the pipeline hands them no other: pass the one of
    the run, since pipelines of flow-matching models hand on none.

    Raises InvalidRequest, naming the solvers that work, if this one does not.
    """
    config = _config_of(model)
    schedule = _read(config)
    usable = solvers_for(config)
    if solver not in usable or schedule is None:
        raise InvalidRequest(_refusal(solver, usable, config), "solver")
    if isinstance(schedule, FlowSchedule):
        return _flow_scheduler(solver, schedule, generator)
    return _SCHEDULERS[solver](schedule)


_SCHEDULERS: dict[str, Callable[[NoiseSchedule], Any]] = {
    "DPM++ 2M": lambda s: schedulers.DPMSolverMultistepScheduler(**s.arguments(), timestep_spacing="trailing"),
    "DPM++ 2M SDE": lambda s: schedulers.DPMSolverMultistepScheduler(
        **s.arguments(), timestep_spacing="trailing", algorithm_type="sde-dpmsolver++"
    ),
    "Euler": lambda s: schedulers.EulerDiscreteScheduler(**s.arguments(), timestep_spacing="trailing"),
    "Euler a": lambda s: _euler_ancestral(s),
    "Heun": lambda s: schedulers.HeunDiscreteScheduler(**s.arguments(), timestep_spacing="trailing"),
    "DDIM": lambda s: schedulers.DDIMScheduler(**s.arguments(), timestep_spacing="trailing", clip_sample=False),
    "DDPM": lambda s: schedulers.DDPMScheduler(**s.arguments(), timestep_spacing="trailing", clip_sample=False),
    "UniPC": lambda s: schedulers.UniPCMultistepScheduler(**s.arguments(), timestep_spacing="trailing"),
    "DEIS": lambda s: schedulers.DEISMultistepScheduler(**s.arguments(), timestep_spacing="trailing"),
    "LCM": lambda s: schedulers.LCMScheduler(**s.arguments(), original_inference_steps=s.lcm_steps),
}


def _euler_ancestral(schedule: NoiseSchedule) -> schedulers.EulerAncestralDiscreteScheduler:
    with warnings.catch_warnings():
        # its constructor hands a tensor to numpy in a way that numpy 2 complains about
        warnings.simplefilter("ignore", DeprecationWarning)
        return schedulers.EulerAncestralDiscreteScheduler(**schedule.arguments(), timestep_spacing="trailing")


def _flow_scheduler(solver: str, schedule: FlowSchedule, generator: torch.Generator | None) -> Any:
    ladder = schedule.ladder()
    if solver == "Euler":
        return ladder
    levels = ladder.config.num_train_timesteps
    flow = {"num_train_timesteps": levels, "prediction_type": "flow_prediction", "use_flow_sigmas": True}
    scheduler: Any
    if solver == "Heun":
        scheduler = schedulers.FlowMatchHeunDiscreteScheduler(levels, ladder.config.shift)
    elif solver == "UniPC":
        scheduler = schedulers.FlowUniPCMultistepScheduler(**flow)
    else:
        algorithm = "sde-dpmsolver++" if solver.endswith("SDE") else "dpmsolver++"
        scheduler = schedulers.FlowDPMSolverMultistepScheduler(**flow, algorithm_type=algorithm)
        scheduler.generator = generator
    scheduler.ladder = ladder
    # pipelines ask the configuration whether, and how, to shift by resolution
    scheduler.register_to_config(**{name: ladder.config[name] for name, _ in schedule.arguments})
    return scheduler


def _config_of(model: Any) -> Mapping[str, Any]:
    """The configuration with the name of its class, which one of a scheduler that was never saved does not hold."""
    scheduler = getattr(model, "scheduler", model)
    if isinstance(scheduler, Mapping):
        return scheduler if "_class_name" in scheduler else {"_class_name": _class_of(scheduler), **scheduler}
    names = [kind.__name__ for kind in type(scheduler).__mro__]  # an observed scheduler is of a class made for the run
    known = (name for name in names if name in _VARIANCE_PRESERVING | _FLOW)
    return {"_class_name": next(known, names[0]), **scheduler.config}


def _class_of(config: Mapping[str, Any]) -> str:
    """The class that takes exactly these settings, for a configuration that does not say whose it is; "" if none."""
    settings = {name for name in config if not name.startswith("_")}
    for name in sorted(_VARIANCE_PRESERVING | _FLOW):
        if settings == inspect.signature(getattr(diffusers, name).__init__).parameters.keys() - {"self"}:
            return name
    return ""


def _read(config: Mapping[str, Any]) -> NoiseSchedule | FlowSchedule | None:
    """What the configuration says of the model, or None if it describes neither kind."""
    name = str(config.get("_class_name", ""))
    is_flow = config.get("prediction_type") == "flow_prediction" or config.get("use_flow_sigmas") is True
    if name in _FLOW or (name in _VARIANCE_PRESERVING and is_flow):
        return _read_flow(config)
    if name not in _VARIANCE_PRESERVING or config.get("timestep_type") == "continuous":
        return None
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in _PREDICTIONS:
        return None
    betas = config.get("trained_betas")
    return NoiseSchedule(
        levels=int(config.get("num_train_timesteps", 1000)),
        beta_start=float(config.get("beta_start", 0.0001)),
        beta_end=float(config.get("beta_end", 0.02)),
        beta_schedule=str(config.get("beta_schedule", "linear")),
        trained_betas=tuple(float(beta) for beta in betas) if betas is not None else None,
        prediction_type=prediction,
        zero_terminal_snr=bool(config.get("rescale_betas_zero_snr", False)),
        lcm_steps=int(config.get("original_inference_steps", 50)),
    )


def _read_flow(config: Mapping[str, Any]) -> FlowSchedule | None:
    if config.get("invert_sigmas"):
        return None  # such a model walks from 0 to 1, which the other solvers cannot
    arguments = {
        name: config[name]
        for name in (
            "num_train_timesteps",
            "shift",
            "use_dynamic_shifting",
            "base_shift",
            "max_shift",
            "base_image_seq_len",
            "max_image_seq_len",
            "shift_terminal",
            "time_shift_type",
            "stochastic_sampling",
        )
        if config.get(name) is not None
    }
    if "shift" not in arguments and config.get("flow_shift") is not None:
        arguments["shift"] = config["flow_shift"]
    return FlowSchedule(tuple(arguments.items()))


def _refusal(solver: str, usable: tuple[str, ...], config: Mapping[str, Any]) -> str:
    if solver not in SOLVERS:
        return f"'{solver[:40]}' is not a solver. Choose one of {', '.join(usable or SOLVERS)}."
    if not usable:
        own = str(config.get("_class_name", "its own")).removesuffix("Scheduler")
        return f"This model only works with its own kind of solver ({own}), which the studio does not have."
    return f"{solver} does not work with this model. These do: {', '.join(usable)}."
