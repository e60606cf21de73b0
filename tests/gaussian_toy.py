"""A pipeline whose data is Gaussian, so that the best denoiser, its bias and the noise that belongs are all known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class GaussianPipe:
    """Paints samples of N(0, deviation²) in every latent, through a diffusers scheduler that predicts epsilon.

    `bias` is applied to the exact clean estimate: the identity is the exact denoiser.
    """

    def __init__(
        self, scheduler: Any, deviation: float = 0.6, bias: Callable[[Tensor], Tensor] = lambda clean: clean
    ) -> None:
        self.scheduler = scheduler
        self.deviation = deviation
        self.bias = bias

    def prepare_latents(self, seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows) * self.scheduler.init_noise_sigma

    def __call__(self, seeds: Sequence[int], steps: int, shape: tuple[int, ...] = (2, 8, 8)) -> Tensor:
        self.scheduler.set_timesteps(steps)
        x = self.prepare_latents(seeds, shape)
        for timestep in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(x, timestep)
            x = self.scheduler.step(self.epsilon(scaled, int(timestep)), timestep, x, return_dict=False)[0]
        return x

    def epsilon(self, x: Tensor, timestep: int) -> Tensor:
        """What a network that was trained without end would say of the variance-preserving sample x."""
        alpha = float(self.scheduler.alphas_cumprod[timestep])
        signal, noise = alpha**0.5, (1 - alpha) ** 0.5
        clean = signal * self.deviation**2 / (alpha * self.deviation**2 + noise**2) * x
        return (x - signal * self.bias(clean)) / noise
