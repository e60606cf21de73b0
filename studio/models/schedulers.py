"""The schedulers of diffusers, with what keeps them from painting a sane picture at any number of steps put right.

What differs from the classes of the same name in diffusers 0.42, each found by a test:

- Timesteps: all space their steps evenly and start at the noisiest level ("trailing", Lin et al. 2023,
  arXiv:2305.08891), so that one step is a picture and not noise. The originals make one step too many at 61, 103, 121
  and 122 steps, and that one reads the schedule from its other end.
- DDIM steps to the timestep that comes next. The original steps by a fixed stride, which misses it whenever the
  number of steps does not divide that of the training levels.
- Euler a computes its noise levels in double precision: in single precision they are no numbers at 3 steps.
- Heun averages clean estimates instead of slopes. The slopes' average explodes where neighbouring levels are far
  apart, that is at few steps or with (nearly) no signal at the first level.
- DPM++, UniPC and Heun on flow-matching models shift their levels as the model's own scheduler does, by the resolution
  where the model wants that, and never round timesteps to integers.

The names are those of the originals, because diffusers writes them into configurations and people read them there.
This module knows scheduler classes; which one a person's solver means is said in `solvers`.
"""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteSchedulerOutput
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteSchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from torch import Tensor

from studio.errors import InvalidRequest

Device = str | torch.device | None


def trailing_timesteps(steps: int, levels: int) -> NDArray[np.int64]:
    """`steps` timesteps out of `levels` training levels, noisiest first: round(levels * (1 - k / steps)) - 1.

    Raises InvalidRequest if there are fewer levels than steps.
    """
    if steps > levels:
        raise InvalidRequest(
            f"This model was trained on {levels} noise levels, so it can take {levels} steps at most, not {steps}.",
            "num_inference_steps",
        )
    return np.round(np.linspace(levels, 0, steps, endpoint=False)).astype(np.int64) - 1


