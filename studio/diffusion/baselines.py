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

    1 is off. It is at home where the model predicts the noise. Where there is next to no signal, as in the first step
    of cosine and of zero-terminal-SNR schedules, the estimate would be moved by many times its own size, and in pure
    noise none would agree: steps whose share of signal, signal / sqrt(signal² + noise²), is below `least_signal` are
    left alone. At the two defaults, no estimate moves by more than once the noise's own size. The schedules that noise
    prediction was made for begin above that share: 0.0063 (linear, of DDPM and ADM), 0.0125 (EDM at sigma 80) and
    0.068 (Stable Diffusion).

    Source: Ning et al. 2023, "Elucidating the exposure bias in diffusion models" (arXiv:2308.15321), uniform schedule,
    but for the least signal, which is ours.
    """

    factor: float = 1.005
    least_signal: float = 0.005

    def __post_init__(self) -> None:
        if isinstance(self.factor, bool) or not isinstance(self.factor, (int, float)):
            raise StudioError(f"Epsilon scaling divides by a number such as 1.005, not {self.factor!r}.")
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise StudioError(f"Epsilon scaling divides by a positive number such as 1.005, not {self.factor}.")
        least = self.least_signal
        if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
            raise StudioError(f"Epsilon scaling starts at a share of signal from 0 to 1, not at {least!r:.40}.")

    def __call__(self, step: Step) -> Tensor:
        return step.x_next

    def before(self, step: Step) -> Tensor:
        clean = step.denoised
        if self.factor == 1:
            return clean  # type: ignore[return-value]
        if clean is None or step.level is None:
            raise StudioError(
                "This scheduler does not tell its noise, so that it cannot be scaled. Choose another solver."
            )
        signal, noise = step.level
        if signal == 0 or signal < self.least_signal * math.hypot(signal, noise):
            return clean
        exact = torch.promote_types(clean.dtype, torch.float32)
        x, x0 = step.x.to(exact), clean.to(exact)
        return torch.add(x0, x - signal * x0, alpha=(1 - 1 / self.factor) / signal).to(clean.dtype)
