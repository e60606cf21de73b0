"""Other people's means to the same end, to compare the correction with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.diffusion.steps import Step
from studio.errors import StudioError


@dataclass(frozen=True)
class EpsilonScaling:
    """Hook that divides the noise that the model predicts by `factor`: above 1 the model is told to have seen less.

    The clean estimate follows from the smaller noise, so that sample, noise and estimate go on agreeing:

        x0' = (x - noise * n_hat / factor) / signal = x0 + (1 - 1/factor) * (x - signal * x0) / signal

    It is at home where the model predicts the noise. In pure noise (signal 0) no estimate would agree, and it is left
    as it is. 1 is off.

    Source: Ning et al. 2023, "Elucidating the exposure bias in diffusion models" (arXiv:2308.15321), uniform schedule.
    """

    factor: float = 1.005

    def __post_init__(self) -> None:
        if isinstance(self.factor, bool) or not isinstance(self.factor, (int, float)):
            raise StudioError(f"Epsilon scaling divides by a number such as 1.005, not {self.factor!r}.")
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise StudioError(f"Epsilon scaling divides by a positive number such as 1.005, not {self.factor}.")

    def __call__(self, step: Step) -> Tensor:
        return step.x_next

    def before(self, step: Step) -> Tensor:
        clean = step.denoised
        if self.factor == 1:
            return clean  # type: ignore[return-value]
        if clean is None or step.signal is None:
            raise StudioError(
                "This scheduler does not tell its noise, so that it cannot be scaled. Choose another solver."
            )
        if step.signal == 0:
            return clean
        exact = torch.promote_types(clean.dtype, torch.float32)
        x, x0 = step.x.to(exact), clean.to(exact)
        return torch.add(x0, x - step.signal * x0, alpha=(1 - 1 / self.factor) / step.signal).to(clean.dtype)
