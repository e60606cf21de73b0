"""A pipeline around a model whose clean estimate is known in closed form, for any scheduler of diffusers.

The pictures are Gaussian, N(mean, spread²), so the best guess of the clean picture at x = signal * clean + noise * n
is mean + gain * (x - signal * mean), gain = signal * spread² / (signal² spread² + noise²). From it follows what a
model of each kind puts out. The loop is that of diffusers' pipelines, with and without the `interrupt` flag.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

MEAN, SPREAD = 0.4, 0.6
SD_NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SHAPE = (1, 4, 6, 5)


class GaussianDenoiser(nn.Module):
    """The best model of Gaussian pictures. `kind` is what it puts out: epsilon, v_prediction, sample or flow."""

    def __init__(self, kind: str, mean: float = MEAN) -> None:
        super().__init__()
        self.kind = kind
        self.mean = nn.Parameter(torch.tensor([mean]), requires_grad=False)

    def clean(self, x: Tensor, signal: float, noise: float) -> Tensor:
        gain = signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2)
        return self.mean + gain * (x - signal * self.mean)

    def forward(self, x: Tensor, signal: float, noise: float) -> Tensor:
        clean = self.clean(x, signal, noise)
        guessed_noise = (x - signal * clean) / noise
        return {
            "epsilon": guessed_noise,
            "v_prediction": signal * guessed_noise - noise * clean,
            "sample": clean,
            "flow": guessed_noise - clean,  # velocity of x = (1 - s) clean + s noise
        }[self.kind]


class ToyPipeline:
    """Calls its scheduler as the pipelines of diffusers do. This one has no `interrupt`; `draws` uses up the generator
    before the loop, as encoding a picture does."""

    def __init__(self, scheduler: Any, kind: str = "epsilon", mean: float = MEAN) -> None:
        self.scheduler = scheduler
        self.unet = GaussianDenoiser(kind, mean)
        self.truths: list[Tensor] = []  # the clean estimates in closed form, in the order of the evaluations

    def maybe_free_model_hooks(self) -> None:
        pass

    def prepare_latents(self, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        latents = torch.randn(SHAPE, generator=generator, dtype=dtype)
        return latents * float(getattr(self.scheduler, "init_noise_sigma", 1.0))

    @torch.no_grad()
    def __call__(
        self,
        steps: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        strength: float = 1.0,
    ) -> Tensor:
        self.truths = []
        self.scheduler.set_timesteps(steps)
        begin = round(steps * (1 - strength)) * getattr(self.scheduler, "order", 1)
        timesteps = self.scheduler.timesteps[begin:]
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(begin)
        x = self.prepare_latents(generator, dtype)
        torch.randn(3, generator=generator)  # encoding a picture, say
        x = self.loop(timesteps, x, generator)
        self.maybe_free_model_hooks()
        return x

    def loop(self, timesteps: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        for t in timesteps:
            x = self.turn(t, x, generator)
        return x

    def turn(self, t: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        scheduler = self.scheduler
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        signal, noise = self._level(t)
        self.truths.append(self.unet.clean(seen, signal, noise))
        extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
        result: Tensor = scheduler.step(self.unet(seen, signal, noise), t, x, return_dict=False, **extra)[0]
        return result

    def _level(self, t: Tensor) -> tuple[float, float]:
        """Signal and noise of what the model sees at a timestep: what it was trained on."""
        if self.unet.kind == "flow":
            noise = float(t) / self.scheduler.config.num_train_timesteps
            return 1 - noise, noise
        # timesteps may lie between training levels, half-way through a step of second order
        alphas = self.scheduler.alphas_cumprod.double()
        log_sigmas = ((1 - alphas) / alphas).sqrt().log()
        low = min(int(t), len(alphas) - 2)
        share = float(t) - low
        sigma = float(((1 - share) * log_sigmas[low] + share * log_sigmas[low + 1]).exp())
        return 1 / (1 + sigma**2) ** 0.5, sigma / (1 + sigma**2) ** 0.5


class InterruptibleToyPipeline(ToyPipeline):
    """The same with the flag that a loop passes its turns over by; its loop depends on its counter."""

    _interrupt = False

    @property
    def interrupt(self) -> bool:
        return self._interrupt

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        self._interrupt = False
        result: Tensor = super().__call__(*args, **kwargs)
        assert not self.interrupt
        return result

    def loop(self, timesteps: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        for i, t in enumerate(timesteps):
            if self.interrupt:
                continue
            x = self.turn(t, x, generator) + 0.001 * i / len(timesteps)
        return x


def fresh(name: str, **config: Any) -> Any:
    """A scheduler of diffusers by its class name, set up as Stable Diffusion's is."""
    flow = name.startswith("FlowMatch") or config.get("use_flow_sigmas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some constructors warn of numpy 2
        return getattr(diffusers, name)(**({} if flow else SD_NOISE), **config)


def cases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(scheduler class, kind of model, configuration): the studio's ten solvers and others, on every kind of model."""
    for kind in ("epsilon", "v_prediction"):
        for name, config in (
            ("DPMSolverMultistepScheduler", {}),
            ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
            ("EulerDiscreteScheduler", {}),
            ("EulerAncestralDiscreteScheduler", {}),
            ("HeunDiscreteScheduler", {}),
            ("DDIMScheduler", {"clip_sample": False}),
            ("DDPMScheduler", {"clip_sample": False}),
            ("UniPCMultistepScheduler", {}),
            ("DEISMultistepScheduler", {}),
            ("LCMScheduler", {}),
            ("DPMSolverMultistepScheduler", {"solver_order": 3}),
            ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
            ("DPMSolverSinglestepScheduler", {}),
            ("UniPCMultistepScheduler", {"predict_x0": False, "final_sigmas_type": "sigma_min"}),
            ("KDPM2DiscreteScheduler", {}),
            ("KDPM2AncestralDiscreteScheduler", {}),
            ("SASolverScheduler", {}),
            ("TCDScheduler", {}),
            ("PNDMScheduler", {"skip_prk_steps": True}),
            ("PNDMScheduler", {}),
        ):
            yield name, kind, {**config, "prediction_type": kind}
    for name, config in (
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
        ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
        ("FlowMatchHeunDiscreteScheduler", {}),
        ("FlowMatchLCMScheduler", {}),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
    ):
        yield name, "flow", config
