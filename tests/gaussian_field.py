"""A pipeline whose pictures are a Gaussian field: what belongs beside a known part of one is known too.

Given the known pixels k, the unknown ones u are normal with mean S_uk S_kk^-1 k and covariance
S_uu - S_uk S_kk^-1 S_ku.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gaussian_toy import GaussianPipe
from torch import Tensor

SIDE = 6
DEVIATION = 0.6
REACH = 3.0  # cells over which neighbours are alike


class FieldPipe(GaussianPipe):
    """Paints fields (B, 1, SIDE, SIDE), B seeds at once, through a diffusers scheduler that predicts epsilon."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(scheduler, DEVIATION)
        rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        places = torch.stack([rows, columns], -1).reshape(-1, 2).double()
        self.covariance = DEVIATION**2 * torch.exp(-torch.cdist(places, places) / REACH)
        self.variances, self.axes = torch.linalg.eigh(self.covariance)

    def paint(self, count: int, steps: int) -> Tensor:
        return self(range(count), steps, (1, SIDE, SIDE))

    def truths(self, count: int, seed: int = 5) -> Tensor:
        """True pictures."""
        drawn = torch.randn(count, SIDE**2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return ((drawn * self.variances.sqrt()) @ self.axes.T).reshape(count, 1, SIDE, SIDE).float()

    def prepare_latents(self, seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(len(seeds))
        return torch.randn(len(seeds), *shape, generator=generator) * self.scheduler.init_noise_sigma

    def epsilon(self, x: Tensor, timestep: int) -> Tensor:
        alpha = float(self.scheduler.alphas_cumprod[timestep])
        signal, noise = alpha**0.5, (1 - alpha) ** 0.5
        gain = signal * self.variances / (alpha * self.variances + noise**2)
        clean = (x.reshape(len(x), -1).double() @ self.axes * gain) @ self.axes.T
        return (x - signal * clean.reshape(x.shape).to(x.dtype)) / noise

    def flowed(self, x: Tensor, level: tuple[float, float]) -> Tensor:
        """Where the exact probability flow takes samples x (B, 1, SIDE, SIDE) of this (signal, noise) level."""
        signal, noise = level
        scale = (self.variances / (signal**2 * self.variances + noise**2)).sqrt()
        clean = (x.reshape(len(x), -1).double() @ self.axes * scale) @ self.axes.T
        return clean.reshape(x.shape)

    def conditional_error(self, painted: Tensor, truth: Tensor, mask: Tensor) -> float:
        """How far `painted`, given `truth` where mask (SIDE, SIDE) is 0, is from the conditional distribution.

        The residuals from the conditional mean have its covariance: 0 if so, relative in the Frobenius norm.
        """
        unknown = mask.flatten() > 0
        s_kk, s_uk = self.covariance[~unknown][:, ~unknown], self.covariance[unknown][:, ~unknown]
        best = s_uk @ torch.linalg.inv(s_kk)
        wanted = self.covariance[unknown][:, unknown] - best @ s_uk.T
        given = truth.reshape(len(truth), -1).double()[:, ~unknown]
        rest = painted.reshape(len(painted), -1).double()[:, unknown] - given @ best.T
        return float((rest.T @ rest / len(rest) - wanted).norm() / wanted.norm())