class _Trailing:
    """Sets the timesteps of variance-preserving schedulers, and starts their memory over."""

    config: Any
    alphas_cumprod: Tensor
    timesteps: Tensor
    sigmas: Tensor
    num_inference_steps: int | None

    def _levels(self, num_inference_steps: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Timesteps and their noise levels sqrt((1 - a) / a), noisiest first."""
        timesteps = trailing_timesteps(num_inference_steps, self.config.num_train_timesteps)
        alphas = np.asarray(self.alphas_cumprod.tolist(), dtype=np.float64)[timesteps]
        return timesteps, np.sqrt((1 - alphas) / alphas)

    def _start_over(self, num_inference_steps: int) -> None:
        self.num_inference_steps = num_inference_steps
        self._step_index: int | None = None
        self._begin_index: int | None = None


class _TrailingMultistep(_Trailing):
    """For solvers that remember earlier outputs of the model."""

    def set_timesteps(self, num_inference_steps: int, device: Device = None) -> None:
        timesteps, sigmas = self._levels(num_inference_steps)
        self.timesteps = torch.from_numpy(timesteps).to(device)
        self.sigmas = torch.tensor([*sigmas, self._last_sigma()], dtype=torch.float32)
        self._forget(num_inference_steps)

    def _last_sigma(self) -> float:
        return 0.0

    def _forget(self, num_inference_steps: int) -> None:
        self._start_over(num_inference_steps)
        self.model_outputs: list[Tensor | None] = [None] * self.config.solver_order
        self.timestep_list: list[Tensor | None] = [None] * self.config.solver_order
        self.lower_order_nums = 0
        self.last_sample: Tensor | None = None


class DDIMScheduler(_Trailing, diffusers.DDIMScheduler):  # type: ignore[misc]
    """DDIM (Song et al. 2020, arXiv:2010.02502), deterministic unless `eta` is above 0."""

    def set_timesteps(self, num_inference_steps: int, device: Device = None) -> None:
        self.timesteps = torch.from_numpy(self._levels(num_inference_steps)[0]).to(device)
        self.num_inference_steps = num_inference_steps

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[Tensor, Tensor]:
        """From the level of `timestep` to that of the one after it: formulas (12) and (16) of the paper."""
        alpha = self.alphas_cumprod[int(timestep)]
        alpha_next = self._alpha_after(int(timestep))
        denoised, noise = _split(self.config.prediction_type, model_output, sample, alpha)
        variance = (1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next)
        std = eta * variance**0.5
        x_next = alpha_next**0.5 * denoised + (1 - alpha_next - std**2) ** 0.5 * noise
        if eta > 0:
            x_next = x_next + std * randn_tensor(
                model_output.shape, generator=generator, device=model_output.device, dtype=model_output.dtype
            )
        if not return_dict:
            return x_next, denoised
        return DDIMSchedulerOutput(prev_sample=x_next, pred_original_sample=denoised)

    def _alpha_after(self, timestep: int) -> Tensor:
        later = self.timesteps[self.timesteps < timestep]
        alpha: Tensor = self.alphas_cumprod[int(later.max())] if len(later) else self.final_alpha_cumprod
        return alpha


class DDPMScheduler(_Trailing, diffusers.DDPMScheduler):  # type: ignore[misc]
    """DDPM (Ho et al. 2020, arXiv:2006.11239), with the smaller of its two variances."""

    def set_timesteps(self, num_inference_steps: int, device: Device = None) -> None:
        self.timesteps = torch.from_numpy(self._levels(num_inference_steps)[0]).to(device)
        self.num_inference_steps = num_inference_steps
        self.custom_timesteps = False


class _TrailingEuler(_Trailing):
    """For solvers that look at the model once per level and remember nothing."""

    sigma_dtype = torch.float32

    def set_timesteps(self, num_inference_steps: int, device: Device = None) -> None:
        timesteps, sigmas = self._levels(num_inference_steps)
        self.timesteps = torch.from_numpy(timesteps).to(device=device, dtype=torch.float32)
        self.sigmas = torch.tensor([*sigmas, 0.0], dtype=self.sigma_dtype)
        self._start_over(num_inference_steps)


class EulerDiscreteScheduler(_TrailingEuler, diffusers.EulerDiscreteScheduler):  # type: ignore[misc]
    """Euler steps on the probability flow (Karras et al. 2022, arXiv:2206.00364, without churn)."""


class EulerAncestralDiscreteScheduler(_TrailingEuler, diffusers.EulerAncestralDiscreteScheduler):  # type: ignore[misc]
    """Euler steps down to a lower level than asked for, then fresh noise up to it."""

    sigma_dtype = torch.float64  # step() takes the difference of two squares that agree in their first seven digits


class HeunDiscreteScheduler(_Trailing, diffusers.HeunDiscreteScheduler):  # type: ignore[misc]
    """Heun's method in the exponential form: two evaluations per step, the last step one.

    With h = log(sigma / sigma_next), D the clean estimate at x and D' that at the Euler prediction,

        x_next = exp(-h) x + (1 - exp(-h)) D + (1 - (1 - exp(-h)) / h) (D' - D),

    which is exact for estimates that are linear in log(sigma). All weights lie in [0, 1], so it is stable however far
    the levels are apart (DPM-Solver++(2S) with the Heun correction, Lu et al. 2022, arXiv:2211.01095).
    """

    def set_timesteps(
        self, num_inference_steps: int, device: Device = None, num_train_timesteps: int | None = None
    ) -> None:
        timesteps, sigmas = self._levels(num_inference_steps)
        self.timesteps = torch.from_numpy(_twice(timesteps)).to(device=device, dtype=torch.float32)
        self.sigmas = torch.tensor([*_twice(sigmas), 0.0], dtype=torch.float32)
        self._start_over(num_inference_steps)
        self.prev_derivative: Tensor | None = None  # of the step's first half: its clean estimate
        self.dt: Tensor | None = None  # of the step's first half: sigma_next - sigma
        self.sample: Tensor | None = None  # entering the step

    def step(
        self, model_output: Tensor, timestep: float | Tensor, sample: Tensor, return_dict: bool = True
    ) -> HeunDiscreteSchedulerOutput | tuple[Tensor, Tensor]:
        """One half of a step: the prediction, then its correction."""
        if self._step_index is None:
            self._init_step_index(timestep)
        assert self._step_index is not None
        x = sample.float()
        if self.dt is None:
            sigma, sigma_next = self.sigmas[self._step_index], self.sigmas[self._step_index + 1]
            denoised = _denoised_at(self.config.prediction_type, model_output.float(), x, sigma)
            x_next = denoised + sigma_next / sigma * (x - denoised)
            if sigma_next > 0:
                self.prev_derivative, self.dt, self.sample = denoised, sigma_next - sigma, x
        else:
            assert self.sample is not None and self.prev_derivative is not None
            sigma, sigma_next = self.sigmas[self._step_index - 1], self.sigmas[self._step_index]
            denoised = _denoised_at(self.config.prediction_type, model_output.float(), x, sigma_next)
            correction = _heun_weight(torch.log(sigma / sigma_next)) * (denoised - self.prev_derivative)
            x_next = self.prev_derivative + sigma_next / sigma * (self.sample - self.prev_derivative) + correction
            self.prev_derivative = self.dt = self.sample = None
        self._step_index += 1
        x_next = x_next.to(sample.dtype)
        if not return_dict:
            return x_next, denoised
        return HeunDiscreteSchedulerOutput(prev_sample=x_next, pred_original_sample=denoised)


class DPMSolverMultistepScheduler(_TrailingMultistep, diffusers.DPMSolverMultistepScheduler):  # type: ignore[misc]
    """DPM-Solver++ of second order, multistep (Lu et al. 2022, arXiv:2211.01095), deterministic or not."""


class UniPCMultistepScheduler(_TrailingMultistep, diffusers.UniPCMultistepScheduler):  # type: ignore[misc]
    """UniPC of second order (Zhao et al. 2023, arXiv:2302.04867)."""


class DEISMultistepScheduler(_TrailingMultistep, diffusers.DEISMultistepScheduler):  # type: ignore[misc]
    """DEIS of second order in log rho (Zhang and Chen 2022, arXiv:2204.13902). It ends at the lowest trained level."""

    def _last_sigma(self) -> float:
        alpha = float(self.alphas_cumprod[0])
        return math.sqrt((1 - alpha) / alpha)

    def multistep_deis_second_order_update(
        self, model_output_list: list[Tensor], *args: Any, sample: Tensor, **kwargs: Any
    ) -> Tensor:
        """Integrates the line through two noise estimates over rho, exactly."""
        index: int = self.step_index
        rho_next, rho, rho_before = (float(self.sigmas[index + k]) for k in (1, 0, -1))
        now = _log_line_integral(rho_next, rho, rho_before) - _log_line_integral(rho, rho, rho_before)
        before = _log_line_integral(rho_next, rho_before, rho) - _log_line_integral(rho, rho_before, rho)
        alpha_next, alpha = (1 / math.sqrt(value**2 + 1) for value in (rho_next, rho))
        return alpha_next * (sample / alpha + now * model_output_list[-1] + before * model_output_list[-2])


class LCMScheduler(diffusers.LCMScheduler):  # type: ignore[misc]
    """Latent consistency sampling (Luo et al. 2023, arXiv:2310.04378): jump to the clean estimate, noise it again."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device = None,
        original_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        strength: float = 1.0,
    ) -> None:
        """As the original, but more steps than the model was distilled for take a finer ladder instead of failing."""
        ladder = original_inference_steps or self.config.original_inference_steps
        if num_inference_steps is not None and num_inference_steps > ladder * strength:
            levels = self.config.num_train_timesteps
            trailing_timesteps(num_inference_steps, levels)  # too many for any ladder: says so
            # only a divisor of all levels gives a ladder that starts at the noisiest one
            ladder = next(d for d in range(1, levels + 1) if levels % d == 0 and d * strength >= num_inference_steps)
        super().set_timesteps(num_inference_steps, device, ladder, timesteps, strength)


class FlowMatchEulerDiscreteScheduler(diffusers.FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """Euler steps of a flow-matching model (Lipman et al. 2022, arXiv:2210.02747)."""

    def stretch_shift_to_terminal(self, t: Any) -> Any:
        return t if t[-1] == 1 else super().stretch_shift_to_terminal(t)  # one step: there is nothing to stretch


class _AlongFlow:
    """Shifts the noise levels of a run as `ladder` does, the scheduler that the model itself would use."""

    ladder: FlowMatchEulerDiscreteScheduler

    def _walk(
        self, num_inference_steps: int | None, device: Device, sigmas: Any, mu: float | None
    ) -> tuple[Tensor, Tensor]:
        """Timesteps (on the device) and sigmas with their final 0 (on the CPU).

        Where the pipeline gives no sigmas they are even before they are shifted: 1, ..., 1 / steps. (Euler's own
        default ends just above 0 instead, a leap in log(sigma) that solvers with a memory overshoot on.)
        """
        if sigmas is None and num_inference_steps is not None:
            sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
        self.ladder.set_timesteps(device=device, sigmas=sigmas, mu=mu)
        return self.ladder.timesteps, self.ladder.sigmas.cpu()


class FlowMatchHeunDiscreteScheduler(_AlongFlow, diffusers.FlowMatchHeunDiscreteScheduler):  # type: ignore[misc]
    """Heun's method on a flow-matching model, in the same exponential form: the last step takes one evaluation."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        timesteps, levels = self._walk(num_inference_steps, device, sigmas, mu)
        self.num_inference_steps = len(timesteps)
        self.timesteps = torch.cat([timesteps[:1], timesteps[1:].repeat_interleave(2)])
        self.sigmas = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
        self._step_index: int | None = None
        self._begin_index: int | None = None
        self.prev_derivative: Tensor | None = None  # of the step's first half: its clean estimate
        self.dt: Tensor | None = None
        self.sample: Tensor | None = None

    def step(
        self, model_output: Tensor, timestep: float | Tensor, sample: Tensor, return_dict: bool = True
    ) -> FlowMatchHeunDiscreteSchedulerOutput | tuple[Tensor]:
        """One half of a step: the prediction, then its correction."""
        if self._step_index is None:
            self._init_step_index(timestep)
        assert self._step_index is not None
        x, velocity = sample.float(), model_output.float()
        if self.dt is None:
            sigma, sigma_next = self.sigmas[self._step_index], self.sigmas[self._step_index + 1]
            x_next = x + (sigma_next - sigma) * velocity
            if sigma_next > 0:
                self.prev_derivative, self.dt, self.sample = x - sigma * velocity, sigma_next - sigma, x
        else:
            assert self.sample is not None and self.prev_derivative is not None
            sigma, sigma_next = self.sigmas[self._step_index - 1], self.sigmas[self._step_index]
            change = x - sigma_next * velocity - self.prev_derivative
            h = _log_ratio(sigma, sigma_next)
            # x is the Euler step from the first half already
            x_next = x + (1 - sigma_next) * _heun_weight(h) * change
            self.prev_derivative = self.dt = self.sample = None
        self._step_index += 1
        x_next = x_next.to(model_output.dtype)
        if not return_dict:
            return (x_next,)
        return FlowMatchHeunDiscreteSchedulerOutput(prev_sample=x_next)


class _AlongFlowMultistep(_AlongFlow, _TrailingMultistep):
    """For solvers that remember earlier outputs of a flow-matching model."""

    highest_sigma = 1.0

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Device = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        self.timesteps, levels = self._walk(num_inference_steps, device, sigmas, mu)
        self.sigmas = levels.clamp(max=self.highest_sigma)
        self._forget(len(self.timesteps))


class FlowDPMSolverMultistepScheduler(_AlongFlowMultistep, diffusers.DPMSolverMultistepScheduler):  # type: ignore[misc]
    """DPM-Solver++ of second order on a flow-matching model.

    Flow pipelines hand no generator to `step`; the noise of the stochastic variant then comes from `generator`.
    """

    generator: torch.Generator | None = None

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        chosen = self.generator if generator is None else generator
        return super().step(model_output, timestep, sample, generator=chosen, return_dict=return_dict)


class FlowUniPCMultistepScheduler(_AlongFlowMultistep, diffusers.UniPCMultistepScheduler):  # type: ignore[misc]
    """UniPC of second order on a flow-matching model."""

    highest_sigma = 1 - 1e-6  # at 1 there is no signal, and its logarithm is infinite


# the seam looks schedulers up by the names that diffusers gave them
FlowDPMSolverMultistepScheduler.__name__ = "DPMSolverMultistepScheduler"
FlowUniPCMultistepScheduler.__name__ = "UniPCMultistepScheduler"


def _heun_weight(h: Tensor) -> Tensor:
    """The weight of the later clean estimate, 1 - (1 - exp(-h)) / h, between 0 and 1 for steps of 0 to infinity."""
    return 1 + torch.expm1(-h) / h


def _log_ratio(sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """How far the logarithm of noise over signal falls between two levels of a flow; infinite from pure noise."""
    return torch.log(sigma / (1 - sigma)) - torch.log(sigma_next / (1 - sigma_next))


def _twice(values: NDArray[Any]) -> NDArray[Any]:
    """All but the first value doubled: the levels at which Heun's method looks at the model."""
    return np.concatenate([values[:1], np.repeat(values[1:], 2)])


def _split(prediction_type: str, model_output: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The clean estimate and the noise that the model sees in `x` = sqrt(alpha) clean + sqrt(1 - alpha) noise."""
    signal, noise = alpha**0.5, (1 - alpha) ** 0.5
    if prediction_type == "epsilon":
        return (x - noise * model_output) / signal, model_output
    if prediction_type == "sample":
        return model_output, (x - signal * model_output) / noise
    return signal * x - noise * model_output, signal * model_output + noise * x


def _denoised_at(prediction_type: str, model_output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """The clean estimate at `x` = clean + sigma noise."""
    if prediction_type == "epsilon":
        return x - sigma * model_output
    if prediction_type == "sample":
        return model_output
    return x / (sigma**2 + 1) - model_output * sigma / (sigma**2 + 1) ** 0.5


def _log_line_integral(t: float, b: float, c: float) -> float:
    """Integral of (log t - log c) / (log b - log c) over t, up to a constant."""
    return t * (math.log(t) - math.log(c) - 1) / (math.log(b) - math.log(c))
